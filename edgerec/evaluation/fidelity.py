"""Whether a compressed model still ranks like its reference, and who pays for the difference."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from device_runner.ranking import overlap
from edgerec.evaluation.comparison import MARGIN, Verdict, verdict_at
from edgerec.evaluation.rank_overlap import rank_biased_overlap
from edgerec.evaluation.ranking import Evaluation, drop_figures
from edgerec.evaluation.words import WHY_NOT_MEASURABLE, change, percent

# How the slices of each kind are called in a sentence.
_SLICES = {"popularity": "targets of the {}", "history": "histories of {} events"}


def fidelity(reference: Evaluation, other: Evaluation) -> dict[str, Any]:
    """How closely ``other`` follows ``reference``, both of the same targets: ``overlap@10``, ``rbo@10`` (see
    ``rank_biased_overlaps``), ``ndcg_drop`` and ``ndcg_drop_ci``, as ``report.json`` has them.
    """
    return {
        "overlap@10": overlap(reference.top, other.top),
        "rbo@10": rank_biased_overlap(reference.top, other.top),
        **drop_figures(reference, other),
    }


@dataclass(frozen=True)
class Conclusion:
    """What the figures of fidelity mean.

    Attributes:
        model, reference: names of the two that are compared.
        margin: the relative loss of NDCG@10 that counts as none.
        verdict: see ``edgerec.evaluation.comparison.Comparison``.
        sentence: the verdict for people.
        payers: for people: the slices that lose more than chance explains; empty if slices were not compared.
    """

    model: str
    reference: str
    margin: float
    verdict: Verdict
    sentence: str
    payers: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def conclude(
    model: str,
    reference: str,
    figures: Mapping[str, Any],
    targets: int,
    margin: float = MARGIN,
    slices: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Conclusion:
    """The verdict on ``figures``, which :func:`fidelity` gave for ``targets`` users.

    Args:
        slices: from ``by_slice`` with the same reference.
    """
    found = verdict_at(figures["ndcg_drop_ci"], targets, margin)
    sentence = _sentence(model, reference, figures, targets, margin, found)
    return Conclusion(model, reference, margin, found, sentence, _payers(slices) if slices else "")


def worst_tier(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> Mapping[str, Any] | None:
    """The popularity tier that loses most; ``None`` if no tier has enough hits to tell."""
    measured = [row for row in slices.get("popularity", ()) if row.get("ndcg_drop") is not None]
    return max(measured, key=lambda row: float(row["ndcg_drop"]), default=None)


def _sentence(
    model: str, reference: str, figures: Mapping[str, Any], targets: int, margin: float, found: Verdict
) -> str:
    allowed = f"the margin of {percent(margin)}"
    words = {
        "non-inferior": f"{model} ranks as well as {reference}, within {allowed}",
        "inferior": f"{model} ranks worse than {reference}, by more than {allowed}",
        "undecided": f"Whether {model} ranks as well as {reference}, within {allowed}, is undecided",
    }[found]
    if figures["ndcg_drop"] is None:
        loss = f"the change is {WHY_NOT_MEASURABLE}"
    elif targets < 2:
        loss = "one target is too few for an interval"
    else:
        loss = f"NDCG@10 {change(figures['ndcg_drop'], figures['ndcg_drop_ci'])}"
    return (
        f"{words}: {loss}; of the top-10, {percent(figures['overlap@10'])} are the same "
        f"(rank-biased overlap {figures['rbo@10']:.3f})."
    )


def _payers(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = [(kind, row) for kind, of_kind in slices.items() for row in of_kind if row["ndcg_drop"] is not None]
    if not rows:
        return "Who pays cannot be told: no slice has enough hits."
    paying = sorted((entry for entry in rows if entry[1]["ndcg_drop_ci"][0] > 0), key=lambda e: -e[1]["ndcg_drop"])
    if not paying:
        return "No popularity tier and no length of history loses more than chance explains."
    named = [
        f"{_SLICES[kind].format(row['name'])} ({change(row['ndcg_drop'], row['ndcg_drop_ci'])})" for kind, row in paying
    ]
    return f"Who pays: {', '.join(named)}."
