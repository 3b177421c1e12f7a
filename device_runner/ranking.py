"""Top lists from scores: one order everywhere. Best first; of equal scores the lower, more popular, row."""

import numpy as np


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


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Mean share of common rows of two sets of top lists, int [n, k] each; 0 stands for no item."""
    shares = [len((set(a) & set(b)) - {0}) / max(1, len(set(a) - {0})) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shares))
