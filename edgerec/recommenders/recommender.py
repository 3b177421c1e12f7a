"""The Keras recommender: item table + encoder, with a training graph and a serving graph over the same layers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from device_runner import EdgeRecError
from edgerec.recipe import Model
from edgerec.recommenders.layers import ItemTable
from edgerec.recommenders.mean import MeanEncoder
from edgerec.recommenders.sasrec import SasrecEncoder


class Encoder(Protocol):
    """Turns item vectors into hidden states; an item's score is its vector times the state."""

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor: ...

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor: ...


ENCODERS: dict[str, type[MeanEncoder] | type[SasrecEncoder]] = {"mean": MeanEncoder, "sasrec": SasrecEncoder}


class SequenceRecommender:
    """Scores the whole catalogue after a history.

    Attributes:
        split_fingerprint: of the data set it is trained on.
        network: ids int32 [B, T] -> hidden states float32 [B, T, d], the graph that is trained and pruned.
        serving: ids int32 [B, T] -> hidden state float32 [B, d] after the newest event, over the same layers.
        item_table: the tied table; ``item_table.embeddings`` is float32 [N + 1, d].
    """

    def __init__(self, config: Model, items: int, split_fingerprint: str | None = None) -> None:
        self.config = config
        self.items = items
        self.split_fingerprint = split_fingerprint
        self.item_table = ItemTable(items, config.dim)
        encoder: Encoder = ENCODERS[config.encoder](config)
        ids = keras.Input((None,), dtype=tf.int32, name="history")
        self.network = keras.Model(ids, encoder.sequence(self.item_table(ids), ids), name="training")
        self.serving = keras.Model(ids, encoder.last(self.item_table(ids), ids), name="serving")
        self._score = tf.function(self.item_scores, input_signature=[tf.TensorSpec([None, None], tf.int32)])

    def item_scores(self, history: tf.Tensor) -> tf.Tensor:
        """Scores of all rows, float32 [B, N + 1], for histories int32 [B, T] left-padded with 0."""
        return tf.matmul(self.serving(history, training=False), self.item_table.embeddings, transpose_b=True)

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Scores float32 [n, N + 1] for n histories of rows, oldest first; the last ``max_history`` are read."""
        return np.asarray(self._score(tf.constant(left_pad(histories, self.config.max_history))))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``model.weights.h5``."""
        (folder / "model.json").write_text(
            json.dumps(
                {
                    "items": self.items,
                    "split_fingerprint": self.split_fingerprint,
                    "model": self.config.model_dump(),
                },
                indent=2,
            )
            + "\n"
        )
        self.network.save_weights(folder / "model.weights.h5")

    @classmethod
    def load(cls, folder: Path) -> "SequenceRecommender":
        """Read what ``save`` wrote.

        Raises:
            EdgeRecError: the folder holds no model.
        """
        try:
            saved = json.loads((folder / "model.json").read_text())
        except FileNotFoundError:
            raise EdgeRecError(f"{folder}: no model here; make one with: edgerec train") from None
        recommender = cls(Model(**saved["model"]), saved["items"], saved["split_fingerprint"])
        recommender.network.load_weights(folder / "model.weights.h5")
        return recommender


def left_pad(histories: Sequence[np.ndarray], length: int) -> np.ndarray:
    """int32 [n, T]: the last ``length`` rows of each history, zeros before them; T is the longest that is left."""
    longest = max((min(len(h), length) for h in histories), default=0)
    padded = np.zeros((len(histories), max(longest, 1)), np.int32)
    for line, history in zip(padded, histories, strict=True):
        if kept := min(len(history), length):
            line[-kept:] = history[-kept:]
    return padded
