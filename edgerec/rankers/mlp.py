"""Dense layers over all vectors and numbers side by side: the classic network, by default 32, 16 and 1 units."""

import tensorflow as tf

from edgerec.rankers.architecture import RankerArchitecture
from edgerec.rankers.dense import dense_stack, one_score
from edgerec.rankers.fields import Fields
from edgerec.rankers.layers import Joined


def mlp(fields: Fields, shape: RankerArchitecture) -> tf.Tensor:
    """Scores [C, 1] before the link."""
    return one_score(dense_stack(Joined()([*fields.vectors, *fields.numbers]), shape))
