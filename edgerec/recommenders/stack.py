"""A stack of pre-norm residual blocks, each a mixer and a feed-forward layer: every encoder but ``mean`` is one."""

from collections.abc import Callable
from typing import Protocol, cast

import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.layers import Dropout, LastPosition, gelu


class Mixer(Protocol):
    """The layer that lets a position see the events before it. Vectors are float32 [B, T, d], ids int32 [B, T]."""

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One vector after each event, [B, T, d]: the graph that is trained."""

    def serving(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The same, in operations that the device's runtimes have."""

    def newest(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The vector after the newest event only, [B, 1, d]."""


class RecurrentMixer(Mixer, Protocol):
    """A mixer whose newest vector follows from a state of fixed size and the newest event."""

    state_size: int

    def advance(self, vector: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """``vector`` [B, d] and ``state`` [B, S], zeros before any event -> [B, d] and the next state [B, S]."""


class Stack:
    """``blocks`` times ``x + mixer(norm(x))``, then ``x + feed_forward(norm(x))``; a norm at the end."""

    def __init__(self, shape: Architecture, mixer: Callable[[Architecture, int], Mixer]) -> None:
        self._dropout = Dropout(shape.dropout)
        self._blocks = [
            _Block(shape, number, mixer(shape, number), self._dropout) for number in range(len(shape.blocks))
        ]
        self._norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_out")

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One hidden state after each event: [B, T, d], [B, T] -> [B, T, d]."""
        hidden = self._dropout(vectors)
        for block in self._blocks:
            hidden = block.sequence(hidden, ids)
        return self._norm(hidden)

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The hidden state after the newest event only: [B, T, d], [B, T] -> [B, d]."""
        for block in self._blocks[:-1]:
            vectors = block.serving(vectors, ids)
        return tf.squeeze(self._norm(self._blocks[-1].newest(vectors, ids)), 1)


class RecurrentStack(Stack):
    """A stack of recurrent mixers. Its state is the states of all mixers, then the newest hidden state."""

    def __init__(self, shape: Architecture, mixer: Callable[[Architecture, int], RecurrentMixer]) -> None:
        super().__init__(shape, mixer)
        self._sizes = [cast(RecurrentMixer, block.mixer).state_size for block in self._blocks]
        self._dim = shape.dim
        self.state_size = sum(self._sizes) + shape.dim

    def advance(self, vector: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The state [B, S] after one more event, whose item vector is [B, d]; zeros before the first."""
        *states, _ = tf.split(state, [*self._sizes, self._dim], axis=1)
        hidden = tf.expand_dims(vector, 1)
        after = []
        for block, before in zip(self._blocks, states, strict=True):
            hidden, state = block.advance(hidden, before)
            after.append(state)
        return tf.concat([*after, tf.squeeze(self._norm(hidden), 1)], 1)

    def hidden(self, state: tf.Tensor) -> tf.Tensor:
        """The part of a state [B, S] that scores items: the hidden state [B, d]."""
        return state[:, -self._dim :]


class _Block:
    def __init__(self, shape: Architecture, number: int, mixer: Mixer, dropout: Dropout) -> None:
        self.mixer = mixer
        # Named, as numbers that Keras counts up would give other bytes of the file in every process.
        self._join_names = f"join_mixer_{number}", f"join_feed_forward_{number}"
        self._dropout = dropout
        self._norm_in = keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_mixer_{number}")
        self._norm_mid = keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_feed_forward_{number}")
        self._widen = keras.layers.Dense(shape.blocks[number].feed_forward, gelu, name=f"widen_{number}")
        self._narrow = keras.layers.Dense(shape.dim, name=f"narrow_{number}")

    def sequence(self, hidden: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._join(hidden, self.mixer.sequence(self._norm_in(hidden), ids))

    def serving(self, hidden: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._join(hidden, self.mixer.serving(self._norm_in(hidden), ids))

    def newest(self, hidden: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return self._join(LastPosition(name="newest")(hidden), self.mixer.newest(self._norm_in(hidden), ids))

    def advance(self, hidden: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        vector, state = cast(RecurrentMixer, self.mixer).advance(tf.squeeze(self._norm_in(hidden), 1), state)
        return self._join(hidden, tf.expand_dims(vector, 1)), state

    def _join(self, hidden: tf.Tensor, mixed: tf.Tensor) -> tf.Tensor:
        mixer, feed_forward = self._join_names
        hidden = keras.layers.add([hidden, self._dropout(mixed)], name=mixer)
        inner = self._dropout(self._widen(self._norm_mid(hidden)))
        return keras.layers.add([hidden, self._dropout(self._narrow(inner))], name=feed_forward)
