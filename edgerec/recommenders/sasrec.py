"""Self-attentive sequential recommendation (Kang & McAuley, ICDM 2018), pre-norm, learned positions."""

import tensorflow as tf
import tf_keras as keras

from edgerec.recipe import Model
from edgerec.recommenders.layers import CausalAttention, LastPosition, Positions


class SasrecEncoder:
    """Causal self-attention blocks; in serving the last block computes the newest position only."""

    def __init__(self, config: Model) -> None:
        self._positions = Positions(config.max_history, config.dim)
        self._dropout = keras.layers.Dropout(config.dropout, name="dropout")
        self._blocks = [_Block(config, i) for i in range(config.blocks)]
        self._norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_out")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One hidden state after each event: [B, T, d], [B, T] -> [B, T, d]."""
        hidden = self._dropout(self._positions([vectors, ids]))
        for block in self._blocks:
            hidden = block(hidden, hidden, ids, self._dropout)
        return self._norm(hidden)

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The hidden state after the newest event only: [B, T, d], [B, T] -> [B, d]."""
        hidden = self._positions([vectors, ids])
        for block in self._blocks[:-1]:
            hidden = block(hidden, hidden, ids, self._dropout)
        newest = LastPosition(name="newest")(hidden)
        return tf.squeeze(self._norm(self._blocks[-1](newest, hidden, ids, self._dropout)), 1)


class _Block:
    def __init__(self, config: Model, number: int) -> None:
        def dense(name: str, activation: str | None = None) -> keras.layers.Dense:
            return keras.layers.Dense(config.dim, activation, name=f"{name}_{number}")

        self._norm_in = keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_attention_{number}")
        self._query, self._key, self._value, self._out = (dense(n) for n in ("query", "key", "value", "attended"))
        self._attention = CausalAttention(config.heads, name=f"attention_{number}")
        self._norm_mid = keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_feed_forward_{number}")
        self._widen, self._narrow = dense("widen", "relu"), dense("narrow")

    def __call__(
        self, queries: tf.Tensor, hidden: tf.Tensor, ids: tf.Tensor, dropout: keras.layers.Dropout
    ) -> tf.Tensor:
        keys = self._norm_in(hidden)
        asked = keys if queries is hidden else self._norm_in(queries)
        attended = self._attention([self._query(asked), self._key(keys), self._value(keys), ids])
        queries = keras.layers.add([queries, dropout(self._out(attended))])
        narrowed = self._narrow(self._widen(self._norm_mid(queries)))
        return keras.layers.add([queries, dropout(narrowed)])
