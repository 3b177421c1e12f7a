"""Linear recurrent units: diagonal, complex, the same at every step (Orvieto et al., ICML 2023; for recommendation
LRURec, Yue et al., WSDM 2024). Trained like attention, served at a constant cost per new event.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.layers import real_events
from edgerec.recommenders.scans import linear_newest, linear_scan, linear_scan_unrolled, linear_step

# Magnitudes of the decays are drawn from this ring (LRURec).
RING = 0.8, 0.99


class LinearRecurrence(keras.layers.Layer):  # type: ignore[misc]
    """States of a linear recurrence: projected input [B, T, 2 C], ids [B, T] -> [B, T, 2 C]; C complex channels, real
    parts first. Its three weights of [C] are not pruned.
    """

    def __init__(self, channels: int, length: int, name: str) -> None:
        super().__init__(name=name)
        self.length = length

        def magnitude(shape: tuple[int, ...], dtype: object = None) -> tf.Tensor:
            squared = tf.random.uniform(shape, RING[0] ** 2, RING[1] ** 2)
            return tf.math.log(-0.5 * tf.math.log(squared))

        def angle(shape: tuple[int, ...], dtype: object = None) -> tf.Tensor:
            return tf.math.log(tf.random.uniform(shape, 1e-4, 2 * np.pi))

        self.log_magnitude = self.add_weight(name="log_magnitude", shape=(channels,), initializer=magnitude)
        self.log_angle = self.add_weight(name="log_angle", shape=(channels,), initializer=angle)
        # Inputs are scaled so that, at first, states have the variance of their inputs.
        norm = np.log(np.sqrt(1 - np.exp(-np.exp(self.log_magnitude.numpy())) ** 2))
        self.log_gain = self.add_weight(
            name="log_gain", shape=(channels,), initializer=keras.initializers.Constant(norm)
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], mode: str = "training") -> tf.Tensor:
        projected, ids = inputs
        projected = projected * self._gain() * real_events(ids)
        if mode == "newest":
            return tf.expand_dims(linear_newest(projected, self.decay(), self.length), 1)
        if mode == "serving":
            return linear_scan_unrolled(projected, self.decay(), self.length)
        return linear_scan(projected, self.decay())

    def step(self, projected: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The next state, from [B, 2 C] and [B, 2 C]."""
        return linear_step(projected * self._gain(), state, self.decay())

    def decay(self) -> tf.Tensor:
        """[2 C]: what a state is multiplied with at each step."""
        magnitude, angle = tf.exp(-tf.exp(self.log_magnitude)), tf.exp(self.log_angle)
        return tf.concat([magnitude * tf.cos(angle), magnitude * tf.sin(angle)], 0)

    def _gain(self) -> tf.Tensor:
        return tf.tile(tf.exp(self.log_gain), [2])


class LruMixer:
    """Projection to complex channels, recurrence, projection back of real and imaginary parts."""

    def __init__(self, shape: Architecture, number: int) -> None:
        channels = shape.blocks[number].mixer
        self.state_size = 2 * channels
        self._in = keras.layers.Dense(2 * channels, name=f"channels_{number}")
        self._recurrence = LinearRecurrence(channels, shape.max_history, name=f"recurrence_{number}")
        self._out = keras.layers.Dense(shape.dim, name=f"mixed_{number}")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._out(self._recurrence([self._in(vectors), ids]))

    def serving(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._out(self._recurrence([self._in(vectors), ids], mode="serving"))

    def newest(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._out(self._recurrence([self._in(vectors), ids], mode="newest"))

    def advance(self, vector: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        state = self._recurrence.step(self._in(vector), state)
        return self._out(state), state
