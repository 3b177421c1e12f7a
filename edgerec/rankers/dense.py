"""The dense layers that all rankers have."""

import tensorflow as tf
import tf_keras as keras

from edgerec.rankers.architecture import RankerArchitecture
from edgerec.recommenders.layers import Dropout


def dense_stack(joined: tf.Tensor, shape: RankerArchitecture) -> tf.Tensor:
    """[C, w] -> [C, last width]: the layers ``dense_0``, ``dense_1`` …, each with ReLU and dropout."""
    for number, width in enumerate(shape.hidden):
        joined = keras.layers.Dense(width, activation="relu", name=f"dense_{number}")(joined)
        joined = Dropout(shape.dropout, name=f"dropout_{number}")(joined)
    return joined


def one_score(joined: tf.Tensor, name: str = "score", start: str = "glorot_uniform") -> tf.Tensor:
    """[C, w] -> [C, 1], the last dense layer; ``start`` is its initializer."""
    return keras.layers.Dense(1, kernel_initializer=start, name=name)(joined)
