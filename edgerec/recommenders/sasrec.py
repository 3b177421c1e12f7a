"""Self-attentive sequential recommendation (Kang & McAuley, ICDM 2018), pre-norm, learned positions."""

import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.layers import CausalAttention, LastPosition, Positions
from edgerec.recommenders.stack import Stack


class AttentionMixer:
    """Causal self-attention; for the newest event it is the only query."""

    def __init__(self, shape: Architecture, number: int) -> None:
        names = ("query", "key", "value")
        block = shape.blocks[number]
        self._query, self._key, self._value = (
            keras.layers.Dense(block.mixer, name=f"{name}_{number}") for name in names
        )
        self._out = keras.layers.Dense(shape.dim, name=f"mixed_{number}")
        self._attention = CausalAttention(shape.max_history, block.heads, name=f"attention_{number}")
        self._last = LastPosition(name=f"query_{number}_newest")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._attend(vectors, vectors, ids)

    serving = sequence

    def newest(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._attend(self._last(vectors), vectors, ids)

    def _attend(self, queries: tf.Tensor, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._out(self._attention([self._query(queries), self._key(vectors), self._value(vectors), ids]))


class SasrecEncoder(Stack):
    """Attention blocks over item vectors with positions."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape, AttentionMixer)
        self._positions = Positions(shape.max_history, shape.dim)

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return super().sequence(self._positions([vectors, ids]), ids)

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return super().last(self._positions([vectors, ids]), ids)
