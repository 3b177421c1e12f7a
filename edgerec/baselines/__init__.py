"""Recommenders that learn no weights: what every model has to beat. One file each, evaluated as any scorer."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from edgerec.baselines.markov import fit_markov
from edgerec.baselines.personal_frequency import PersonalFrequency
from edgerec.baselines.popularity import Popularity
from edgerec.baselines.recent_popularity import RecentPopularity
from edgerec.baselines.windowed_counts import WindowedCounts
from edgerec.data.dataset import Dataset


class Baseline(Protocol):
    """Anything with the ``score`` of a recommender: n histories of rows, oldest first -> float32 [n, N + 1]."""

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray: ...


# Name -> fit on the training part of a Dataset, with the default parameters.
BASELINES: dict[str, Callable[[Dataset], Baseline]] = {
    "popularity": Popularity.fit,
    "recent-popularity": RecentPopularity.fit,
    "markov": fit_markov,
    "windowed-counts": WindowedCounts.fit,
    "personal-frequency": PersonalFrequency.fit,
}


def baselines_for(dataset: Dataset) -> dict[str, Callable[[Dataset], Baseline]]:
    """Those that say something about this data set: personal frequency needs repeated interactions."""
    return {name: fit for name, fit in BASELINES.items() if name != "personal-frequency" or not dataset.exclude_seen}


__all__ = [
    "BASELINES",
    "Baseline",
    "PersonalFrequency",
    "Popularity",
    "RecentPopularity",
    "WindowedCounts",
    "baselines_for",
    "fit_markov",
]
