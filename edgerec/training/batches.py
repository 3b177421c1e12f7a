"""Batches of training windows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgerec.evaluation.ranking import NEVER
from edgerec.recommenders.recommender import left_pad

# Windows are batched with others of like length: half the time of padding all of them to L.
BUCKETS = (0.16, 0.32, 0.56, 1.0)
# Share of windows that are shown without the user's features, as these are optional on the device.
WITHOUT_FEATURES = 0.1


@dataclass(frozen=True)
class Batch:
    """``inputs`` and ``targets`` int32 [B, T], left-padded with 0: the target at a place is the next event."""

    inputs: np.ndarray
    targets: np.ndarray


def training_batches(
    histories: list[np.ndarray],
    length: int,
    batch: int,
    seed: int,
    epoch: int,
    users: list[np.ndarray] | None = None,
) -> list[Batch]:
    """All batches of an epoch, in random order; the same for the same ``seed`` and ``epoch``.

    A history longer than ``length`` gives its newest window, which is what serving will see, and windows over all of
    it, cut at a place that is drawn anew each epoch, so that events are seen with different contexts.

    Args:
        histories: training events, int32 arrays of item rows, oldest first.
        length: L, events of a window.
        batch: windows of a batch.
        users: rows of each user's features, int32 [≤ features] each: they come first in every window, except in a
            share of ``WITHOUT_FEATURES`` of them, and are never targets.
    """
    rng = np.random.default_rng((seed, epoch))
    if users is None:
        windows = [w for history in histories for w in _windows(history, length, rng)]
    else:
        windows = list(_windows_with_features(histories, users, length, rng))
    first = min((int(rows.min(initial=NEVER)) for rows in users or ()), default=NEVER)
    bucket = np.searchsorted([max(1, round(b * length)) for b in BUCKETS], [len(w) - 1 for w in windows])
    batches = []
    for number in range(len(BUCKETS)):
        members = rng.permutation(np.flatnonzero(bucket == number))
        for start in range(0, len(members), batch):
            padded = left_pad([windows[i] for i in members[start : start + batch]], length + 1)
            inputs, targets = padded[:, :-1], padded[:, 1:]
            batches.append(Batch(inputs, targets * ((inputs > 0) & (targets < first))))
    return [batches[i] for i in rng.permutation(len(batches))]


def _windows(history: np.ndarray, length: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    end = len(history)
    if end > length + 1:
        yield history[-length - 1 :]
        end -= int(rng.integers(1, length + 1))
    while end >= 2:
        yield history[max(0, end - length - 1) : end]
        end -= length


def _windows_with_features(
    histories: list[np.ndarray], users: list[np.ndarray], length: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    for history, rows in zip(histories, users, strict=True):
        if len(history) == 1 and len(rows):
            yield np.concatenate([rows, history])
        for window in _windows(history, length - len(rows), rng):
            yield window if rng.random() < WITHOUT_FEATURES else np.concatenate([rows, window])
