"""The most popular items for everyone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgerec.data.dataset import Dataset


@dataclass(frozen=True)
class Popularity:
    """Scores items by their training interactions, whatever the history.

    Attributes:
        interactions: float32 [N + 1], by row.
    """

    interactions: np.ndarray

    @classmethod
    def fit(cls, dataset: Dataset) -> "Popularity":
        return cls(dataset.popularity.astype(np.float32))

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 [n, N + 1]."""
        return np.tile(self.interactions, (len(histories), 1))
