"""Whether one ranking model may replace another: a paired comparison of all figures with a non-inferiority verdict."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgerec.artifact import without_nan
from edgerec.errors import DataError
from edgerec.evaluation import bootstrap
from edgerec.evaluation.comparison import MARGIN, Verdict, verdict_at
from edgerec.evaluation.scored_rows import CUTOFF, RankingFigure, ScoredRows, area_under_curve, figures_of, loss, ndcg

# Figures that are weighted means over users.
OF_USERS = ("mae", "log_loss", "gauc", f"ndcg@{CUTOFF}")


@dataclass(frozen=True)
class FigureChange:
    """A figure of two ranking models on the same rows.

    Attributes:
        figure: its name.
        before: of the reference.
        after: of the other model.
        loss: how much worse it is, relative to ``before``; 0.01 is 1 %, negative is a gain.
        loss_ci: 95 % bootstrap interval of the loss, paired, by resampling users; ``None`` for a figure that is no
            mean over users or rows (ECE).
    """

    figure: str
    before: float
    after: float
    loss: float
    loss_ci: tuple[float, float] | None


@dataclass(frozen=True)
class ScoredComparison:
    """A ranking model against a reference.

    Attributes:
        figures: all figures of the task, the main one first.
        margin: the largest loss of the main figure that would be accepted.
        verdict: see ``Comparison``.
    """

    figures: tuple[FigureChange, ...]
    margin: float
    verdict: Verdict

    @property
    def main(self) -> FigureChange:
        """The change of the main figure."""
        return self.figures[0]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        figures = [asdict(one) for one in self.figures]
        return dict(without_nan({"figures": figures, "margin": self.margin, "verdict": self.verdict}))


def compare_scored(reference: ScoredRows, other: ScoredRows, margin: float = MARGIN) -> ScoredComparison:
    """Compare the scores of two ranking models for the same labelled rows.

    Raises:
        DataError: the rows are not the same, or an earlier version did not say which they are.
    """
    same = reference.label == other.label and len(reference.scores) == len(other.scores)
    if not same or (reference.users != other.users).any() or (reference.labels != other.labels).any():
        raise DataError("the two were tested on other rows or labels; evaluate both with the same data set and task")
    if reference.items is None or other.items is None:
        raise DataError(
            "an earlier version measured one of the two and did not keep the items of its rows; delete the folders "
            "measured and bundles of that run, and run it again"
        )
    if (reference.items != other.items).any():
        raise DataError(
            "the two were tested on other items, such as other negatives; evaluate both with the same task and seed"
        )
    before, after = reference.quality(), other.quality()
    changes = []
    for figure in figures_of(reference.label):
        sign, old, new = (-1 if figure.higher_is_better else 1), before[figure.name], after[figure.name]
        lost = sign * (new / old - 1) if old else 0.0
        changes.append(FigureChange(figure.name, old, new, lost, _interval_of_loss(figure, reference, other)))
    verdict = verdict_at(changes[0].loss_ci, len(np.unique(reference.users)), margin)
    return ScoredComparison(tuple(changes), margin, verdict)


def _interval_of_loss(figure: RankingFigure, reference: ScoredRows, other: ScoredRows) -> tuple[float, float] | None:
    """See ``FigureChange.loss_ci``."""
    if figure == reference.main:
        return loss(reference, other)[1]
    if figure.name not in OF_USERS:
        return None
    before, weights = _sums_of_users(figure.name, reference)
    after, _ = _sums_of_users(figure.name, other)
    if weights.sum() == 0 or len(weights) < 2:
        return None
    sign = -1 if figure.higher_is_better else 1
    low, high = bootstrap.interval(
        (before, after), lambda b, a, axis: sign * (a.sum(axis) / np.maximum(b.sum(axis), 1e-12) - 1)
    )
    return float(low), float(high)


def _sums_of_users(figure: str, scored: ScoredRows) -> tuple[np.ndarray, np.ndarray]:
    """What each user adds to a figure of ``OF_USERS``, and with which weight: float64 [users] each. The figure is the
    quotient of their sums.
    """
    sums, weights = [], []
    for rows in scored.lists():
        scores, labels = scored.scores[rows], scored.labels[rows]
        if figure in ("mae", "log_loss"):
            user = ScoredRows(scored.label, scores, labels, scored.users[rows])
            value = float(np.abs(scores.astype(np.float64) - labels).mean()) if figure == "mae" else user.log_loss()
            weight = len(rows)
        elif 0 < (labels > 0).sum() < len(rows):
            value = area_under_curve(scores, labels) if figure == "gauc" else ndcg(scores, labels)
            weight = len(rows) if figure == "gauc" else 1
        else:
            value, weight = 0.0, 0
        sums.append(value * weight)
        weights.append(weight)
    return np.array(sums, np.float64), np.array(weights, np.float64)
