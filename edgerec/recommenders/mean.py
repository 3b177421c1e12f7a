"""Bag of items: the mean of the history's item vectors, through a small residual network (the simplest encoder)."""

import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.layers import CausalMean, Dropout, MaskedMean


class MeanEncoder:
    """Smallest and fastest of the encoders; blind to the order of events."""

    def __init__(self, shape: Architecture) -> None:
        self._dropout = Dropout(shape.dropout)
        self._blocks = [
            (
                keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i}"),
                keras.layers.Dense(block.feed_forward, "relu", name=f"widen_{i}"),
                keras.layers.Dense(shape.dim, name=f"narrow_{i}"),
            )
            for i, block in enumerate(shape.blocks)
        ]
        self._norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_out")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One hidden state after each event: [B, T, d], [B, T] -> [B, T, d]."""
        return self._network(CausalMean(name="causal_mean")([self._dropout(vectors), ids]))

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The hidden state after the newest event only: [B, T, d], [B, T] -> [B, d]."""
        return tf.squeeze(self._network(MaskedMean(name="masked_mean")([vectors, ids])), 1)

    def _network(self, hidden: tf.Tensor) -> tf.Tensor:
        for number, (norm, widen, narrow) in enumerate(self._blocks):
            # Named, as numbers that Keras counts up would give other bytes of the file in every process.
            hidden = keras.layers.add([hidden, self._dropout(narrow(widen(norm(hidden))))], name=f"join_{number}")
        return self._norm(hidden)
