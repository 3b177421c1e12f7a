"""Bootstrap intervals that neither a large nor a tiny sample upsets."""

from collections.abc import Callable

import numpy as np
from scipy import stats

RESAMPLES = 2000
# Elements of a batch of resamples: bounds the memory however many targets there are.
BATCH_ELEMENTS = 4_000_000


def interval(
    data: tuple[np.ndarray, ...], statistic: Callable[..., np.ndarray], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval of ``statistic(*data, axis=)`` over paired samples, each array [..., n], n > 1.

    All leading dimensions see the same resamples. Low and high ends, float64 [...].
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
