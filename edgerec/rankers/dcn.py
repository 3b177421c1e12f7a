"""DCN v2 (Wang et al., WWW 2021): a cross network, whose layers multiply features with each other, beside dense
layers.
"""

import tensorflow as tf
import tf_keras as keras

from edgerec.rankers.architecture import RankerArchitecture
from edgerec.rankers.dense import dense_stack, one_score
from edgerec.rankers.fields import Fields
from edgerec.rankers.layers import CrossLayer, Joined, Total


def dcn(fields: Fields, shape: RankerArchitecture) -> tf.Tensor:
    """Scores [C, 1] before the link."""
    first = last = Joined()([*fields.vectors, *fields.numbers])
    for number in range(shape.cross_layers):
        mapped = keras.layers.Dense(first.shape[-1], name=f"cross_{number}")(last)
        last = CrossLayer(name=f"crossed_{number}")([first, mapped, last])
    parts = [one_score(last, "score_crossed")]
    if shape.hidden:
        parts.append(one_score(dense_stack(first, shape)))
    return Total(name="total")(parts)
