"""What the user has had most often: the baseline where people buy or play the same things again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgerec.data.dataset import Dataset


@dataclass(frozen=True)
class PersonalFrequency:
    """Scores items by how often they are in the history; of equally frequent ones the one that came last is first.

    Items that are not in the history tie at 0, and are ordered by popularity.

    Attributes:
        items: N.
    """

    items: int

    @classmethod
    def fit(cls, dataset: Dataset) -> "PersonalFrequency":
        return cls(dataset.items)

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 [n, N + 1]."""
        scores = np.zeros((len(histories), self.items + 1), np.float32)
        for line, history in zip(scores, histories, strict=True):
            events = history[history > 0]
            line += np.bincount(events, minlength=len(line))
            # The last of repeated places is the one that stays.
            line[events] = np.floor(line[events]) + np.arange(len(events)) / (len(events) + 1)
        return scores
