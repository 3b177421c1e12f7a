"""Average precision for any number of relevant items."""

import numpy as np


def average_precision(ranks: np.ndarray, k: int, sizes: np.ndarray | None = None) -> np.ndarray:
    """AP@k of each list, float64 [n], from the ranks [n, R] of its relevant items, in any order.

    The precision at the place of each relevant item within the first k, summed and divided by the number of relevant
    items (as trec_eval and ranx do; others divide by at most k). With one relevant item it is the reciprocal rank at
    k, so MAP@k equals MRR@k.

    Args:
        ranks: 1 is best; beyond every k for an item that can never be shown, and behind the items of a shorter line.
        sizes: number of relevant items of each line, int [n]; default: R for every line.
    """
    ordered = np.sort(ranks, axis=1)
    found = np.arange(1, ranks.shape[1] + 1)
    return np.where(ordered <= k, found / ordered, 0.0).sum(1) / (ranks.shape[1] if sizes is None else sizes)
