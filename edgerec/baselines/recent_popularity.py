"""The most popular items of the last days: stronger than overall popularity where demand changes with time."""

from dataclasses import dataclass

import numpy as np

from edgerec.baselines.popularity import Popularity
from edgerec.data.dataset import TRAIN, Dataset

TICKS_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000}
# What counts as recent where time has no unit (a sequence number, a year): this share of the training interactions.
RECENT_SHARE = 0.1


@dataclass(frozen=True)
class RecentPopularity(Popularity):
    """Scores items by their training interactions late in the training period, whatever the history.

    Items without recent interactions tie at 0, and are ordered by overall popularity (lower rows first).
    """

    @classmethod
    def fit(cls, dataset: Dataset, days: float = 28) -> "RecentPopularity":
        """Count over the last ``days`` before the newest training interaction.

        Where ``dataset.info["time_unit"]`` names no unit, count the newest tenth of the training interactions (with all
        that are as old as the oldest of them).
        """
        training = dataset.parts == TRAIN
        recent = _is_recent(dataset.times[training], TICKS_A_DAY.get(dataset.info.get("time_unit") or ""), days)
        counts = np.bincount(dataset.events[training][recent], minlength=dataset.items + 1)
        return cls(counts.astype(np.float32))


def _is_recent(times: np.ndarray, ticks_a_day: int | None, days: float) -> np.ndarray:
    """Which of ``times`` int64 [n] are recent, bool [n]."""
    if len(times) == 0:
        return np.zeros(0, bool)
    if ticks_a_day is not None:
        return times > times.max() - round(days * ticks_a_day)
    newest = max(1, round(RECENT_SHARE * len(times)))
    return times >= np.partition(times, -newest)[-newest]
