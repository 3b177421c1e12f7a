"""Layers that turn the inputs of a ranking model into vectors.

U is the number of requests and C = U × G that of candidates, G for each request, one request after the other: in
serving U is 1, in training G is 1 or a row and its negatives.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders.layers import MASKED, dense_lookup

# Standardised numbers are cut here: a single extreme one would rule the score.
OUTLIER = 10.0
# Added to a user's number of values before their mean is taken, which draws it to zero where there are few.
SHRINKAGE = 5.0
SMALL = 0.05


def normal(deviation: float) -> keras.initializers.Initializer:
    """Random numbers around zero; an initializer of its own for each weight, as one gives the same numbers again."""
    return keras.initializers.RandomNormal(stddev=deviation)


def centred(values: tf.Tensor, mean: float) -> tuple[tf.Tensor, float, float]:
    """Values less a number near ``mean`` that float16 holds exactly, which files with such constants need: the year
    1989 would lose a whole year there.

    Returns:
        (value × scale - centre), the scale and the centre, where scale is a power of two.
    """
    scale = float(2.0 ** -max(0, int(np.ceil(np.log2(max(abs(mean), 1.0) / 1024)))))
    centre = float(np.float16(mean * scale))
    return (values if scale == 1.0 else values * scale) - centre, scale, centre


def standardise(values: tf.Tensor, mean: float, std: float) -> tf.Tensor:
    """(value - mean) / std, cut at ±``OUTLIER``; 0 where the value is missing (NaN)."""
    shifted, scale, centre = centred(values, mean)
    scaled = tf.clip_by_value((shifted - (mean * scale - centre)) / (std * scale), -OUTLIER, OUTLIER)
    return tf.where(tf.equal(values, values), scaled, tf.zeros_like(scaled))


def per_candidate(of_requests: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """[U, k] -> [C, k]: each request's line for each of its candidates; ``like`` [C, …] tells how many there are."""
    width = of_requests.shape[1]
    if of_requests.shape[0] is not None and of_requests.shape[0] == like.shape[0]:
        return of_requests
    if of_requests.shape[0] == 1 and like.shape[0] is not None:
        return tf.tile(of_requests, [like.shape[0], 1])
    each = tf.shape(like)[0] // tf.shape(of_requests)[0]
    return tf.reshape(tf.tile(tf.expand_dims(of_requests, 1), [1, each, 1]), [-1, width])


class PerCandidate(keras.layers.Layer):  # type: ignore[misc]
    """See :func:`per_candidate`: ([U, k], [C, …]) -> [C, k]."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return per_candidate(*inputs)


class Lookup(keras.layers.Layer):  # type: ignore[misc]
    """A vector for each code: int32 [X] -> [X, k], or the mean over those of a row, [X, M] -> [X, k].

    Code 0, missing or unseen, gives zeros.

    Args:
        rows: how many codes there are, counting 0.
        linear: whether the table has one more column, which starts at zero: the weight of each code.
    """

    def __init__(self, rows: int, dim: int, linear: bool, name: str) -> None:
        super().__init__(name=name)
        self.dim, self.linear = dim, linear
        self.table = self.add_weight(name="table", shape=(rows, dim + linear), initializer=normal(SMALL))
        if linear:
            start = self.table.numpy()
            start[:, dim:] = 0
            self.table.assign(start)

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        several = len(codes.shape) == 2
        codes = codes if several else tf.expand_dims(codes, 1)
        known = tf.expand_dims(tf.cast(codes > 0, tf.float32), 2)
        vectors = dense_lookup(self.table, codes) * known
        if not several:
            vectors = tf.squeeze(vectors, 1)
        else:
            vectors = tf.reduce_sum(vectors, 1) / tf.maximum(tf.reduce_sum(known, 1), 1.0)
        self.add_loss(tf.reduce_mean(tf.reduce_sum(vectors**2, 1)))
        return vectors


class NumberVector(keras.layers.Layer):  # type: ignore[misc]
    """A standardised number times a learned vector: float32 [X] -> [X, k]; zeros where it is missing."""

    def __init__(self, mean: float, std: float, dim: int, linear: bool, name: str) -> None:
        super().__init__(name=name)
        self.mean, self.std = mean, std
        self.vector = self.add_weight(name="vector", shape=(1, dim + linear), initializer=normal(SMALL))

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.expand_dims(standardise(values, self.mean, self.std), 1) * self.vector


class Standardised(keras.layers.Layer):  # type: ignore[misc]
    """A standardised number as it is: float32 [X] -> [X, 1], or [X, 2] with 1 where it is missing."""

    def __init__(self, mean: float, std: float, with_missing: bool, name: str) -> None:
        super().__init__(name=name)
        self.mean, self.std, self.with_missing = mean, std, with_missing

    def call(self, values: tf.Tensor) -> tf.Tensor:
        columns = [standardise(values, self.mean, self.std)]
        if self.with_missing:
            columns.append(tf.cast(tf.not_equal(values, values), tf.float32))
        return tf.stack(columns, 1)


class Ranges(keras.layers.Layer):  # type: ignore[misc]
    """The range of a number as a code: float32 [X] -> int32 [X], from 1 on; 0 where it is missing."""

    def __init__(self, edges: tuple[float, ...], mean: float, name: str) -> None:
        super().__init__(name=name)
        self.edges, self.mean = edges, mean

    def call(self, values: tf.Tensor) -> tf.Tensor:
        shifted, scale, centre = centred(values, self.mean)
        edges = tf.constant([[edge * scale - centre for edge in self.edges]], tf.float32)
        above = tf.cast(tf.expand_dims(shifted, 1) >= edges, tf.int32)
        return tf.where(tf.equal(values, values), 1 + tf.reduce_sum(above, 1), 0)


class Cross(keras.layers.Layer):  # type: ignore[misc]
    """The code of each pair of values of two features: int32 [C] and [C] or [C, M] -> the shape of the wider one. 0
    where one of them is 0.
    """

    def __init__(self, second_codes: int, name: str) -> None:
        super().__init__(name=name)
        self.second_codes = second_codes

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        first, second = inputs
        if len(first.shape) < len(second.shape):
            first = tf.expand_dims(first, 1)
        elif len(second.shape) < len(first.shape):
            second = tf.expand_dims(second, 1)
        code = (first - 1) * self.second_codes + second
        return tf.where(tf.logical_and(first > 0, second > 0), code, 0)


class History(keras.layers.Layer):  # type: ignore[misc]
    """What the user's earlier interactions tell, without knowing who the user is (asymmetric SVD, Koren, KDD 2008, and
    SVD++, the same paper).

    The value of each is taken less its item's usual value, then less what is left of the user's own mean, drawn to zero
    where there are few. The vector is the sum over items of this difference times one vector of the item, and of
    another vector of the item whatever the value, over the root of their number.

    Args:
        usual: float32 [N + 1], each item's usual value; ``None`` if interactions have no values.
        vectors: whether there is a vector, or a summary only.

    ``history`` int32 [U, L] and, with values, ``history_values`` float32 [U, L], NaN for none -> ``summary`` [U, S],
    ``vector`` [U, k] (zeros [U, 1] without vectors), ``differences`` [U, L] and ``real`` [U, L].
    """

    def __init__(self, items: int, dim: int, usual: np.ndarray | None, vectors: bool, name: str = "of_history") -> None:
        super().__init__(name=name)
        self.has_values, self.vectors = usual is not None, vectors
        if usual is not None:
            self.usual = self.add_weight(
                name="usual", shape=(items + 1, 1), initializer=keras.initializers.Constant(usual[:, None]),
                trainable=False,
            )  # fmt: skip
        if vectors:
            self.seen = self.add_weight(name="seen", shape=(items + 1, dim), initializer=normal(SMALL))
            if self.has_values:
                self.valued = self.add_weight(name="valued", shape=(items + 1, dim), initializer=normal(SMALL))

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        history, *given = tf.nest.flatten(inputs)  # a list of one is the tensor itself where a network is cloned
        real = tf.cast(history > 0, tf.float32)
        count = tf.reduce_sum(real, 1, keepdims=True)
        columns = [tf.math.log(1.0 + count) * 0.2]
        differences = tf.zeros_like(real)
        if self.has_values:
            (values,) = given
            valued = tf.where(tf.equal(values, values), real, tf.zeros_like(real))
            known = tf.where(valued > 0, values, tf.zeros_like(values))
            differences = (known - tf.squeeze(tf.gather(self.usual, history), 2)) * valued
            mean = tf.reduce_sum(differences, 1, keepdims=True) / (tf.reduce_sum(valued, 1, keepdims=True) + SHRINKAGE)
            differences = (differences - mean) * valued
            columns.append(mean)
        root = tf.math.rsqrt(tf.maximum(count, 1.0))
        vector = tf.zeros_like(count)
        if self.vectors:
            vector = tf.squeeze(tf.matmul(tf.expand_dims(real, 1), dense_lookup(self.seen, history)), 1) * root
            if self.has_values:
                by_value = tf.matmul(tf.expand_dims(differences, 1), dense_lookup(self.valued, history))
                vector += tf.squeeze(by_value, 1) * root
            self.add_loss(tf.reduce_mean(tf.reduce_sum(vector**2, 1)))
        return tf.concat(columns, 1), vector, differences, real


class LikeCandidate(keras.layers.Layer):  # type: ignore[misc]
    """The user's differences from the usual values of items that are like the candidate: a mean weighted by the softmax
    of learned likenesses, drawn to zero where nothing is alike (neighbourhoods as in Koren, KDD 2008, with weights of
    low rank). Without values, the logarithm of the summed likenesses.

    ``item`` int32 [C], ``history`` int32 [U, L], ``differences`` and ``real`` float32 [U, L] -> [C, 1].
    """

    def __init__(self, items: int, dim: int, has_values: bool, name: str = "like_candidate") -> None:
        super().__init__(name=name)
        self.dim, self.has_values = dim, has_values
        self.queries = self.add_weight(name="queries", shape=(items + 1, dim), initializer=normal(0.1))
        self.keys = self.add_weight(name="keys", shape=(items + 1, dim), initializer=normal(0.1))

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        item, history, differences, real = inputs
        queries, keys = dense_lookup(self.queries, tf.expand_dims(item, 1)), dense_lookup(self.keys, history)
        self.add_loss(
            tf.reduce_mean(tf.reduce_sum(queries**2, 2))
            + tf.reduce_sum(tf.reduce_sum(keys**2, 2) * real) / tf.maximum(tf.reduce_sum(real), 1.0)
        )
        requests = history.shape[0] if history.shape[0] is not None else tf.shape(history)[0]
        likeness = tf.matmul(tf.reshape(queries, [requests, -1, self.dim]), keys, transpose_b=True)  # [U, G, L]
        likeness += tf.expand_dims((1.0 - real) * MASKED, 1)
        # One more place with likeness 0 and no difference, to which the mean is drawn.
        weights = tf.exp(tf.minimum(likeness, 20.0))
        total = tf.reduce_sum(weights, 2)
        if not self.has_values:
            return tf.reshape(tf.math.log(1.0 + total), [-1, 1])
        return tf.reshape(tf.reduce_sum(weights * tf.expand_dims(differences, 1), 2) / (1.0 + total), [-1, 1])


class Blend(keras.layers.Layer):  # type: ignore[misc]
    """The network's score and that of the retrieval model, standardised, each with its weight: ([C, 1], [C]) -> [C, 1].

    A missing score counts as the mean. The weights are no part of training (see ``edgerec.training.reranking``).
    """

    def __init__(self, mean: float, std: float, name: str = "blend") -> None:
        super().__init__(name=name)
        self.mean, self.std = mean, std
        self.weighting = self.add_weight(
            name="weighting", shape=(3,), initializer=keras.initializers.Constant([1.0, 0.0, 0.0]), trainable=False
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        own, retrieval = inputs
        of_network, of_retrieval, shift = tf.unstack(self.weighting)
        found = tf.expand_dims(standardise(retrieval, self.mean, self.std), 1)
        return own * of_network + found * of_retrieval + shift


class Columns(keras.layers.Layer):  # type: ignore[misc]
    """The columns from ``start`` to before ``stop``: [C, w] -> [C, stop - start]."""

    def __init__(self, start: int, stop: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.start, self.stop = start, stop

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs[:, self.start : self.stop]


class Total(keras.layers.Layer):  # type: ignore[misc]
    """The sum of tensors of one shape."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return tf.add_n(tf.nest.flatten(inputs))


class Joined(keras.layers.Layer):  # type: ignore[misc]
    """Tensors [C, …] side by side: [C, w]."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return tf.concat(tf.nest.flatten(inputs), 1)


class AsColumn(keras.layers.Layer):  # type: ignore[misc]
    """[X] -> [X, 1]."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.expand_dims(inputs, 1)


class CrossLayer(keras.layers.Layer):  # type: ignore[misc]
    """x₀ ⊙ (W x + b) + x, the cross layer of DCN v2, with W x + b from a dense layer: three [C, w] -> [C, w]."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        first, mapped, last = inputs
        return first * mapped + last


class Pairs(keras.layers.Layer):  # type: ignore[misc]
    """The sum of the inner products of all pairs of F vectors, F times [C, k] -> [C, 1] (Rendle, ICDM 2010)."""

    def call(self, vectors: list[tf.Tensor]) -> tf.Tensor:
        vectors = tf.nest.flatten(vectors)
        total = tf.add_n(vectors)
        squares = tf.add_n([vector * vector for vector in vectors])
        return 0.5 * tf.reduce_sum(total * total - squares, 1, keepdims=True)
