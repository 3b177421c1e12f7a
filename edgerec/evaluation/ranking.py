"""Full-ranking evaluation of anything that scores the catalogue, and the paired comparison of two evaluations."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from device_runner.errors import EdgeRecError
from device_runner.ranking import TOP, exclude, top_rows
from edgerec.data.dataset import Dataset, Targets
from edgerec.evaluation import bootstrap
from edgerec.evaluation.precision import average_precision

# Histories (arrays of item rows, oldest first) -> scores float32 [n, N + 1].
Scorer = Callable[[Sequence[np.ndarray]], np.ndarray]


class Model(Protocol):
    """A recommender that scores histories and may read user features as well."""

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Scores float32 [n, N + 1] of every item, for inputs such as :meth:`inputs_of` gives."""

    def inputs_of(self, targets: Targets, dataset: Dataset) -> list[np.ndarray]:
        """What the model reads for each target: the history, with rows for user features where it has any."""


# List lengths of the reported figures. Ranks are kept whole, so k may be larger than TOP.
CUTOFFS = (1, 5, 10, 20)
BATCH = 256
# Rank of an item that can never be recommended: a cold item, or one that is excluded.
NEVER = np.iinfo(np.int32).max
# Fill the lines of users whose basket is smaller than the largest one: among ranks, and among rows (0: a cold item).
NO_ITEM = 0
NO_ROW = -1
FILE = "evaluation.npz"
# What numpy raises for files that are not, or no longer, what it wrote.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Evaluation:
    """Where a scorer ranked the target of each user.

    A user has one target item, or several (a basket). All figures are one value a user; with a single target, NDCG@k
    is 1 / log2(rank + 1), recall@k equals HR@k, and AP@k equals the reciprocal rank at k.

    Attributes:
        ranks: int32 [n], rank of ``Targets.items``; 1 is best, ``NEVER`` for an item that cannot be recommended.
        top: int32 [n, 10], the rows at the head of each list, 0 where the list is shorter.
        items: N, the size of the catalogue.
        basket_ranks: int32 [n, B], rank of every item of each user's basket in any order, ``NO_ITEM`` behind the
            items of a basket smaller than B; ``None`` if each user has one target.
    """

    ranks: np.ndarray
    top: np.ndarray
    items: int
    basket_ranks: np.ndarray | None = None

    def ndcg(self, k: int) -> np.ndarray:
        """NDCG@k of each user, float64 [n]: the gain of the targets in the first k, over the best possible gain."""
        places = self._places()
        gains = np.where(places <= k, 1 / np.log2(places + 1), 0.0).sum(1)
        ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
        return gains / ideal[np.minimum(self._sizes(), k) - 1]

    def hits(self, k: int) -> np.ndarray:
        """1 where at least one target is in the first k, else 0; float64 [n]. The mean is the hit rate HR@k."""
        return (self._places() <= k).any(1).astype(np.float64)

    def recall(self, k: int) -> np.ndarray:
        """Share of each user's targets that are in the first k, float64 [n]."""
        return (self._places() <= k).sum(1) / self._sizes()

    def reciprocal_ranks(self, k: int | None = None) -> np.ndarray:
        """1 / rank of each user's best-ranked target, 0 behind the first ``k`` (default: no limit); float64 [n]."""
        best = self._places().min(1)
        return 1 / best if k is None else np.where(best <= k, 1 / best, 0.0)

    def average_precision(self, k: int) -> np.ndarray:
        """AP@k of each user, float64 [n]."""
        return average_precision(self._places(), k, self._sizes())

    def coverage(self) -> float:
        """Share of the catalogue that is in at least one top-10."""
        return len(np.unique(self.top[self.top > 0])) / self.items

    def subset(self, which: np.ndarray) -> "Evaluation":
        """The evaluation of some users only, by mask bool [n] or index."""
        baskets = None if self.basket_ranks is None else self.basket_ranks[which]
        return replace(self, ranks=self.ranks[which], top=self.top[which], basket_ranks=baskets)

    def quality(self) -> dict[str, float]:
        """The figures of the report, means over users: each at every k of ``CUTOFFS``, MRR and coverage."""
        by_user = {
            "ndcg": self.ndcg,
            "hr": self.hits,
            "recall": self.recall,
            "mrr": self.reciprocal_ranks,
            "map": self.average_precision,
        }
        return {
            **{f"{name}@{k}": float(figure(k).mean()) for name, figure in by_user.items() for k in CUTOFFS},
            "mrr": float(self.reciprocal_ranks().mean()),
            "coverage@10": self.coverage(),
        }

    def save(self, folder: Path) -> None:
        """Write ``evaluation.npz`` into ``folder``, so that any two artifacts can be compared user by user."""
        arrays = {"ranks": self.ranks, "top": self.top}
        if self.basket_ranks is not None:
            arrays["basket_ranks"] = self.basket_ranks
        np.savez_compressed(folder / FILE, **arrays)

    @classmethod
    def load(cls, folder: Path, items: int) -> "Evaluation":
        """Read what ``save`` wrote into ``folder``, of a catalogue of ``items`` items.

        Raises:
            EdgeRecError: there is no ``evaluation.npz``, or it is damaged.
        """
        path = folder / FILE
        try:
            with np.load(path) as saved:
                baskets = saved.get("basket_ranks")
                found = cls(saved["ranks"], saved["top"], items, baskets)
            found._check()
        except FileNotFoundError:
            raise EdgeRecError(f"{path}: not found; the model in this folder has not been evaluated yet") from None
        except _DAMAGE as error:
            raise EdgeRecError(f"{path}: damaged ({error}); delete the folder and make it again") from None
        return found

    def _check(self) -> None:
        """Raise ValueError unless the arrays fit together and into the catalogue."""
        users = len(self.ranks)
        baskets = np.zeros((users, 1), np.int32) if self.basket_ranks is None else self.basket_ranks
        if self.ranks.ndim != 1 or self.top.shape != (users, TOP) or baskets.ndim != 2 or len(baskets) != users:
            raise ValueError("its arrays do not fit together")
        if any(not np.issubdtype(array.dtype, np.integer) for array in (self.ranks, self.top, baskets)):
            raise ValueError("its arrays are not of integers")
        if self.top.max(initial=0) > self.items:
            raise ValueError(f"it lists items beyond the {self.items:,} of the catalogue")

    def _places(self) -> np.ndarray:
        """Rank of every target of each user, float64 [n, R]; infinite where there is none to be found."""
        ranks = self.ranks[:, None] if self.basket_ranks is None else self.basket_ranks
        return np.where((ranks == NO_ITEM) | (ranks == NEVER), np.inf, ranks)

    def _sizes(self) -> np.ndarray:
        """How many targets each user has, int64 [n]."""
        if self.basket_ranks is None:
            return np.ones(len(self.ranks), np.int64)
        return np.count_nonzero(self.basket_ranks != NO_ITEM, axis=1)


def evaluate(
    scorer: Scorer,
    targets: Targets,
    dataset: Dataset,
    advance: Callable[[int], None] = lambda steps: None,
    inputs: Sequence[np.ndarray] | None = None,
) -> Evaluation:
    """Rank the target of each user, or every item of the user's basket, among the whole catalogue.

    Items of the history are left out if the data set keeps one interaction per user and item
    (``dataset.exclude_seen``). Of equal scores the lower (more popular) row comes first, as on the device.

    Args:
        scorer: gives scores float32 [n, N + 1] for n histories.
        advance: is told how many users were ranked, after each batch.
        inputs: what the scorer is given for each user, if not the history alone.
    """
    baskets = baskets_of(targets)
    ranks = np.empty(len(targets), np.int32)
    top = np.zeros((len(targets), TOP), np.int32)
    basket_ranks = None if baskets is None else np.full(baskets.shape, NO_ITEM, np.int32)
    for start in range(0, len(targets), BATCH):
        chunk = slice(start, start + BATCH)
        histories, items = targets.histories[chunk], targets.items[chunk]
        scores = np.array(scorer(histories if inputs is None else inputs[chunk]), np.float32)
        exclude(scores, histories if dataset.exclude_seen else ())
        ranks[chunk] = rank_of(scores, items)
        if baskets is not None and basket_ranks is not None:
            basket_ranks[chunk] = basket_ranks_of(scores, baskets[chunk])
        best = top_rows(scores, TOP)  # narrower than TOP in a tiny catalogue
        top[chunk, : best.shape[1]] = best
        advance(len(items))
    return Evaluation(ranks, top, dataset.items, basket_ranks)


def evaluate_model(
    model: Model, targets: Targets, dataset: Dataset, advance: Callable[[int], None] = lambda steps: None
) -> Evaluation:
    """Like ``evaluate``, for a model that may also read user features."""
    return evaluate(model.score, targets, dataset, advance, model.inputs_of(targets, dataset))


def baskets_of(targets: Targets) -> np.ndarray | None:
    """The item rows of all baskets, int32 [n, B] with ``NO_ROW`` behind smaller ones; ``None`` without baskets."""
    if targets.baskets is None:
        return None
    rows = np.full((len(targets), max(map(len, targets.baskets), default=0)), NO_ROW, np.int32)
    for line, basket in zip(rows, targets.baskets, strict=True):
        line[: len(basket)] = basket
    return rows


def rank_of(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rank int32 [n] of each row in ``items`` within its line of ``scores`` [n, N + 1].

    ``NEVER`` for an excluded row, and for a score that is not a number: a broken model must not rank first.
    """
    own = scores[np.arange(len(items)), items][:, None]
    ranks = 1 + np.count_nonzero(scores > own, axis=1)
    equal = scores == own
    # Ties are rare: only lines that have any are searched for lower rows of the same score.
    for line in np.flatnonzero(np.count_nonzero(equal, axis=1) > 1):
        ranks[line] += np.count_nonzero(equal[line, : items[line]])
    return np.where(own[:, 0] > -np.inf, ranks, NEVER).astype(np.int32)


def basket_ranks_of(scores: np.ndarray, baskets: np.ndarray) -> np.ndarray:
    """Rank int32 [n, B] of each row in ``baskets`` [n, B] within its line of ``scores``, ``NO_ITEM`` for ``NO_ROW``."""
    ranks = np.full(baskets.shape, NO_ITEM, np.int32)
    for line, basket, found in zip(scores, baskets, ranks, strict=True):
        held = basket[basket != NO_ROW]
        found[: len(held)] = rank_of(np.broadcast_to(line, (len(held), len(line))), held)
    return ranks


def ndcg_drop(
    reference: Evaluation, other: Evaluation, seed: int = 0
) -> tuple[float, tuple[float, float]] | tuple[None, None]:
    """Relative loss of NDCG@10 against ``reference`` with its 95 % paired bootstrap interval (percentile).

    0.01 is a loss of 1 %; a negative figure is a gain. Both evaluations must be of the same targets.

    Returns:
        Loss and interval; ``None`` for both if the reference has no hit in any top-10, so that there is nothing to
        lose. The caller must not take that for "no loss": a gate on the loss fails, and a report says that the loss
        is not measurable.
    """
    base, difference = reference.ndcg(10), reference.ndcg(10) - other.ndcg(10)
    if base.sum() == 0:
        return None, None
    drop = float(difference.sum() / base.sum())
    if not difference.any() or len(base) < 2:
        return drop, (drop, drop)
    low, high = bootstrap.interval(
        (difference, base), lambda d, b, axis: d.sum(axis) / np.maximum(b.sum(axis), 1e-12), seed
    )
    return drop, (float(low), float(high))


def drop_figures(reference: Evaluation, other: Evaluation) -> dict[str, Any]:
    """``ndcg_drop`` and ``ndcg_drop_ci`` as ``report.json`` has them, ``None`` for both if not measurable."""
    drop, ends = ndcg_drop(reference, other)
    return {"ndcg_drop": drop, "ndcg_drop_ci": None if ends is None else list(ends)}
