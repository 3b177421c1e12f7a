"""Full-ranking evaluation of a scorer, and the paired comparison of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from device_runner.ranking import top_rows
from edgerec.data.dataset import Dataset, Targets
from edgerec.evaluation import bootstrap
from edgerec.evaluation.precision import average_precision

# Histories (arrays of item rows, oldest first) -> scores float32 [n, N + 1].
Scorer = Callable[[Sequence[np.ndarray]], np.ndarray]


class Model(Protocol):
    """A Keras recommender, or several as one."""

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray: ...

    def inputs_of(self, targets: Targets, dataset: Dataset) -> list[np.ndarray]: ...


TOP = 10
# List lengths of the reported figures. Ranks are kept whole, so that k may be larger than TOP.
CUTOFFS = (1, 5, 10, 20)
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

    def save(self, folder):
        np.savez_compressed(folder / "evaluation.npz", ranks=self.ranks, top=self.top)

    @classmethod
    def load(cls, folder, items):
        with np.load(folder / "evaluation.npz") as saved:
            return cls(saved["ranks"], saved["top"], items)

    def ndcg(self, k: int) -> np.ndarray:
        """NDCG@k of each target, float64 [n] (one relevant item: 1 / log2(rank + 1))."""
        return np.where(self.ranks <= k, 1 / np.log2(self.ranks.astype(np.float64) + 1), 0.0)

    def hits(self, k: int) -> np.ndarray:
        """Hit rate (= recall with one target) at k of each target, float64 [n]."""
        return (self.ranks <= k).astype(np.float64)

    def reciprocal_ranks(self, k: int | None = None) -> np.ndarray:
        """1 / rank, 0 behind the first ``k`` (default: the whole catalogue), float64 [n]."""
        return np.where(self.ranks < NEVER if k is None else self.ranks <= k, 1 / self.ranks, 0.0)

    def average_precision(self, k: int) -> np.ndarray:
        """AP@k of each target, float64 [n]; with the one relevant item each has, the reciprocal rank at k."""
        return average_precision(self.ranks[:, None], k)

    def coverage(self) -> float:
        """Share of the catalogue that stands in at least one top-10."""
        return len(np.unique(self.top[self.top > 0])) / self.items

    def subset(self, which: np.ndarray) -> "Evaluation":
        """That of some targets, by mask or index."""
        return replace(self, ranks=self.ranks[which], top=self.top[which])

    def quality(self) -> dict[str, float]:
        """The figures of the report: means over targets at each of ``CUTOFFS``.

        As each target is one item, ``hr@k`` is also Recall@k, and ``map@k`` equals ``mrr@k``.
        """
        by_target = {"ndcg": self.ndcg, "hr": self.hits, "mrr": self.reciprocal_ranks, "map": self.average_precision}
        return {
            **{f"{name}@{k}": float(figure(k).mean()) for name, figure in by_target.items() for k in CUTOFFS},
            "mrr": float(self.reciprocal_ranks().mean()),
            "coverage@10": self.coverage(),
        }


def evaluate(
    scorer: Scorer,
    targets: Targets,
    dataset: Dataset,
    advance: Callable[[int], None] = lambda steps: None,
    read: Sequence[np.ndarray] | None = None,
) -> Evaluation:
    """Rank every target among the whole catalogue.

    Args:
        read: what the scorer is given of each target, in place of its history.

    Items of the history are left out where the data set keeps one interaction per user and item
    (``dataset.exclude_seen``). Of equal scores the lower (more popular) row comes first, as on the device.
    """
    ranks = np.empty(len(targets), np.int32)
    top = np.zeros((len(targets), TOP), np.int32)
    for start in range(0, len(targets), BATCH):
        chunk = slice(start, start + BATCH)
        histories, items = targets.histories[chunk], targets.items[chunk]
        scores = np.array(scorer(histories if read is None else read[chunk]), np.float32)
        mask_scores(scores, histories if dataset.exclude_seen else ())
        ranks[chunk] = rank_of(scores, items)
        best = top_rows(scores, TOP)  # narrower where the catalogue is
        top[chunk, : best.shape[1]] = best
        advance(len(items))
    return Evaluation(ranks, top, dataset.items)


def evaluate_model(
    model: Model, targets: Targets, dataset: Dataset, advance: Callable[[int], None] = lambda steps: None
) -> Evaluation:
    """As ``evaluate``, of a model that is told of the users what it reads of them."""
    return evaluate(model.score, targets, dataset, advance, model.inputs_of(targets, dataset))


def mask_scores(scores: np.ndarray, seen: Sequence[np.ndarray]) -> None:
    """Put padding, and each history's own items, behind everything else (in place)."""
    scores[:, 0] = -np.inf
    if len(seen):
        lines = np.repeat(np.arange(len(seen)), [len(history) for history in seen])
        scores[lines, np.concatenate(seen)] = -np.inf


def rank_of(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rank int32 [n] of each row in ``items`` within its line of ``scores`` [n, N + 1].

    ``NEVER`` where it is masked, or no number: a broken model must not rank first.
    """
    own = scores[np.arange(len(items)), items][:, None]
    ranks = 1 + np.count_nonzero(scores > own, axis=1)
    equal = scores == own
    # Ties are rare: only lines that have any are searched for lower rows of the same score.
    for line in np.flatnonzero(np.count_nonzero(equal, axis=1) > 1):
        ranks[line] += np.count_nonzero(equal[line, : items[line]])
    return np.where(own[:, 0] > -np.inf, ranks, NEVER).astype(np.int32)


def ndcg_drop(reference: Evaluation, other: Evaluation, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Relative loss of NDCG@10 against ``reference`` with its 95 % paired bootstrap interval (percentile).

    0.01 is a loss of 1 %; a negative figure is a gain. The same targets must stand in both.
    """
    base, difference = reference.ndcg(10), reference.ndcg(10) - other.ndcg(10)
    if base.sum() == 0:
        return 0.0, (0.0, 0.0)
    drop = float(difference.sum() / base.sum())
    if not difference.any() or len(base) < 2:
        return drop, (drop, drop)
    low, high = bootstrap.interval(
        (difference, base), lambda d, b, axis: d.sum(axis) / np.maximum(b.sum(axis), 1e-12), seed
    )
    return drop, (float(low), float(high))
