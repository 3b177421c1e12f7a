"""Layers that the encoders share. Ids are int32 [B, T], left-padded with 0; vectors float32 [B, T, d]."""

import tensorflow as tf
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from edgerec.data.feature_encoding import EncodedFeatures

# Added to attention scores of keys that must not be seen; finite, so that rows without any key stay finite too.
MASKED = -1e9


def dense_lookup(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Rows of ``table`` [n, d] at ``ids`` [B, T]: [B, T, d].

    The gradient is a dense table: the gradient of the item scores is dense anyway, and adding sparse slices to it is
    several times slower on CPU.
    """
    rows, dim = table.shape

    @tf.custom_gradient
    def lookup(values: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(tf.reshape(upstream, [-1, dim]), tf.reshape(ids, [-1]), rows)

        return tf.gather(values, ids), gradient

    return lookup(tf.convert_to_tensor(table))


def real_events(ids: tf.Tensor) -> tf.Tensor:
    """1.0 where there is an event, 0.0 where padding: [B, T] -> [B, T, 1]."""
    return tf.expand_dims(tf.cast(ids > 0, tf.float32), 2)


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Gaussian error linear units (Hendrycks & Gimpel 2016), approximated by tanh: one operator of TFLite, fast on both
    runtimes. The exact form took tflite-runtime twelve times as long.
    """
    return tf.nn.gelu(inputs, approximate=True)


class Dropout(keras.layers.Layer):  # type: ignore[misc]
    """Sets a share of the values to zero while training and scales the rest, so that their mean stays.

    It draws from TensorFlow's global generator, whose state a checkpoint can keep, so that a resumed fit goes on with
    the masks that an undisturbed one would have. Keras' own layer keeps its state where no checkpoint reaches it.
    """

    def __init__(self, rate: float, name: str = "dropout") -> None:
        super().__init__(name=name)
        self.rate = rate

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        kept = tf.random.get_global_generator().uniform(tf.shape(inputs)) >= self.rate
        return tf.where(kept, inputs / (1 - self.rate), 0.0)


class ItemTable(keras.layers.Layer, PrunableLayer):  # type: ignore[misc]
    """The tied item table, float32 [R, d]: it is looked up for the history, and used to score items.

    With features, an item's vector is its own embedding plus the embeddings of its features.

    Args:
        rows: R: padding, items, and the values of user features, which are looked up but never scored.
        features: encoded for all rows; all zero for rows that are not items.
    """

    def __init__(self, rows: int, dim: int, features: EncodedFeatures | None = None, name: str = "item_table") -> None:
        super().__init__(name=name)
        self.dim = dim
        self._features = features
        self.embeddings = self._table("embeddings", rows)
        if features is not None:
            self.categories = self._table("categories", features.codes_used)
            self.numbers = self._table("numbers", features.numbers.shape[1])

    def _table(self, name: str, rows: int) -> tf.Variable:
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        return self.add_weight(name=name, shape=(rows, self.dim), initializer=small)

    def get_prunable_weights(self) -> list[tf.Variable]:
        return [self.embeddings]

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return dense_lookup(self.vectors(), ids) * self.dim**0.5

    def vectors(self) -> tf.Tensor:
        """Vectors of all rows, float32 [R, d]."""
        if self._features is None:
            return tf.convert_to_tensor(self.embeddings)
        return self.embeddings + self.feature_vectors(self._features)

    def feature_vectors(self, features: EncodedFeatures) -> tf.Tensor:
        """The part of the vectors that comes from features, float32 [n, d]; all of it for an item without training."""
        # Code 0 stands for an unknown value, and contributes nothing.
        known = tf.expand_dims(tf.cast(features.codes > 0, tf.float32), 2)
        embedded = tf.reduce_sum(dense_lookup(self.categories, tf.constant(features.codes)) * known, 1)
        return embedded + tf.matmul(tf.constant(features.numbers), self.numbers)


class Positions(keras.layers.Layer):  # type: ignore[misc]
    """Adds a learned vector for each position: [B, T, d], [B, T] -> [B, T, d]. The newest event has the last of the L
    positions.

    The positions are looked up by indices that are computed from the input (padding has index 0), because every scheme
    would keep a table that is added as a constant in float.
    """

    def __init__(self, length: int, dim: int, name: str = "positions") -> None:
        super().__init__(name=name)
        self.length = length
        self.table = self.add_weight(
            name="table", shape=(length, dim), initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        places = tf.range(self.length - tf.shape(ids)[1], self.length)
        return vectors + dense_lookup(self.table, tf.where(ids > 0, places, 0))


class CausalMean(keras.layers.Layer):  # type: ignore[misc]
    """Mean of the vectors of all real events up to each one: [B, T, d], [B, T] -> [B, T, d]."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        real = real_events(ids)
        return tf.cumsum(vectors * real, axis=1) / tf.maximum(tf.cumsum(real, axis=1), 1.0)


class MaskedMean(keras.layers.Layer):  # type: ignore[misc]
    """Mean of the vectors of all real events: [B, T, d], [B, T] -> [B, 1, d]; equal to the last of CausalMean."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        real = real_events(ids)
        total = tf.reduce_sum(vectors * real, axis=1, keepdims=True)
        return total / tf.maximum(tf.reduce_sum(real, axis=1, keepdims=True), 1.0)


class CausalAttention(keras.layers.Layer):  # type: ignore[misc]
    """Scaled dot-product attention to real events at or before each query, with a learned bias for each distance in
    events between query and key (Raffel et al. 2020, but without buckets of distances).

    ``query [B, Q, d], key [B, T, d], value [B, T, d], ids [B, T] -> [B, Q, d]`` with the Q last positions as queries
    (Q = T in training, 1 in serving).
    """

    def __init__(self, length: int, heads: int, name: str) -> None:
        super().__init__(name=name)
        self.heads = heads
        self.distance_bias = self.add_weight(name="distance_bias", shape=(heads, length), initializer="zeros")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        query, key, value, ids = inputs
        width = query.shape[-1] // self.heads
        # Computed from the input although it is always 1..T: as a constant, the converter would store T x T floats.
        place = tf.cumsum(tf.cast(ids[:1] >= 0, tf.int32), axis=1)
        distance = tf.expand_dims(place[:, -1:] if query.shape[1] == 1 else place, 2) - tf.expand_dims(place, 1)
        hidden = tf.logical_or(tf.expand_dims(ids <= 0, 1), distance < 0)
        bias = tf.expand_dims(tf.cast(hidden, tf.float32) * MASKED, 1)
        bias += tf.gather(self.distance_bias, tf.maximum(distance[0], 0), axis=1)
        query, key, value = (self._split(x, width) for x in (query, key, value))
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * width**-0.5 + bias)
        return self._join(tf.matmul(weights, value))

    def _split(self, vectors: tf.Tensor, width: int) -> tf.Tensor:
        if self.heads == 1:
            return tf.expand_dims(vectors, 1)
        shape = tf.shape(vectors)
        return tf.transpose(tf.reshape(vectors, [shape[0], shape[1], self.heads, width]), [0, 2, 1, 3])

    def _join(self, vectors: tf.Tensor) -> tf.Tensor:
        if self.heads == 1:
            return tf.squeeze(vectors, 1)
        vectors = tf.transpose(vectors, [0, 2, 1, 3])
        shape = tf.shape(vectors)
        return tf.reshape(vectors, [shape[0], shape[1], self.heads * vectors.shape[-1]])


class LastPosition(keras.layers.Layer):  # type: ignore[misc]
    """The newest position, kept as a sequence of one: [B, T, d] -> [B, 1, d]."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        # Not [:, -1:], which has no static length: the attention needs to know that it is 1.
        return tf.expand_dims(vectors[:, -1], 1)
