"""Average precision for any number of relevant items."""

import numpy as np


def average_precision(ranks: np.ndarray, k: int) -> np.ndarray:
    """AP@k of each list, float64 [n], from the ranks int [n, R] of its R relevant items, in any order.

    The precision at the place of each relevant item within the first k, summed and divided by R (as trec_eval and
    ranx do; others divide by min(k, R)). An item that can never be shown has a rank beyond every k. With one relevant
    item, as everywhere in this package, it is 1 / rank: AP@k is then the reciprocal rank at k, and MAP@k is MRR@k.
    """
    ordered = np.sort(ranks, axis=1)
    found = np.arange(1, ranks.shape[1] + 1)
    return np.where(ordered <= k, found / ordered, 0.0).sum(1) / ranks.shape[1]
