"""Bootstrap intervals of figures over users."""

from collections.abc import Callable

import numpy as np
from scipy import stats

RESAMPLES = 2000
# Elements resampled at a time: bounds the memory, however many users there are.
BATCH_ELEMENTS = 4_000_000


def interval(
    data: tuple[np.ndarray, ...], statistic: Callable[..., np.ndarray], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval of a statistic, by resampling users.

    Args:
        data: arrays [..., n] over the same n users, n > 1. All arrays, and all their leading dimensions, are resampled
            alike, so that differences between them stay paired.
        statistic: called as ``statistic(*resampled, axis=axis)``; gives one value in place of that axis.
        seed: the same seed gives the same interval.
        resamples: how many resamples to draw.

    Returns:
        Low and high ends, float64 [...] each.
    """
    found = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=resamples,
        batch=max(1, BATCH_ELEMENTS // max(1, data[0].size)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return found.low, found.high
