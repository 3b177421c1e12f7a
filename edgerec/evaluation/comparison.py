"""Whether one scorer may replace another: a paired comparison with a non-inferiority verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from device_runner.ranking import overlap
from edgerec.errors import DataError
from edgerec.evaluation.rank_overlap import rank_biased_overlap
from edgerec.evaluation.ranking import Evaluation, ndcg_drop

# Relative loss of NDCG@10 that counts as none, unless the user names another.
MARGIN = 0.05
Verdict = Literal["non-inferior", "inferior", "undecided"]


@dataclass(frozen=True)
class Comparison:
    """A scorer against a reference, user by user.

    Attributes:
        ndcg_drop: relative loss of NDCG@10, 0.01 is 1 %; negative is a gain; ``None`` if the reference has no hit in
            any top-10, where no loss can be measured.
        ndcg_drop_ci: 95 % paired bootstrap interval of the loss, or ``None`` likewise.
        margin: the largest loss that would be accepted.
        verdict: ``non-inferior`` if the whole interval is below the margin, ``inferior`` if it is all above it,
            else ``undecided``: more targets are needed to tell.
        better, same, worse: share of the users whose NDCG@10 rose, stayed, fell.
        overlap: mean share of the top-10 that both show.
        rbo: mean rank-biased overlap of the top-10 (see ``rank_biased_overlaps``).
    """

    ndcg_drop: float | None
    ndcg_drop_ci: tuple[float, float] | None
    margin: float
    verdict: Verdict
    better: float
    same: float
    worse: float
    overlap: float
    rbo: float

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "ndcg_drop": self.ndcg_drop,
            "ndcg_drop_ci": None if self.ndcg_drop_ci is None else list(self.ndcg_drop_ci),
            "margin": self.margin,
            "verdict": self.verdict,
            "better": self.better,
            "same": self.same,
            "worse": self.worse,
            "overlap@10": self.overlap,
            "rbo@10": self.rbo,
        }


def compare(reference: Evaluation, other: Evaluation, margin: float = MARGIN) -> Comparison:
    """Compare ``other`` with ``reference``: both of the same targets in the same order.

    Raises:
        DataError: the evaluations are of different targets or catalogues, or there are no targets.
    """
    check_comparable(reference, other)
    drop, ends = ndcg_drop(reference, other)
    change = np.sign(other.ndcg(10) - reference.ndcg(10))
    return Comparison(
        ndcg_drop=drop,
        ndcg_drop_ci=ends,
        margin=margin,
        verdict=verdict_at(ends, len(reference.ranks), margin),
        better=float((change > 0).mean()),
        same=float((change == 0).mean()),
        worse=float((change < 0).mean()),
        overlap=overlap(reference.top, other.top),
        rbo=rank_biased_overlap(reference.top, other.top),
    )


def check_comparable(reference: Evaluation, other: Evaluation) -> None:
    """Refuse evaluations that cannot be compared user by user.

    Raises:
        DataError: the evaluations are of different targets or catalogues, or there are no targets.
    """
    if len(reference.ranks) != len(other.ranks) or reference.items != other.items:
        raise DataError(
            f"{len(reference.ranks):,} targets among {reference.items:,} items cannot be compared with "
            f"{len(other.ranks):,} among {other.items:,}: evaluate both on the same data set"
        )
    if (reference.basket_ranks is None) != (other.basket_ranks is None):
        raise DataError("one target a user cannot be compared with baskets: evaluate both on the same data set")
    if not len(reference.ranks):
        raise DataError("there are no targets to compare on")


def verdict_at(ends: Sequence[float] | None, targets: int, margin: float) -> Verdict:
    """What a 95 % interval of the relative loss over ``targets`` users says about ``margin`` (see ``Comparison``)."""
    # One target has no interval.
    if ends is None or targets < 2:
        return "undecided"
    if ends[1] < margin:
        return "non-inferior"
    return "inferior" if ends[0] > margin else "undecided"
