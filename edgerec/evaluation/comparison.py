"""Whether one scorer may stand in for another: a paired comparison with a non-inferiority verdict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from device_runner.ranking import overlap
from edgerec.errors import DataError
from edgerec.evaluation.ranking import Evaluation, ndcg_drop

MARGIN = 0.01
Verdict = Literal["non-inferior", "inferior", "undecided"]


@dataclass(frozen=True)
class Comparison:
    """A scorer against a reference, target by target.

    Attributes:
        ndcg_drop: relative loss of NDCG@10, 0.01 is 1 %; negative is a gain.
        ndcg_drop_ci: its 95 % paired bootstrap interval.
        margin: the largest loss that would be accepted.
        verdict: ``non-inferior`` if the whole interval is below the margin, ``inferior`` if it is all above it,
            else ``undecided``: more targets are needed to tell.
        better, same, worse: share of the targets whose NDCG@10 rose, stayed, fell.
        overlap: mean share of the top-10 that both show.
    """

    ndcg_drop: float
    ndcg_drop_ci: tuple[float, float]
    margin: float
    verdict: Verdict
    better: float
    same: float
    worse: float
    overlap: float

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "ndcg_drop": self.ndcg_drop,
            "ndcg_drop_ci": list(self.ndcg_drop_ci),
            "margin": self.margin,
            "verdict": self.verdict,
            "better": self.better,
            "same": self.same,
            "worse": self.worse,
            "overlap@10": self.overlap,
        }


def compare(reference: Evaluation, other: Evaluation, margin: float = MARGIN) -> Comparison:
    """Compare ``other`` with ``reference`` over the same targets, in the same order.

    Raises:
        DataError: the evaluations are not of the same targets and catalogue, or of none.
    """
    if len(reference.ranks) != len(other.ranks) or reference.items != other.items:
        raise DataError(
            f"{len(reference.ranks):,} targets among {reference.items:,} items cannot be compared with "
            f"{len(other.ranks):,} among {other.items:,}: evaluate both on the same data set"
        )
    if not len(reference.ranks):
        raise DataError("there are no targets to compare on")
    drop, ends = ndcg_drop(reference, other)
    change = np.sign(other.ndcg(10) - reference.ndcg(10))
    return Comparison(
        ndcg_drop=drop,
        ndcg_drop_ci=ends,
        margin=margin,
        verdict=_verdict(reference, ends, margin),
        better=float((change > 0).mean()),
        same=float((change == 0).mean()),
        worse=float((change < 0).mean()),
        overlap=overlap(reference.top, other.top),
    )


def _verdict(reference: Evaluation, ends: tuple[float, float], margin: float) -> Verdict:
    # Against a reference that hits nothing there is no relative loss, and one target has no interval.
    if len(reference.ranks) < 2 or not reference.hits(10).any():
        return "undecided"
    if ends[1] < margin:
        return "non-inferior"
    return "inferior" if ends[0] > margin else "undecided"
