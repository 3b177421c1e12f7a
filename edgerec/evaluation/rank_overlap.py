"""Rank-biased overlap: how alike two ranked lists are, with the head of the list counting most."""

import numpy as np

# The weight of each further place, as Webber et al. use it: the first ten places then have 86 % of all weight.
PERSISTENCE = 0.9
BATCH = 16_384


def rank_biased_overlaps(first: np.ndarray, second: np.ndarray, persistence: float = PERSISTENCE) -> np.ndarray:
    """Extrapolated rank-biased overlap of each pair of top lists (Webber, Moffat, Zobel 2010, equation 32).

    1 for the same list in the same order, 0 for lists without a common row. Beyond the end of the lists, the agreement
    at their end is taken to go on.

    Args:
        first, second: rows, int [n, k] each, best first, no row twice; 0 stands for no item, behind all others.
        persistence: p, between 0 and 1; the smaller, the more the head counts.

    Returns:
        float64 [n]; 1 for two empty lists, 0 if one of them is empty.
    """
    parts = [
        _overlaps(first[start : start + BATCH], second[start : start + BATCH], persistence)
        for start in range(0, len(first), BATCH)
    ]
    return np.concatenate([np.zeros(0), *parts])


def rank_biased_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Mean of :func:`rank_biased_overlaps`."""
    return float(rank_biased_overlaps(first, second).mean())


def _overlaps(first: np.ndarray, second: np.ndarray, p: float) -> np.ndarray:
    width = first.shape[1]
    common = (first[:, :, None] == second[:, None, :]) & (first > 0)[:, :, None]
    # A common row counts from the depth on at which both lists have shown it.
    depth = np.maximum.outer(np.arange(width), np.arange(width))
    found = np.stack([(common & (depth < d)).sum((1, 2)) for d in range(1, width + 1)], axis=1).astype(np.float64)
    lengths = np.sort(np.stack([(first > 0).sum(1), (second > 0).sum(1)]), axis=0)
    short, long = lengths[0][:, None], lengths[1][:, None]
    depths = np.arange(1, width + 1)
    at_short = np.take_along_axis(found, np.maximum(short, 1) - 1, 1)
    at_long = np.take_along_axis(found, np.maximum(long, 1) - 1, 1)
    share_at_short = at_short / np.maximum(short, 1)
    # Behind the end of the shorter list, its share of common rows is taken to go on.
    supposed = np.where(depths > short, share_at_short * (depths - short), 0.0)
    weights = np.where(depths <= long, p**depths / depths, 0.0)
    head = (1 - p) / p * ((found + supposed) * weights).sum(1)
    rest = ((at_long - at_short) / np.maximum(long, 1) + share_at_short) * p**long
    empty = short[:, 0] == 0
    return np.where(empty, (long[:, 0] == 0).astype(np.float64), head + rest[:, 0])
