"""Knowledge distillation (Hinton et al. 2015): what a teacher predicts after each training event, and the objective
that learns from it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.data.dataset import Dataset
from edgerec.data.user_feature_rows import encode_users
from edgerec.errors import DataError
from edgerec.recipe import Distill, Train
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.ensemble import Ensemble, members_of
from edgerec.recommenders.recommender import left_pad
from edgerec.training.batches import Batch
from edgerec.training.cluster import Workers
from edgerec.training.losses import SoftLoss, soft_cross_entropy, soft_sampled_softmax
from edgerec.training.objective import NextItem, loss_name, precision_of, share_of

FILE = "soft-targets.npz"
# Windows of the teacher overlap by this share, so that every position is predicted after some context.
OVERLAP = 0.5
# Windows that are scored at a time, and scores: positions times items.
WINDOWS, SCORES = 32, 8_000_000


@dataclass(frozen=True)
class SoftTargets:
    """The teacher's likeliest items for each training event, and their shares.

    Attributes:
        items: int32 or uint16 [P + 1, k] by the event's position (:attr:`edgerec.training.batches.Batch.positions`);
            0 in the first row, and for each user's first event, which no history leads to.
        shares: float16 [P + 1, k], which sum to about 1, or all 0 where there is no prediction.
    """

    items: np.ndarray
    shares: np.ndarray

    def save(self, folder: Path) -> None:
        """Write ``soft-targets.npz``."""
        np.savez(folder / FILE, items=self.items, shares=self.shares)

    @classmethod
    def load(cls, folder: Path) -> "SoftTargets":
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is damaged.
        """
        try:
            with np.load(folder / FILE) as saved:
                return cls(saved["items"], saved["shares"])
        except Exception as error:  # numpy raises many kinds for a file that is not what it wrote
            raise DataError(f"{folder / FILE}: damaged ({error}); delete its folder and run again") from None


def soft_targets(
    teacher: SequenceRecommender | Ensemble,
    dataset: Dataset,
    distill: Distill,
    advance: Callable[[int], None] = lambda windows: None,
) -> SoftTargets:
    """What ``teacher`` predicts for every training event from those before it.

    Histories longer than a member reads are cut into overlapping windows: every event is predicted from at least half
    a window, or from all events before it.

    Args:
        advance: is told how many users were predicted, after each batch.
    """
    histories = dataset.training_histories()
    kept = min(distill.candidates, dataset.items)
    items = np.zeros((sum(map(len, histories)) + 1, kept), np.uint16 if dataset.items < 2**16 else np.int32)
    shares = np.zeros(items.shape, np.float16)
    steps = [_Predicting(member, dataset) for member in members_of(teacher)]
    chosen = tf.function(_chosen(distill.temperature, kept), reduce_retracing=True)
    first = np.cumsum([1, *map(len, histories)])
    lines = max(1, SCORES // (dataset.items + 1))
    for start in range(0, len(histories), WINDOWS):
        users = range(start, min(start + WINDOWS, len(histories)))
        hidden = [step.hidden(users, histories) for step in steps]
        recents = [step.recents(users, histories) for step in steps]
        positions = np.concatenate([first[user] + np.arange(1, len(histories[user])) for user in users])
        for begin in range(0, len(positions), lines):
            chunk = slice(begin, begin + lines)
            scores = tf.add_n([tf.nn.log_softmax(step.scores(h[chunk], r[chunk])[:, 1:])
                               for step, h, r in zip(steps, hidden, recents, strict=True)]) / len(steps)  # fmt: skip
            best, share = chosen(scores)
            items[positions[chunk]], shares[positions[chunk]] = best.numpy(), share.numpy()
        advance(len(users))
    return SoftTargets(items, shares)


def _chosen(temperature: float, kept: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    def chosen(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        top = tf.math.top_k(scores, kept)
        return top.indices + 1, tf.nn.softmax(top.values / temperature)

    return chosen


class _Predicting:
    """One member of the teacher, which predicts all positions of a history in one pass."""

    def __init__(self, member: SequenceRecommender, dataset: Dataset) -> None:
        self._member = member
        self._hidden = tf.function(
            lambda ids: member.network(ids, training=False), input_signature=[tf.TensorSpec([None, None], tf.int32)]
        )
        self.scores = tf.function(
            lambda hidden, recent: member.scores_of(hidden, recent, recent),
            input_signature=[
                tf.TensorSpec([None, member.architecture.dim], tf.float32),
                tf.TensorSpec([None, max(1, member.parts.recent)], tf.int32),
            ],
        )
        features = member.user_features
        self._users = encode_users(features, dataset.user_table) if features else None

    def hidden(self, users: Sequence[int], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Hidden states before every event but the first of each user, float32 [P, d]."""
        length = self._member.architecture.max_history
        windows, cuts = [], []
        for user in users:
            before = np.zeros(0, np.int32) if self._users is None else self._users[user]
            for begin, end, new in _windows(len(histories[user]) - 1, length - len(before)):
                windows.append(np.concatenate([before, histories[user][begin:end]]))
                cuts.append(new)
        if not windows:
            return np.zeros((0, self._member.architecture.dim), np.float32)
        padded = left_pad(windows, length)
        states = np.concatenate(
            [self._hidden(tf.constant(padded[at : at + WINDOWS])).numpy() for at in range(0, len(padded), WINDOWS)]
        )
        return np.concatenate([line[len(line) - new :] for line, new in zip(states, cuts, strict=True)])

    def recents(self, users: Sequence[int], histories: Sequence[np.ndarray]) -> np.ndarray:
        """The newest events before every event but the first of each user, int32 [P, R]."""
        width = max(1, self._member.parts.recent)
        lines = [np.zeros((0, width), np.int32)]
        for user in users:
            if len(histories[user]) > 1:
                padded = np.pad(histories[user][:-1], (width - 1, 0))
                lines.append(np.lib.stride_tricks.sliding_window_view(padded, width))
        return np.concatenate(lines)


def _windows(events: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Begin and end of windows of at most ``length`` events, and how many of the last of them are new."""
    begin, end = 0, 0
    while end < events:
        before, end = end, min(events, begin + length)
        yield begin, end, end - before
        begin = end - round(OVERLAP * length)


class Distillation(NextItem):
    """The next event of every training history, mixed with what a teacher predicts there."""

    def __init__(
        self,
        recommender: SequenceRecommender,
        dataset: Dataset,
        train: Train,
        taught: SoftTargets,
        weight: float,
        network: keras.Model | None = None,
        workers: Workers | None = None,
    ) -> None:
        super().__init__(recommender, dataset, train, network, workers)
        self.name = f"distilled {self.name}"
        self._taught, self._weight = taught, weight
        candidates = tf.TensorSpec([None, None], tf.int32)
        self.signature = [*self.signature, candidates, tf.TensorSpec([None, None], tf.float32)]
        self._soft_loss: SoftLoss
        if loss_name(train, dataset.items) == "sampled-softmax":
            self._soft_loss = soft_sampled_softmax(train.negatives, dataset.items)
        else:
            self._soft_loss = soft_cross_entropy(precision_of(train))

    def tensors(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        inputs, targets, scale = share_of(batch, self.workers)
        positions = self.workers.share(batch.positions) if len(inputs) else batch.positions[:1]
        positions = positions[positions > 0]
        shares = self._taught.shares[positions].astype(np.float32)
        return inputs, targets, scale, tf.constant(self._taught.items[positions].astype(np.int32)), tf.constant(shares)

    def loss(self, *tensors: tf.Tensor) -> tf.Tensor:
        inputs, targets, scale, items, shares = tensors
        real = targets > 0
        hidden = tf.boolean_mask(self.network(inputs, training=True), real)
        own = tf.expand_dims(tf.boolean_mask(targets, real), 1)
        taught = self._weight * shares
        rest = 1 - tf.reduce_sum(taught, 1, keepdims=True)
        return scale * self._soft_loss(
            hidden, self.recommender.item_vectors(), tf.concat([own, items], 1), tf.concat([rest, taught], 1)
        )
