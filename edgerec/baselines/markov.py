"""The first-order Markov chain: what most often came right after the last event."""

from edgerec.baselines.windowed_counts import WindowedCounts
from edgerec.data.dataset import Dataset


def fit_markov(dataset: Dataset, neighbours: int = 1000) -> WindowedCounts:
    """Windowed counts with a window of one event, read after the last event only: maximum-likelihood transition
    probabilities without smoothing; items that never followed the event come last, by popularity.
    """
    return WindowedCounts.fit(dataset, window=1, recent=1, decay=1.0, neighbours=neighbours)
