"""Causal dilated convolutions over the history (NextItNet, Yuan et al., WSDM 2019)."""

import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.layers import real_events

WIDTH = 3


class CausalWindow(keras.layers.Layer):  # type: ignore[misc]
    """Each event joined with ``WIDTH - 1`` earlier ones, ``dilation`` apart: [B, T, d], [B, T] -> [B, T, WIDTH d].

    Zeros stand for what is before the first event. Followed by a dense layer this is a dilated convolution, whose
    kernel prunes and quantizes like that of any dense layer.
    """

    def __init__(self, dilation: int, name: str) -> None:
        super().__init__(name=name)
        self.dilation = dilation

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        vectors = vectors * real_events(ids)
        length = tf.shape(ids)[1]
        shifts = range(0, WIDTH * self.dilation, self.dilation)
        return tf.concat([tf.pad(vectors, [[0, 0], [shift, 0], [0, 0]])[:, :length] for shift in shifts], -1)


class CnnMixer:
    """A convolution of width 3, with dilation 1, 3, 9, ... from block to block, so that n blocks see 3^n events."""

    def __init__(self, shape: Architecture, number: int) -> None:
        self._window = CausalWindow(shape.blocks[number].dilation or WIDTH**number, name=f"window_{number}")
        self._convolution = keras.layers.Dense(shape.dim, name=f"convolution_{number}")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._convolution(self._window([vectors, ids]))

    serving = sequence

    def newest(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._convolution(self._window([vectors, ids])[:, -1, None])
