"""Quality of scores of labelled rows: errors of ratings; ranking and calibration of clicks."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.contract import kendall_tau
from device_runner.errors import EdgeRecError
from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import Histories, LabelledRows
from edgerec.evaluation import bootstrap
from edgerec.evaluation.slices import HISTORY_LENGTHS, tiers

FILE = "scores.npz"
CUTOFF = 10
BINS = 10
# Resamples of users for figures that are no mean over users; 2,000 of them would take minutes.
RESAMPLES = 400
SMALLEST = 1e-7
# With fewer rows in a slice, its figures are noise.
MIN_ROWS = 30
_DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class RankingFigure:
    """A figure of the report; the first of a task is its main one."""

    name: str
    title: str
    higher_is_better: bool


RATING_FIGURES = (RankingFigure("rmse", "RMSE", False), RankingFigure("mae", "MAE", False))
CLICK_FIGURES = (
    RankingFigure("auc", "AUC", True),
    RankingFigure("gauc", "GAUC", True),
    RankingFigure("ndcg@10", "NDCG@10", True),
    RankingFigure("log_loss", "log loss", False),
    RankingFigure("ece", "ECE", False),
)


def figures_of(label: str) -> tuple[RankingFigure, ...]:
    """The figures of a task, the main one first."""
    return RATING_FIGURES if label == "rating" else CLICK_FIGURES


@dataclass(frozen=True)
class ScoredRows:
    """Scores of n labelled rows.

    Attributes:
        label: kind of the task.
        scores: float32 [n].
        labels: float32 [n].
        users: int32 [n].
        items: int32 [n], item rows; ``None`` where an earlier version saved the scores.
    """

    label: str
    scores: np.ndarray
    labels: np.ndarray
    users: np.ndarray
    items: np.ndarray | None = None

    @classmethod
    def of(cls, label: str, rows: LabelledRows, scores: np.ndarray) -> "ScoredRows":
        """Scores of labelled rows."""
        return cls(label, np.asarray(scores, np.float32), rows.labels, rows.users, rows.items)

    @property
    def main(self) -> RankingFigure:
        """The figure by which models are compared."""
        return figures_of(self.label)[0]

    def quality(self) -> dict[str, float]:
        """All figures of the task by name."""
        if self.label == "rating":
            errors = self.scores.astype(np.float64) - self.labels
            return {"rmse": float(np.sqrt(np.mean(errors**2))), "mae": float(np.abs(errors).mean())}
        return {
            "auc": area_under_curve(self.scores, self.labels),
            "gauc": self._by_user(area_under_curve, weighted=True),
            f"ndcg@{CUTOFF}": self._by_user(ndcg, weighted=False),
            "log_loss": self.log_loss(),
            "ece": expected_calibration_error(self._chances, self.labels),
        }

    def log_loss(self) -> float:
        """The mean log loss of clicks."""
        chances = self._chances
        return float(-np.where(self.labels > 0, np.log(chances), np.log1p(-chances)).mean())

    @property
    def _chances(self) -> np.ndarray:
        return np.clip(self.scores.astype(np.float64), SMALLEST, 1 - SMALLEST)

    def main_figure(self) -> float:
        """The main figure alone."""
        if self.label == "rating":
            return self.quality()["rmse"]
        return area_under_curve(self.scores, self.labels)

    def main_interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the main figure, by resampling users."""
        if self.label == "rating":
            counts, squares = self._sums()
            low, high = bootstrap.interval((squares, counts), lambda s, n, axis: np.sqrt(s.sum(axis) / n.sum(axis)))
            return float(low), float(high)
        found = _resampled([self])[0]
        return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))

    def subset(self, which: np.ndarray) -> "ScoredRows":
        """Some of the rows, by mask bool [n] or index."""
        items = None if self.items is None else self.items[which]
        return ScoredRows(self.label, self.scores[which], self.labels[which], self.users[which], items)

    def lists(self) -> list[np.ndarray]:
        """The rows of each user, int [m] each."""
        order = np.argsort(self.users, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.users[order])) + 1) if len(order) else []

    def save(self, folder: Path) -> None:
        """Write ``scores.npz`` into ``folder``."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        np.savez_compressed(folder / FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "ScoredRows":
        """Read what ``save`` wrote into ``folder``.

        Raises:
            EdgeRecError: there is no ``scores.npz``, or it is damaged.
        """
        path = folder / FILE
        try:
            with np.load(path) as saved:
                items = saved.get("items")
                found = cls(str(saved["label"]), saved["scores"], saved["labels"], saved["users"], items)
            if {len(one) for one in (found.labels, found.users, items) if one is not None} != {len(found.scores)}:
                raise ValueError("its arrays do not fit together")
        except FileNotFoundError:
            raise EdgeRecError(f"{path}: not found; the model in this folder has not been evaluated yet") from None
        except _DAMAGE as error:
            raise EdgeRecError(f"{path}: damaged ({error}); delete the folder and make it again") from None
        return found

    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and squared errors of each user, float64 [users]."""
        _, place = np.unique(self.users, return_inverse=True)
        squares = (self.scores.astype(np.float64) - self.labels) ** 2
        return np.bincount(place).astype(np.float64), np.bincount(place, squares)

    def _by_user(self, figure: Callable[[np.ndarray, np.ndarray], float], weighted: bool) -> float:
        """Mean of a figure over users with both labels, weighted by their rows or not; NaN without any."""
        values, weights = [], []
        for rows in self.lists():
            labels = self.labels[rows]
            if 0 < (labels > 0).sum() < len(rows):
                values.append(figure(self.scores[rows], labels))
                weights.append(len(rows) if weighted else 1)
        return float(np.average(values, weights=weights)) if values else float("nan")


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs of a positive and a negative row in the right order, ties counting half; NaN without pairs."""
    positive = labels > 0
    pairs = int(positive.sum()) * int((~positive).sum())
    if not pairs:
        return float("nan")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[group]  # of equal scores the mean, from 1 on
    of_positives = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(of_positives / pairs)


def ndcg(scores: np.ndarray, labels: np.ndarray, k: int = CUTOFF) -> float:
    """NDCG@k of one list whose positive rows have the gain 1. Of equal scores, negatives come first: a model that gives
    all rows one score must not look good by the order of the table.
    """
    order = np.lexsort((labels, -scores.astype(np.float64)))[:k]
    discounts = 1 / np.log2(np.arange(2, len(order) + 2))
    ideal = discounts[: int((labels > 0).sum())].sum()
    return float(((labels[order] > 0) * discounts).sum() / ideal) if ideal else float("nan")


def expected_calibration_error(chances: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of the predicted from the found share of positives, over ``bins`` groups of equally many rows in
    the order of their predictions (Naeini et al., AAAI 2015, with equal mass).
    """
    order = np.argsort(chances, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    gaps = [abs(float(chances[group].mean()) - float((labels[group] > 0).mean())) * len(group) for group in groups]
    return sum(gaps) / len(order)


def fidelity(reference: ScoredRows, other: ScoredRows, lists: Sequence[np.ndarray]) -> dict[str, Any]:
    """How closely ``other`` follows ``reference``, both of the same rows: ``kendall_tau``, the mean over ``lists`` of
    two rows or more; ``score_error``, the root mean square difference in standard deviations of the reference;
    ``loss`` and ``loss_ci``, see :func:`loss`.
    """
    taus = [kendall_tau(reference.scores[rows], other.scores[rows]) for rows in lists if len(rows) > 1]
    difference = other.scores.astype(np.float64) - reference.scores
    spread = max(float(reference.scores.astype(np.float64).std()), 1e-12)
    lost, ends = loss(reference, other)
    return {
        "kendall_tau": float(np.mean(taus)) if taus else 1.0,
        "score_error": float(np.sqrt(np.mean(difference**2)) / spread),
        "loss": lost,
        "loss_ci": list(ends),
    }


def loss(reference: ScoredRows, other: ScoredRows) -> tuple[float, tuple[float, float]]:
    """How much worse the main figure of ``other`` is, relative to that of ``reference``, with the 95 % bootstrap
    interval by resampling users, paired. 0.01 is a loss of 1 %; a negative figure is a gain.
    """
    sign = -1 if reference.main.higher_is_better else 1
    lost = sign * (other.main_figure() / reference.main_figure() - 1)
    if np.array_equal(reference.scores, other.scores):
        return 0.0, (0.0, 0.0)
    if reference.label == "rating":
        (counts, before), (_, after) = reference._sums(), other._sums()
        low, high = bootstrap.interval(
            (before, after, counts), lambda b, a, n, axis: np.sqrt(a.sum(axis) / np.maximum(b.sum(axis), 1e-12)) - 1
        )
        return lost, (float(low), float(high))
    before, after = _resampled([reference, other])
    low, high = np.quantile(sign * (after / before - 1), [0.025, 0.975])
    return lost, (float(low), float(high))


def _resampled(scored: Sequence[ScoredRows]) -> list[np.ndarray]:
    """The AUC of each in ``RESAMPLES`` bootstrap samples of users, the same samples for all."""
    users, place = np.unique(scored[0].users, return_inverse=True)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(users), np.full(len(users), 1 / len(users)), RESAMPLES)
    found = []
    for rows in scored:
        order = np.argsort(rows.scores, kind="stable")
        positive = rows.labels[order] > 0
        _, group = np.unique(rows.scores[order], return_inverse=True)
        of_user = place[order]
        areas = np.empty(RESAMPLES)
        for number, draw in enumerate(draws):
            weights = draw[of_user].astype(np.float64)
            negatives = np.bincount(group, weights * ~positive)
            positives = np.bincount(group, weights * positive)
            below = np.cumsum(negatives) - negatives
            pairs = positives.sum() * negatives.sum()
            areas[number] = (positives * (below + negatives / 2)).sum() / pairs if pairs else np.nan
        found.append(areas)
    return found


def by_slice(scored: ScoredRows, rows: LabelledRows, dataset: Dataset, histories: Histories) -> dict[str, Any]:
    """The main figure by popularity tier of the item and by length of the history, ready for JSON."""
    tier = tiers(dataset)[rows.items]
    firsts = slice(None, None, rows.group)
    pairs = zip(rows.events[firsts], rows.users[firsts], strict=True)
    lengths = np.repeat([len(histories.events(place, user)) for place, user in pairs], rows.group)
    bucket = np.searchsorted(HISTORY_LENGTHS, lengths)
    names = [*(f"<={length}" for length in HISTORY_LENGTHS), f">{HISTORY_LENGTHS[-1]}"]
    kinds: Mapping[str, tuple[np.ndarray, list[str]]] = {
        "popularity": (tier, ["head", "torso", "tail", "cold"]),
        "history": (bucket, names),
    }
    return {
        kind: [
            {
                "name": name,
                "rows": int((of == number).sum()),
                scored.main.name: scored.subset(of == number).main_figure(),
            }
            for number, name in enumerate(labels)
            if (of == number).sum() >= MIN_ROWS and np.isfinite(scored.subset(of == number).main_figure())
        ]
        for kind, (of, labels) in kinds.items()
    }
