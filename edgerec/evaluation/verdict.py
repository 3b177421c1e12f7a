"""Whether the shipped model is worth shipping: its quality against the best of the baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgerec.errors import DataError
from edgerec.evaluation.comparison import check_comparable
from edgerec.evaluation.ranking import Evaluation, ndcg_drop
from edgerec.evaluation.words import signed_percent

Words = Literal["better than", "level with", "worse than", "not comparable with"]


@dataclass(frozen=True)
class Verdict:
    """A model against the best baseline.

    Attributes:
        model: name of the shipped model.
        baseline: name of the baseline with the highest mean NDCG@10.
        gain: relative difference of NDCG@10, 0.01 is 1 % more than the baseline; ``None`` if not measurable.
        gain_ci: 95 % paired bootstrap interval of the gain; ``None`` if not measurable.
        verdict: ``better than`` if the whole interval is above zero, ``worse than`` if it is all below zero, else
            ``level with``; ``not comparable with`` if there is no interval.
        sentence: the verdict for people.
    """

    model: str
    baseline: str
    gain: float | None
    gain_ci: tuple[float, float] | None
    verdict: Words
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, ``report["verdict"]``."""
        return {
            "model": self.model,
            "baseline": self.baseline,
            "gain": self.gain,
            "gain_ci": None if self.gain_ci is None else list(self.gain_ci),
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def verdict(model: str, shipped: Evaluation, baselines: Mapping[str, Evaluation]) -> Verdict:
    """Compare ``shipped``, the evaluation of ``model``, with the best of ``baselines``, which are given by name.

    All evaluations must be of the same targets in the same order.

    Raises:
        DataError: there is no baseline or no target, or the evaluations are of different targets or catalogues.
    """
    if not baselines:
        raise DataError("there is no baseline to compare with")
    for evaluation in baselines.values():
        check_comparable(evaluation, shipped)
    best = max(baselines, key=lambda name: baselines[name].ndcg(10).mean())
    drop, ends = ndcg_drop(baselines[best], shipped)
    if drop is None or ends is None:
        return _unknown(model, best, f"{best} has no hit in its top 10")
    if len(shipped.ranks) < 2:
        return _unknown(model, best, "one target is too few for an interval")
    gain, gain_ci = -drop, (-ends[1], -ends[0])
    words = _words(gain_ci)
    return Verdict(model, best, gain, gain_ci, words, _sentence(model, best, gain, gain_ci, words))


def _words(gain_ci: tuple[float, float]) -> Words:
    if gain_ci[0] > 0:
        return "better than"
    return "worse than" if gain_ci[1] < 0 else "level with"


def _sentence(model: str, baseline: str, gain: float, gain_ci: tuple[float, float], words: Words) -> str:
    low, high = map(signed_percent, gain_ci)
    consequence = {
        "better than": "",
        "level with": ", which includes zero: the difference may be chance",
        "worse than": f": {baseline} would serve users better",
    }
    return (
        f"{model} is {words} {baseline}, the best baseline: NDCG@10 {signed_percent(gain)}, 95 % interval "
        f"[{low}, {high}]{consequence.get(words, '')}."
    )


def _unknown(model: str, baseline: str, reason: str) -> Verdict:
    sentence = f"{model} cannot be compared with {baseline}, the best baseline: {reason}."
    return Verdict(model, baseline, None, None, "not comparable with", sentence)
