"""Top lists from scores, with one order everywhere: best first, and of equal scores the lower, more popular, row."""

from collections.abc import Iterable, Sequence

import numpy as np

# Length of the lists that figures of quality and agreement are about.
TOP = 10


def exclude(scores: np.ndarray, excluded: Sequence[Sequence[int] | np.ndarray]) -> None:
    """Put padding (row 0) and each line's excluded rows behind everything else, in place.

    Args:
        scores: float32 [n, N + 1].
        excluded: rows of each line; empty for none in any line.
    """
    scores[:, 0] = -np.inf
    for line, rows in zip(scores, excluded, strict=False):
        line[np.asarray(rows, np.int64)] = -np.inf


def top_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best rows of each line of ``scores`` float32 [n, N + 1]: int32 [n, ≤ k], 0 where only -inf is left."""
    k = min(k, scores.shape[1])
    head = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    # argpartition picks any of those that tie with the k-th: take the lowest rows among them.
    kth = np.take_along_axis(scores, head, 1).min(1)
    for line in np.flatnonzero((scores >= kth[:, None]).sum(1) > k):
        head[line] = np.argsort(-scores[line], kind="stable")[:k]
    head.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, head, 1), axis=1, kind="stable")
    head = np.take_along_axis(head, order, 1)
    return np.where(np.isneginf(np.take_along_axis(scores, head, 1)), 0, head).astype(np.int32)


def best_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best rows of one line of ``scores`` float32 [m], like :func:`top_rows` but without those of -inf: int32
    [≤ k].
    """
    keys = -scores
    rows = np.arange(len(keys))
    if 4 * k < len(keys):
        # argpartition picks any of those that tie with the k-th: all of them are candidates.
        bound = np.partition(keys, k - 1)[k - 1]
        if not np.isnan(bound):
            rows = np.flatnonzero(keys <= bound)
    rows = rows[np.argsort(keys[rows], kind="stable")[:k]]
    return rows[scores[rows] > -np.inf].astype(np.int32)


def top_unseen(scores: np.ndarray, histories: Iterable[Sequence[int] | np.ndarray], k: int = TOP) -> np.ndarray:
    """The k best rows of each line of ``scores`` float32 [n, N + 1] without padding and the history: int32 [n, k],
    0 where the catalogue has fewer. Rows of user features in a history have no score and are passed over.
    """
    masked = scores.copy()
    exclude(masked, [[row for row in history if row < scores.shape[1]] for history in histories])
    best = top_rows(masked, k)
    return np.pad(best, ((0, 0), (0, k - best.shape[1])))


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of common rows of each pair of top lists, int [n, k] each, float64 [n]; 0 stands for no item. Two empty
    lists are the same.
    """
    return np.array([_overlap(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Mean of :func:`overlaps`."""
    return float(overlaps(first, second).mean())


def _overlap(first: Iterable[int], second: Iterable[int]) -> float:
    expected, found = set(first) - {0}, set(second) - {0}
    return len(expected & found) / max(len(expected), len(found)) if expected or found else 1.0
