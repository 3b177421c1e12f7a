"""The search itself: which point is tried next, and how far it is fine-tuned.

Optuna's tree-structured Parzen estimator draws the points, for two objectives: bytes and NDCG@10 on validation. The
limits are constraints, so that it draws where they are kept. Its pruners work for one objective only. So the halving is
our own, with two rungs: every point is first fine-tuned for a part of the epochs, and goes on to all of them if it is
in the better half of that rung by Pareto dominance (asynchronous successive halving, Li et al. 2020). A point that does
not go on keeps the figures that it has: they are those of a recipe with fewer epochs, and as true.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from edgerec.errors import EdgeRecError, plain_reason
from edgerec.evaluation.words import change
from edgerec.progress import Progress
from edgerec.sweep.points import Limits, Measured, Point, is_promising
from edgerec.sweep.space import Drawn, words

# The share of the epochs of the first rung.
FIRST_RUNG = 0.34
# Points that are drawn at random, after the first ones, before the sampler learns from them all.
STARTUP = 8

Measure = Callable[[Drawn, float], Measured]


class Search:
    """A study in a SQLite file, which every call of :meth:`run` continues.

    Args:
        space: the options of each choice.
        measure: converts and measures a point, fine-tuned for a share of the epochs.
        storage: the file; made if it is missing.
        name: of the study in it: another data set or model is another study.
        first: points to begin with.
    """

    def __init__(
        self,
        space: Mapping[str, Sequence[Any]],
        measure: Measure,
        limits: Limits,
        storage: Path,
        name: str,
        first: Sequence[Drawn],
        progress: Progress,
        seed: int = 0,
    ) -> None:
        self._space, self._measure, self._limits, self._progress = space, measure, limits, progress
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._study = optuna.create_study(
                study_name=name,
                storage=f"sqlite:///{storage}",
                directions=["minimize", "maximize"],
                load_if_exists=True,
            )
            self._resume()
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a file that is not theirs
            reason = plain_reason(str(error))
            raise EdgeRecError(f"{storage}: cannot be used ({reason}); remove it to search anew") from None
        # Another seed after an interruption, as the same would draw the same points again.
        again = seed + len(self._study.trials)
        startup = len(first) + STARTUP
        self._study.sampler = optuna.samplers.TPESampler(seed=again, n_startup_trials=startup, multivariate=True)
        for drawn in first:
            self._study.enqueue_trial(drawn, skip_if_exists=True)

    @property
    def points(self) -> list[Point]:
        """All points that were measured, in their order."""
        return [_point(trial) for trial in self._study.trials if trial.state == TrialState.COMPLETE]

    def run(self, trials: int, minutes: float | None = None) -> list[Point]:
        """Go on until the study has ``trials`` points, or for ``minutes``; gives all points.

        An interrupted trial is tried again first. A point that cannot be made (a scheme refuses the model, say) counts
        as tried.
        """
        began, before = time.monotonic(), len(self._tried())
        while (tried := len(self._tried())) < trials:
            if minutes is not None and time.monotonic() - began >= 60 * minutes:
                self._progress.say(f"{minutes:g} minutes are over; run again to go on")
                break
            said = self._try()
            each = (time.monotonic() - began) / (tried + 1 - before)
            left = timedelta(seconds=round(each * (trials - tried - 1)))
            self._progress.say(f"trial {tried + 1} of {trials}: {said} (about {left} to go)")
        return self.points

    def _try(self) -> str:
        """Draw a point, measure it, and say what came out."""
        distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.CategoricalDistribution(tuple(options)) for name, options in self._space.items()
        }
        trial = self._study.ask(distributions)
        drawn = dict(trial.params)
        try:
            measured, effort, first = self._climb(drawn)
        except EdgeRecError as error:
            trial.set_user_attr("refused", str(error))
            self._study.tell(trial, state=TrialState.FAIL)
            return f"{words(drawn)}: {error}"
        trial.set_user_attr("measured", asdict(measured))
        trial.set_user_attr("first", asdict(first))
        trial.set_user_attr("effort", effort)
        for limit, excess in self._limits.excess(measured).items():
            trial.set_constraint(limit, excess)
        self._study.tell(trial, [measured.bytes, measured.ndcg])
        stopped = "" if effort == 1 else ", not fine-tuned further"
        return (
            f"{words(drawn)}: {measured.bytes / 1000:,.1f} kB, NDCG@10 {measured.ndcg:.4f}, "
            f"{change(measured.drop, measured.drop_ci)}{stopped}"
        )

    def _climb(self, drawn: Drawn) -> tuple[Measured, float, Measured]:
        """The figures of a point at the last rung that it gets to, the share of epochs there, and those of the first
        rung.
        """
        known = [trial.user_attrs for trial in self._tried() if trial.params == drawn]
        if known and "refused" in known[-1]:
            raise EdgeRecError(known[-1]["refused"])
        if known and known[-1]["effort"] == 1:
            return _measured(known[-1]["measured"]), 1.0, _measured(known[-1]["first"])
        others = [_measured(trial.user_attrs["first"]) for trial in self._complete() if trial.params != drawn]
        first = _measured(known[-1]["first"]) if known else self._measure(drawn, FIRST_RUNG)
        # More epochs make no file smaller.
        if first.bytes > self._limits.max_bytes or not is_promising(first, others):
            return first, FIRST_RUNG, first
        return self._measure(drawn, 1.0), 1.0, first

    def _complete(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def _tried(self) -> list[FrozenTrial]:
        """The trials that count: what was interrupted does not."""
        ended = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
        return [trial for trial in ended if trial.state == TrialState.COMPLETE or "refused" in trial.user_attrs]

    def _resume(self) -> None:
        """Queue what a killed process was trying."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)


def _point(trial: FrozenTrial) -> Point:
    return Point(trial.number, dict(trial.params), trial.user_attrs["effort"], _measured(trial.user_attrs["measured"]))


def _measured(saved: Mapping[str, Any]) -> Measured:
    ends = saved["drop_ci"]
    return Measured(**{**saved, "drop_ci": None if ends is None else tuple(ends)})
