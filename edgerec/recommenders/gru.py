"""Gated recurrent units (Cho et al. 2014; for sessions of items GRU4Rec, Hidasi et al. 2016)."""

import tensorflow as tf
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.layers import real_events
from edgerec.recommenders.scans import gru_newest, gru_scan, gru_step
from edgerec.recommenders.stack import RecurrentStack

# Added to the update gate of padding: the gate is exactly 1 there, and the state stays as it is.
CLOSED = 1e4


class GatedRecurrence(keras.layers.Layer, PrunableLayer):  # type: ignore[misc]
    """States of a gated recurrent unit: projected input [B, T, 3 H], ids [B, T] -> [B, T, H]."""

    def __init__(self, units: int, name: str) -> None:
        super().__init__(name=name)
        self.units = units
        self.kernel = self.add_weight(
            name="recurrent_kernel", shape=(units, 3 * units), initializer=keras.initializers.Orthogonal()
        )
        self.bias = self.add_weight(name="recurrent_bias", shape=(units,), initializer="zeros")

    def get_prunable_weights(self) -> list[tf.Variable]:
        return [self.kernel]

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], newest: bool = False) -> tf.Tensor:
        projected, ids = inputs
        real = real_events(ids)
        update = projected[..., : self.units] + (1 - real) * CLOSED
        projected = tf.concat([update, projected[..., self.units :]], -1)
        if newest:
            start = tf.shape(ids)[1] - tf.cast(tf.reduce_max(tf.reduce_sum(real, 1)), tf.int32)
            return tf.expand_dims(gru_newest(projected, self.kernel, self.bias, start), 1)
        return gru_scan(projected, self.kernel, self.bias)

    def step(self, projected: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The next state [B, H], from [B, 3 H] and [B, H]."""
        return gru_step(projected, state, self.kernel, self.bias)


class GruMixer:
    """Input projection, recurrence, output projection."""

    def __init__(self, shape: Architecture, number: int) -> None:
        self.state_size = shape.blocks[number].mixer
        self._gates = keras.layers.Dense(3 * self.state_size, name=f"gates_{number}")
        self._recurrence = GatedRecurrence(self.state_size, name=f"recurrence_{number}")
        self._out = keras.layers.Dense(shape.dim, name=f"mixed_{number}")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._out(self._recurrence([self._gates(vectors), ids]))

    serving = sequence

    def newest(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._out(self._recurrence([self._gates(vectors), ids], newest=True))

    def advance(self, vector: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        state = self._recurrence.step(self._gates(vector), state)
        return self._out(state), state


class GruEncoder(RecurrentStack):
    """A stack of gated recurrent units. Several blocks are served step by step: to pass the states of an inner block
    after each event to the next block would need tensor lists, which are slow on the runtimes.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape, GruMixer)
        self._stepping = Stepping(self, name="stepping") if len(shape.blocks) > 1 else None

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._stepping([vectors, ids]) if self._stepping else super().last(vectors, ids)


class Stepping(keras.layers.Layer):  # type: ignore[misc]
    """The hidden state after the newest event by ``stack.advance``: vectors [B, T, d], ids [B, T] -> [B, d]."""

    def __init__(self, stack: RecurrentStack, name: str) -> None:
        super().__init__(name=name)
        self._stack = stack

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        real, by_time = tf.transpose(ids > 0), tf.transpose(vectors, [1, 0, 2])

        def step(t: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            after = self._stack.advance(tf.gather(by_time, t), state)
            return t + 1, tf.where(tf.expand_dims(tf.gather(real, t), 1), after, state)

        start = tf.shape(ids)[1] - tf.reduce_max(tf.reduce_sum(tf.cast(ids > 0, tf.int32), 1))
        zero = tf.tile(tf.zeros_like(vectors[:, 0, :1]), [1, self._stack.state_size])
        state = tf.while_loop(lambda t, _: t < tf.shape(by_time)[0], step, [start, zero])[1]
        return self._stack.hidden(state)
