"""Progress on stderr: live bars with an ETA in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """Messages and progress bars of the stages, on stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def epochs(self, title: str, total: int, done: int = 0) -> "Iterator[EpochBar]":
        """A bar over ``total`` epochs, ``done`` of which are already done."""
        with self._rich() as bar:
            yield EpochBar(self, bar, bar.add_task(title, total=total, completed=done), title)

    @contextmanager
    def steps(self, title: str, total: int) -> "Iterator[StepBar]":
        """A bar over ``total`` equal steps."""
        with self._rich() as bar:
            yield StepBar(bar, bar.add_task(title, total=total))

    def _rich(self) -> RichProgress:
        return RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not sys.stderr.isatty(),
        )


class EpochBar:
    def __init__(self, progress: Progress, bar: RichProgress, task: TaskID, title: str) -> None:
        self._progress, self._bar, self._task, self._title = progress, bar, task, title

    def step(self, epochs: float) -> None:
        """Move the bar to ``epochs`` done, a number with a fraction."""
        self._bar.update(self._task, completed=epochs)

    def epoch(self, number: int, text: str, seconds_each: float, planned: int) -> None:
        """Report a finished epoch, of those that are ``planned`` by now."""
        self._bar.update(self._task, total=planned)
        left = timedelta(seconds=round((planned - number) * seconds_each))
        self._progress.say(f"{self._title}: epoch {number}, {text} (at most {left} to go)")


class StepBar:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._task, steps)
