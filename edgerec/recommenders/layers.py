"""Layers that the encoders share. Ids are int32 [B, T], left-padded with 0; vectors float32 [B, T, d]."""

import tensorflow as tf
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

# Added to attention scores of keys that must not be seen; finite, so that rows without any key stay finite too.
MASKED = -1e9


class ItemTable(keras.layers.Layer, PrunableLayer):  # type: ignore[misc]
    """The tied item table, float32 [N + 1, d]: looked up here, and used as it is to score items.

    The gradient of the lookup is summed into a dense table: the scores' gradient is dense anyway, and adding sparse
    slices to it is several times slower on CPU.
    """

    def __init__(self, items: int, dim: int, name: str = "item_table") -> None:
        super().__init__(name=name)
        self.items = items
        self.dim = dim
        self.embeddings = self.add_weight(
            name="embeddings", shape=(items + 1, dim), initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def get_prunable_weights(self) -> list[tf.Variable]:
        return [self.embeddings]

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def lookup(table: tf.Tensor) -> tuple[tf.Tensor, object]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.math.unsorted_segment_sum(
                    tf.reshape(upstream, [-1, self.dim]), tf.reshape(ids, [-1]), self.items + 1
                )

            return tf.gather(table, ids), gradient

        return lookup(tf.convert_to_tensor(self.embeddings)) * self.dim**0.5


class Positions(keras.layers.Layer):  # type: ignore[misc]
    """Adds a learned vector for each place, counted from the newest event, float32 [L, d]."""

    def __init__(self, length: int, dim: int, name: str = "positions") -> None:
        super().__init__(name=name)
        self.table = self.add_weight(
            name="table", shape=(length, dim), initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        return vectors + self.table[-tf.shape(vectors)[1] :]


class CausalMean(keras.layers.Layer):  # type: ignore[misc]
    """Mean of the vectors of all real events up to each one: [B, T, d], [B, T] -> [B, T, d]."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        real = tf.cast(ids > 0, tf.float32)[:, :, None]
        return tf.cumsum(vectors * real, axis=1) / tf.maximum(tf.cumsum(real, axis=1), 1.0)


class MaskedMean(keras.layers.Layer):  # type: ignore[misc]
    """Mean of the vectors of all real events: [B, T, d], [B, T] -> [B, 1, d]; CausalMean's last."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, ids = inputs
        real = tf.cast(ids > 0, tf.float32)[:, :, None]
        total = tf.reduce_sum(vectors * real, axis=1, keepdims=True)
        return total / tf.maximum(tf.reduce_sum(real, axis=1, keepdims=True), 1.0)


class CausalAttention(keras.layers.Layer):  # type: ignore[misc]
    """Scaled dot-product attention to real events at or before each query; has no weights of its own.

    ``query [B, Q, d], key [B, T, d], value [B, T, d], ids [B, T] -> [B, Q, d]`` with the Q last positions as queries
    (Q = T in training, 1 in serving).
    """

    def __init__(self, heads: int, name: str) -> None:
        super().__init__(name=name)
        self.heads = heads

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        query, key, value, ids = inputs
        width = query.shape[-1] // self.heads
        bias = tf.cast(ids <= 0, tf.float32)[:, None, None, :] * MASKED
        if query.shape[1] != 1:
            length = tf.shape(key)[1]
            future = 1.0 - tf.linalg.band_part(tf.ones([length, length]), -1, 0)
            bias = tf.minimum(bias, future[None, None] * MASKED)
        query, key, value = (self._split(x, width) for x in (query, key, value))
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * width**-0.5 + bias)
        return self._join(tf.matmul(weights, value))

    def _split(self, vectors: tf.Tensor, width: int) -> tf.Tensor:
        if self.heads == 1:
            return vectors[:, None]
        shape = tf.shape(vectors)
        return tf.transpose(tf.reshape(vectors, [shape[0], shape[1], self.heads, width]), [0, 2, 1, 3])

    def _join(self, vectors: tf.Tensor) -> tf.Tensor:
        if self.heads == 1:
            return vectors[:, 0]
        vectors = tf.transpose(vectors, [0, 2, 1, 3])
        shape = tf.shape(vectors)
        return tf.reshape(vectors, [shape[0], shape[1], self.heads * vectors.shape[-1]])


class LastPosition(keras.layers.Layer):  # type: ignore[misc]
    """The newest position, kept as a sequence of one: [B, T, d] -> [B, 1, d]."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        return vectors[:, -1][:, None]  # not [-1:]: the attention needs to see the static length of 1
