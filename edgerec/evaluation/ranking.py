"""Full-ranking evaluation of a scorer, and the paired comparison of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from device_runner.ranking import top_rows
from edgerec.data.dataset import Dataset, Targets

# Histories (arrays of item rows, oldest first) -> scores float32 [n, N + 1].
Scorer = Callable[[Sequence[np.ndarray]], np.ndarray]

TOP = 10
BATCH = 256
# The rank of a target that can never be recommended (a cold item).
NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Evaluation:
    """How a scorer ranked each target.

    Attributes:
        ranks: int32 [n], 1 is best; ``NEVER`` for a cold target.
        top: int32 [n, 10], the rows at the head of each list, 0 where it is shorter.
        items: N, the catalogue's size.
    """

    ranks: np.ndarray
    top: np.ndarray
    items: int

    def ndcg(self, k: int) -> np.ndarray:
        """NDCG@k of each target, float64 [n] (one relevant item: 1 / log2(rank + 1))."""
        return np.where(self.ranks <= k, 1 / np.log2(self.ranks.astype(np.float64) + 1), 0.0)

    def hits(self, k: int) -> np.ndarray:
        """Hit rate (= recall with one target) at k of each target, float64 [n]."""
        return (self.ranks <= k).astype(np.float64)

    def reciprocal_ranks(self) -> np.ndarray:
        """1 / rank over the whole catalogue, float64 [n]."""
        return np.where(self.ranks < NEVER, 1 / self.ranks, 0.0)

    def coverage(self) -> float:
        """Share of the catalogue that stands in at least one top-10."""
        return len(np.unique(self.top[self.top > 0])) / self.items

    def quality(self) -> dict[str, float]:
        """The figures of the report."""
        return {
            "ndcg@10": float(self.ndcg(10).mean()),
            "hr@10": float(self.hits(10).mean()),
            "mrr": float(self.reciprocal_ranks().mean()),
            "coverage@10": self.coverage(),
        }


def evaluate(
    scorer: Scorer, targets: Targets, dataset: Dataset, advance: Callable[[int], None] = lambda steps: None
) -> Evaluation:
    """Rank every target among the whole catalogue.

    Items of the history are left out where the data set keeps one interaction per user and item
    (``dataset.exclude_seen``). Of equal scores the lower (more popular) row comes first, as on the device.
    """
    ranks = np.empty(len(targets), np.int32)
    top = np.zeros((len(targets), TOP), np.int32)
    for start in range(0, len(targets), BATCH):
        chunk = slice(start, start + BATCH)
        histories, items = targets.histories[chunk], targets.items[chunk]
        scores = np.array(scorer(histories), np.float32)
        mask_scores(scores, histories if dataset.exclude_seen else ())
        ranks[chunk] = rank_of(scores, items)
        top[chunk] = top_rows(scores, TOP)
        advance(len(items))
    return Evaluation(ranks, top, dataset.items)


def mask_scores(scores: np.ndarray, seen: Sequence[np.ndarray]) -> None:
    """Put padding, and each history's own items, behind everything else (in place)."""
    scores[:, 0] = -np.inf
    for line, history in zip(scores, seen, strict=False):
        line[history] = -np.inf


def rank_of(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rank int32 [n] of each row in ``items`` within its line of ``scores`` [n, N + 1]; ``NEVER`` where masked."""
    own = scores[np.arange(len(items)), items][:, None]
    before = np.arange(scores.shape[1])[None] < items[:, None]
    ranks = 1 + ((scores > own) | ((scores == own) & before)).sum(1)
    return np.where(np.isneginf(own[:, 0]), NEVER, ranks).astype(np.int32)


def ndcg_drop(reference: Evaluation, other: Evaluation, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Relative loss of NDCG@10 against ``reference`` with its 95 % paired bootstrap interval (percentile).

    0.01 is a loss of 1 %; a negative figure is a gain. The same targets must stand in both.
    """
    base, difference = reference.ndcg(10), reference.ndcg(10) - other.ndcg(10)
    if base.sum() == 0:
        return 0.0, (0.0, 0.0)
    drop = float(difference.sum() / base.sum())
    if not difference.any():
        return drop, (drop, drop)
    interval = stats.bootstrap(
        (difference, base),
        lambda d, b, axis: d.sum(axis) / np.maximum(b.sum(axis), 1e-12),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return drop, (float(interval.low), float(interval.high))


def popularity_scorer(dataset: Dataset) -> Scorer:
    """The baseline that shows everyone the most popular items (training interactions)."""
    scores = dataset.popularity.astype(np.float32)
    return lambda histories: np.tile(scores, (len(histories), 1))
