"""Transitions: a sparse item-to-item table whose scores are added to those of the network."""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from scipy import sparse

from edgerec.baselines.windowed_counts import WindowedCounts
from edgerec.data.dataset import Dataset

# Largest row that fits into 16 bits, and that leaves 4 of them to the share.
INT16_ROWS, PACKED_ROWS = 2**15 - 1, 2**12 - 1
# Values that a share can have: with rows of 12 bits the code of one fits into the same 16 bits, else it has a byte.
PACKED_LEVELS, LEVELS = 2**4, 2**8


@dataclass(frozen=True)
class Transitions:
    """What tends to follow the newest events of a history.

    The score of item j is ``strength * log(1 + sum)``, where the sum is over the newest events: ``weights[age]`` times
    the share of j in what followed the event, plus ``repeats[age]`` if the event is j itself. Age 0 is the newest.

    Shares are kept as codes of 16 values, or 256 in catalogues of more than 4,095 items: the file and the Keras model
    read the same numbers. The file has 2 bytes an entry, or 3 (5 from 32,768 items on).

    Attributes:
        neighbours: int32 [N + 1, k], the items with the largest shares after each item; 0 where there are fewer.
        codes: uint8 [N + 1, k], the places of their shares in ``levels``.
        levels: float32 [16] or [256], rising; the first is 0.
        weights: float32 [R], by age.
        repeats: float32 [A], by age; empty unless the data set keeps repeated interactions.
        strength: weight of all this in the score.
    """

    neighbours: np.ndarray
    codes: np.ndarray
    levels: np.ndarray
    weights: np.ndarray
    repeats: np.ndarray
    strength: float

    @property
    def recent(self) -> int:
        """The number of newest events that are read."""
        return max(len(self.weights), len(self.repeats))

    @property
    def stored_bytes(self) -> int:
        """Bytes of the tables in a file."""
        return self.neighbours.astype(self._narrow).nbytes + (0 if self._packed else self.codes.nbytes)

    @property
    def _packed(self) -> bool:
        """Whether row and code of an entry share 16 bits."""
        return len(self.levels) <= PACKED_LEVELS and len(self.neighbours) - 1 <= PACKED_ROWS

    @property
    def _narrow(self) -> type[np.signedinteger]:
        """The type that the rows of items are stored in."""
        return np.int16 if len(self.neighbours) - 1 <= INT16_ROWS else np.int32

    def extended(self, rows: int) -> "Transitions":
        """The same with new items behind the others, which nothing leads to, so that the tables have ``rows`` rows."""
        grown = [np.pad(table, ((0, rows - len(table)), (0, 0))) for table in (self.neighbours, self.codes)]
        return replace(self, neighbours=grown[0], codes=grown[1])

    def counts(self, decay: float) -> WindowedCounts:
        """The baseline that reads these entries, with ``decay ** age`` as weights."""
        rows = np.repeat(np.arange(len(self.neighbours)), self.neighbours.shape[1])
        shares, shape = self.levels[self.codes.ravel()], (len(self.neighbours),) * 2
        entries = sparse.csr_matrix((shares, (rows, self.neighbours.ravel())), shape=shape)
        return WindowedCounts(entries, len(self.weights), decay)

    def links(self, history: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """For each of the R newest events of ``history``, int32 [B, T] left-padded with 0, oldest first: its neighbours
        int32 [B, R, k], and their weighted shares float32 [B, R, k].
        """
        events = _newest(history, len(self.weights))
        neighbours, codes = self._entries(events)
        return neighbours, tf.gather(tf.constant(self.levels), codes) * self.weights[::-1, None].astype(np.float32)

    def _entries(self, events: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Neighbours and codes int32 [B, R, k] of ``events`` int32 [B, R]."""
        # Cast what was looked up: a constant that is cast would be stored as wide as the result.
        if self._packed:
            # Codes of 8 to 15 make the word negative, and division by 4,096 rounds down.
            words = (self.neighbours + (PACKED_ROWS + 1) * self.codes.astype(np.int32)).astype(np.uint16)
            found = tf.cast(tf.gather(tf.constant(words.view(np.int16)), events), tf.int32)
            high = tf.math.floordiv(found, PACKED_ROWS + 1)
            return found - high * (PACKED_ROWS + 1), tf.where(high < 0, high + PACKED_LEVELS, high)
        neighbours = tf.gather(tf.constant(self.neighbours.astype(self._narrow)), events)
        return tf.cast(neighbours, tf.int32), tf.cast(tf.gather(tf.constant(self.codes), events), tf.int32)

    def scores(self, history: tf.Tensor) -> tf.Tensor:
        """Scores float32 [B, N + 1] after ``history``, int32 [B, T], left-padded with 0."""
        neighbours, shares = self.links(history)
        size = len(self.weights) * self.neighbours.shape[1]
        items, values = tf.reshape(neighbours, [-1, size]), tf.reshape(shares, [-1, size])
        if len(self.repeats):
            own = _newest(history, len(self.repeats))
            items = tf.concat([items, own], 1)
            values = tf.concat([values, tf.cast(own > 0, tf.float32) * self.repeats[::-1]], 1)
        return self.strength * tf.math.log(1.0 + _scattered(items, values, len(self.neighbours)))


def fit_transitions(dataset: Dataset, neighbours: int, recent: int) -> Transitions:
    """The largest windowed counts of the training histories; how to weigh them is for ``edgerec.training.fusion``.

    Args:
        neighbours: k, but at most N. Of equal shares the more popular (lower) rows are kept.
        recent: R.
    """
    neighbours = min(neighbours, dataset.items)
    largest = WindowedCounts.fit(dataset, neighbours=neighbours).transitions
    lengths = np.diff(largest.indptr)
    rows = np.repeat(np.arange(dataset.items + 1), lengths)
    order = np.lexsort((-largest.data, rows))
    places = np.arange(largest.nnz) - np.repeat(largest.indptr[:-1], lengths)
    table = np.zeros((dataset.items + 1, neighbours), np.int32)
    table[rows, places] = largest.indices[order]
    shares = largest.data[order].astype(np.float32)
    count = PACKED_LEVELS if dataset.items <= PACKED_ROWS else LEVELS
    levels = _levels(shares, dataset.popularity[rows] * shares, count)
    codes = np.zeros((dataset.items + 1, neighbours), np.uint8)
    # The nearest level, but never the first, which stands for no entry.
    codes[rows, places] = 1 + np.searchsorted((levels[1:-1] + levels[2:]) / 2, shares)
    return Transitions(table, codes, levels, np.ones(recent, np.float32), np.zeros(0, np.float32), 0.0)


def _levels(shares: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """``count`` values float32, 0 and the means of equal parts of the weight of all ``shares``, by size."""
    order = np.argsort(shares, kind="stable")
    sums = np.cumsum(np.concatenate([[0.0], weights[order]]))
    products = np.cumsum(np.concatenate([[0.0], (weights * shares)[order]]))
    ends = np.searchsorted(sums, sums[-1] * np.arange(1, count) / (count - 1))
    ends[-1] = len(shares)
    starts = np.concatenate([[0], ends[:-1]])
    filled = ends > starts
    means = (products[ends] - products[starts])[filled] / np.maximum((sums[ends] - sums[starts])[filled], 1e-30)
    levels = np.concatenate([[0.0], means, np.full(np.count_nonzero(~filled), means.max(initial=0))])
    return levels.astype(np.float32)


def _newest(history: tf.Tensor, count: int) -> tf.Tensor:
    """The last ``count`` columns of int32 [B, T], with zeros before them where T is smaller."""
    if history.shape[1] is None or history.shape[1] < count:
        history = tf.pad(history, [[0, 0], [count, 0]])
    return tf.reshape(history[:, -count:], [history.shape[0] or -1, count])


def _scattered(items: tf.Tensor, values: tf.Tensor, rows: int) -> tf.Tensor:
    """``values`` float32 [B, M] summed by ``items`` int32 [B, M]: float32 [B, rows]."""
    if items.shape[0] == 1:
        sums = tf.scatter_nd(tf.reshape(items, [-1, 1]), tf.reshape(values, [-1]), [rows])
        return tf.expand_dims(sums, 0)
    lines = tf.shape(items)[0]
    places = tf.reshape(items + rows * tf.expand_dims(tf.range(lines), 1), [-1])
    return tf.reshape(tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), places, lines * rows), [-1, rows])
