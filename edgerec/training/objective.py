"""What a fit minimises, and what it is validated by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.data.dataset import Dataset
from edgerec.data.user_feature_rows import encode_users
from edgerec.evaluation.ranking import evaluate
from edgerec.recipe import Train
from edgerec.recommenders import SequenceRecommender
from edgerec.training.batches import Batch, EpochBatches, training_batches
from edgerec.training.cluster import Workers
from edgerec.training.losses import Loss, cross_entropy, multiplies_bfloat16, sampled_softmax

# Largest catalogue for which the full cross-entropy is the faster way to a given accuracy on CPU.
FULL_SOFTMAX_ITEMS = 20_000


@dataclass(frozen=True)
class Figure:
    """What a fit is validated by.

    Attributes:
        name: in logs and curves.
        title: for people.
    """

    name: str
    title: str
    higher_is_better: bool = True

    def better(self, one: float, other: float) -> bool:
        """Whether ``one`` is better than ``other``."""
        return one > other if self.higher_is_better else one < other


NDCG = Figure("ndcg@10", "NDCG@10")


class Objective(Protocol):
    """What the loop (``edgerec.training.loop``) fits.

    Attributes:
        name: of the loss, for reports.
        figure: what ``validate`` measures.
        network: its trainable variables are fitted. It may have parts of its own, such as masks.
    """

    name: str
    figure: Figure
    network: keras.Model

    @property
    def weights(self) -> Sequence[tf.Variable]:
        """The weights of the model that is kept."""

    @property
    def signature(self) -> Sequence[tf.TensorSpec]:
        """Of the tensors of a step."""

    def batches(self, epoch: int) -> Sequence[Any]:
        """All batches of an epoch, counted from 1. Their number may vary by a few from epoch to epoch."""

    def tensors(self, batch: Any) -> tuple[tf.Tensor, ...]:
        """The share of a batch that is for this worker, as ``signature`` says."""

    def loss(self, *tensors: tf.Tensor) -> tf.Tensor:
        """The loss of a share, so scaled that the shares of all workers sum to the batch's. Traced into a graph."""

    def validate(self) -> float:
        """The figure on the validation part; of several workers, this one's share of the mean."""


class NextItem:
    """The next event of every training history: cross-entropy over the catalogue, or over a sample of it.

    Args:
        recommender: the model; ``network`` may stand in for its own, over the same layers.
        workers: who share each batch; default: this process alone.
    """

    figure = NDCG

    def __init__(
        self,
        recommender: SequenceRecommender,
        dataset: Dataset,
        train: Train,
        network: keras.Model | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.recommender, self.dataset = recommender, dataset
        self.network = network or recommender.network
        self.weights = recommender.network.weights
        self.workers = workers or Workers.alone()
        self.signature = [*[tf.TensorSpec([None, None], tf.int32)] * 2, tf.TensorSpec([], tf.float32)]
        self.name, self._loss = _choose_loss(train, dataset.items)
        self._batch, self._seed = train.batch, train.seed
        self._histories = dataset.training_histories()
        features = recommender.user_features
        self._users = encode_users(features, dataset.user_table) if features else None
        targets = dataset.targets("validation")
        self._targets = len(targets)
        self._share = targets.subset(self.workers.share(np.arange(len(targets))))
        self._inputs = recommender.inputs_of(self._share, dataset)

    def batches(self, epoch: int) -> EpochBatches:
        length = self.recommender.architecture.max_history
        return training_batches(self._histories, length, self._batch, self._seed, epoch, self._users)

    def tensors(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        return share_of(batch, self.workers)

    def loss(self, *tensors: tf.Tensor) -> tf.Tensor:
        inputs, targets, scale = tensors
        real = targets > 0  # the catalogue is scored at real positions only: about half of the slots
        hidden = tf.boolean_mask(self.network(inputs, training=True), real)
        return scale * self._loss(hidden, self.recommender.item_vectors(), tf.boolean_mask(targets, real))

    def validate(self) -> float:
        ranked = evaluate(self.recommender.score, self._share, self.dataset, inputs=self._inputs)
        return float(ranked.ndcg(10).sum() / self._targets)


def share_of(batch: Batch, workers: Workers) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A worker's share of a batch: inputs and targets int32 [b, T], and one over the number of real targets in the
    whole batch, float32.

    A worker without a line takes the first one with weight 0, because every worker must take part in every step.
    """
    inputs, targets = workers.share(batch.inputs), workers.share(batch.targets)
    scale = 1 / np.count_nonzero(batch.targets)
    if not len(inputs):
        inputs, targets, scale = batch.inputs[:1], batch.targets[:1], 0.0
    return tf.constant(inputs), tf.constant(targets), tf.constant(scale, tf.float32)


def _choose_loss(train: Train, items: int) -> tuple[str, Loss]:
    name = loss_name(train, items)
    if name == "sampled-softmax":
        return name, sampled_softmax(train.negatives, items)
    return name, cross_entropy(precision_of(train))


def loss_name(train: Train, items: int) -> str:
    """Which of the losses ``[train]`` asks for."""
    if train.loss != "auto":
        return train.loss
    return "cross-entropy" if items <= FULL_SOFTMAX_ITEMS else "sampled-softmax"


def precision_of(train: Train) -> str:
    """Of the item scores in cross-entropy."""
    if train.precision != "auto":
        return train.precision
    return "bfloat16" if multiplies_bfloat16() else "float32"
