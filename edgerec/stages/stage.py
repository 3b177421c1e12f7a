"""What a stage is: it makes one artifact in the run's folder, when that is missing or out of date."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgerec.artifact import fingerprint, is_current, new_folder
from edgerec.progress import Progress
from edgerec.recipe import Recipe

# Seconds before a wait for another process is told.
PATIENCE = 1.0


@dataclass(frozen=True)
class Workspace:
    """What all stages of a run share.

    Attributes:
        folder: where the artifacts are.
        progress: where stages say what they do.
    """

    recipe: Recipe
    folder: Path
    progress: Progress

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, no other process makes anything in the folder; entered again by the same process, it does nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", is_singleton=True)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            self.progress.say(f"{self.folder}: in use by another edgerec; waiting for it to end")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


class Stage(ABC):
    """One step of a pipeline. A subclass says what it is made from and how; the rest is here.

    Attributes:
        name: of its folder in the run's folder.
        inputs: the stages whose artifacts it reads.
    """

    name: str
    inputs: Sequence["Stage"] = ()

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @property
    def recipe(self) -> Recipe:
        return self.workspace.recipe

    @abstractmethod
    def settings(self) -> Any:
        """What the artifact depends on beside the inputs, ready for JSON: all that matters, and nothing else."""

    @abstractmethod
    def make(self, into: Path) -> None:
        """Make the artifact in ``into``, an empty folder that takes its place when this returns.

        All inputs are current when it is called.
        """

    @cached_property
    def key(self) -> str:
        """The fingerprint of all that the artifact is made from."""
        return fingerprint([self.name, [stage.key for stage in self.inputs], self.settings()])

    @property
    def folder(self) -> Path:
        return self.workspace.folder / self.name

    def is_current(self) -> bool:
        """Whether the artifact is there, made from what the recipe says now."""
        return is_current(self.folder, self.key)

    def made(self) -> Path:
        """The artifact's folder; made first, after its inputs, if it is missing or out of date."""
        if not self.is_current():
            with self.workspace.locked():
                for stage in self.inputs:
                    stage.made()
                if not self.is_current():  # not made by another process meanwhile
                    with new_folder(self.folder, self.key) as into:
                        self.make(into)
        return self.folder
