"""Batches of training windows: drawn anew for each epoch, and put together one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np

from edgerec.recommenders.recommender import left_pad

# Windows are batched with others of like length: half the time of padding all of them to L.
BUCKETS = (0.16, 0.32, 0.56, 1.0)
# Share of windows that are shown without the user's features, as these are optional on the device.
WITHOUT_FEATURES = 0.1


@dataclass(frozen=True)
class Batch:
    """``inputs`` and ``targets`` int32 [B, T], left-padded with 0: the target at a place is the next event.

    ``positions`` int32 [B, T]: where each target is in all training histories, one after the other, counted from 1; 0
    where there is no target.
    """

    inputs: np.ndarray
    targets: np.ndarray
    positions: np.ndarray


class Window(NamedTuple):
    """The events ``start`` to ``end`` of a user's training history, behind the user's features or without them."""

    user: int
    start: int
    end: int
    with_features: bool


class EpochBatches(Sequence[Batch]):
    """The batches of an epoch, in random order. Only the places of the windows are kept in memory; each batch is put
    together when it is asked for.

    Args:
        histories: training events, int32 arrays of item rows, oldest first.
        features: rows of each user's features, int32 [≤ features] each; ``None`` if the model has none.
        length: L, events of a window.
        windows: all windows of the epoch.
        batches: places in ``windows``, one array per batch.
    """

    def __init__(
        self,
        histories: Sequence[np.ndarray],
        features: Sequence[np.ndarray] | None,
        length: int,
        windows: Sequence[Window],
        batches: Sequence[np.ndarray],
    ) -> None:
        self._histories, self._features, self._length = histories, features, length
        self._windows, self._batches = windows, batches
        self._offsets = np.cumsum([0, *map(len, histories)])
        # Rows of features begin behind all items, and are never targets.
        self._first = min((int(rows.min()) for rows in features or () if len(rows)), default=np.iinfo(np.int32).max)

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, number: int) -> Batch: ...

    @overload
    def __getitem__(self, number: slice) -> list[Batch]: ...

    def __getitem__(self, number: int | slice) -> Batch | list[Batch]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        windows = [self._windows[place] for place in self._batches[number]]
        padded = left_pad([self._events(window) for window in windows], self._length + 1)
        positions = np.zeros_like(padded)
        for line, window in zip(positions, windows, strict=True):
            line[window.start - window.end :] = self._offsets[window.user] + np.arange(window.start, window.end) + 1
        inputs, targets = padded[:, :-1], padded[:, 1:]
        real = (inputs > 0) & (targets > 0) & (targets < self._first)
        return Batch(inputs, targets * real, positions[:, 1:] * real)

    def _events(self, window: Window) -> np.ndarray:
        events = self._histories[window.user][window.start : window.end]
        if self._features is None or not window.with_features:
            return events
        return np.concatenate([self._features[window.user], events])


def training_batches(
    histories: Sequence[np.ndarray],
    length: int,
    batch: int,
    seed: int,
    epoch: int,
    features: Sequence[np.ndarray] | None = None,
) -> EpochBatches:
    """All batches of an epoch, in random order; the same for the same ``seed`` and ``epoch``.

    A history longer than ``length`` gives its newest window, which is what serving will see, and windows over all of
    it, cut at a place that is drawn anew each epoch, so that events are seen with different contexts.

    Args:
        histories: training events, int32 arrays of item rows, oldest first.
        length: L, events of a window.
        batch: windows of a batch.
        features: rows of each user's features, int32 [≤ features] each: they come first in every window, except in a
            share of ``WITHOUT_FEATURES`` of them, and are never targets.
    """
    rng = np.random.default_rng((seed, epoch))
    windows = list(_windows(histories, features, length, rng))
    added = np.array([len(features[w.user]) if features is not None and w.with_features else 0 for w in windows], int)
    sizes = np.array([w.end - w.start for w in windows], int) + added
    bucket = np.searchsorted([max(1, round(b * length)) for b in BUCKETS], sizes - 1)
    batches = []
    for number in range(len(BUCKETS)):
        members = rng.permutation(np.flatnonzero(bucket == number))
        batches += [members[start : start + batch] for start in range(0, len(members), batch)]
    return EpochBatches(histories, features, length, windows, [batches[i] for i in rng.permutation(len(batches))])


def _windows(
    histories: Sequence[np.ndarray], features: Sequence[np.ndarray] | None, length: int, rng: np.random.Generator
) -> Iterator[Window]:
    for user, history in enumerate(histories):
        if features is None:
            yield from (Window(user, start, end, False) for start, end in _ranges(len(history), length, rng))
            continue
        rows = features[user]
        if len(history) == 1 and len(rows):
            yield Window(user, 0, 1, True)
        for start, end in _ranges(len(history), length - len(rows), rng):
            yield Window(user, start, end, bool(rng.random() >= WITHOUT_FEATURES))


def _ranges(events: int, length: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Start and end of the windows over a history of so many events."""
    end = events
    if end > length + 1:
        yield events - length - 1, events
        end -= int(rng.integers(1, length + 1))
    while end >= 2:
        yield max(0, end - length - 1), end
        end -= length
