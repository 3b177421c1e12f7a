"""DeepFM (Guo et al., IJCAI 2017): a factorization machine and dense layers that share their vectors.

With the vector of the history among the fields, the factorization machine holds the inner product of user and item, so
it is asymmetric SVD with features.
"""

import tensorflow as tf

from edgerec.rankers.architecture import RankerArchitecture
from edgerec.rankers.dense import dense_stack, one_score
from edgerec.rankers.fields import Fields
from edgerec.rankers.layers import Joined, Pairs, Total
from edgerec.recommenders.layers import Dropout


def deepfm(fields: Fields, shape: RankerArchitecture) -> tf.Tensor:
    """Scores [C, 1] before the link."""
    vectors = [Dropout(shape.dropout, name=f"dropout_field_{n}")(vector) for n, vector in enumerate(fields.vectors)]
    parts = [Pairs(name="pairs")(vectors), *fields.weights]
    if fields.numbers:
        parts.append(one_score(Joined(name="numbers")(fields.numbers), "linear", "zeros"))
    if shape.hidden:
        parts.append(one_score(dense_stack(Joined()([*vectors, *fields.numbers]), shape)))
    return Total(name="total")(parts)
