"""The Keras recommender: item table + encoder, with a training graph and a serving graph over the same layers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras as keras

from device_runner import EdgeRecError
from device_runner.user_features import UserFeature, rows_of
from edgerec.data.dataset import Dataset, Targets
from edgerec.data.feature_encoding import EncodedFeatures, Feature, chosen_features, encode_features
from edgerec.data.user_feature_rows import encode_users, fit_user_features
from edgerec.errors import plain_reason
from edgerec.recipe import Model
from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.cnn import CnnMixer
from edgerec.recommenders.gru import GruEncoder
from edgerec.recommenders.layers import ItemTable
from edgerec.recommenders.lru import LruMixer
from edgerec.recommenders.mean import MeanEncoder
from edgerec.recommenders.parts import Parts
from edgerec.recommenders.sasrec import SasrecEncoder
from edgerec.recommenders.stack import RecurrentStack, Stack


class Encoder(Protocol):
    """Turns item vectors into hidden states; an item's score is the product of its vector and the state."""

    def sequence(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One hidden state after each event: [B, T, d], [B, T] -> [B, T, d]."""

    def last(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The hidden state after the newest event only: [B, T, d], [B, T] -> [B, d]."""


ENCODERS: dict[str, Callable[[Architecture], Encoder]] = {
    "mean": MeanEncoder,
    "cnn": partial(Stack, mixer=CnnMixer),
    "gru": GruEncoder,
    "sasrec": SasrecEncoder,
    "lru": partial(RecurrentStack, mixer=LruMixer),
}


class SequenceRecommender:
    """Scores the whole catalogue after a history.

    Attributes:
        architecture: the encoder and its widths.
        items: N.
        split_fingerprint: of the data set that it is trained on.
        item_features: the features that are part of an item's vector, as learned on training rows.
        user_features: the features whose values come before the history, as rows of the table behind all items.
        network: ids int32 [B, T] -> hidden states float32 [B, T, d], the graph that is trained and pruned.
        serving: ids int32 [B, T] -> hidden state float32 [B, d] after the newest event, over the same layers.
        item_table: the tied table.
        state_size: S of a recurrent encoder, ``None`` for any other.
        parts: what is added to the network's scores; nothing until it is set after training.
    """

    def __init__(
        self,
        architecture: Architecture,
        items: int,
        split_fingerprint: str | None = None,
        item_features: Sequence[Feature] = (),
        encoded: EncodedFeatures | None = None,
        user_features: Sequence[UserFeature] = (),
    ) -> None:
        self.architecture = architecture
        self.items = items
        self.split_fingerprint = split_fingerprint
        self.item_features = list(item_features)
        self._encoded = encoded
        self.user_features = list(user_features)
        self.item_table = ItemTable(items + 1 + rows_of(user_features), architecture.dim, encoded)
        encoder = self._encoder = ENCODERS[architecture.encoder](architecture)
        ids = keras.Input((None,), dtype=tf.int32, name="history")
        self.network = keras.Model(ids, encoder.sequence(self.item_table(ids), ids), name="training")
        self.serving = keras.Model(ids, encoder.last(self.item_table(ids), ids), name="serving")
        self.state_size = encoder.state_size if isinstance(encoder, RecurrentStack) else None
        self.parts = Parts()

    @classmethod
    def of_dataset(cls, model: Model, dataset: Dataset) -> "SequenceRecommender":
        """A new recommender for the items of a data set, with the widths and features that ``[model]`` names.

        Raises:
            EdgeRecError: ``model`` names a column that is not a feature, or a user feature that cannot be used.
        """
        users = fit_user_features(model.user_features, dataset.features("users"), dataset.user_table, dataset.items + 1)
        chosen = chosen_features(model.item_features, dataset.features("items"), "item")
        encoded = encode_features(chosen, dataset.item_table).with_padding(rows_of(users)) if chosen else None
        architecture = Architecture.of_recipe(model)
        return cls(architecture, dataset.items, dataset.split_fingerprint, chosen, encoded, users)

    @property
    def parts(self) -> Parts:
        return self._parts

    @parts.setter
    def parts(self, parts: Parts) -> None:
        self._parts = parts
        self._score = tf.function(self.item_scores, input_signature=[tf.TensorSpec([None, None], tf.int32)])

    def reshaped(self, architecture: Architecture) -> "SequenceRecommender":
        """A new recommender with other widths, for the same items and features; its weights are not set."""
        return SequenceRecommender(
            architecture, self.items, self.split_fingerprint, self.item_features, self._encoded, self.user_features
        )

    def inputs_of(self, targets: Targets, dataset: Dataset) -> list[np.ndarray]:
        """Input rows for each target, int32 [≤ L]: the last events, behind the rows of the user's features."""
        if not self.user_features:
            return targets.histories
        users = encode_users(self.user_features, dataset.user_table.iloc[targets.users])
        return [
            np.concatenate([rows, history[len(rows) - self.architecture.max_history :]])
            for rows, history in zip(users, targets.histories, strict=True)
        ]

    def item_vectors(self) -> tf.Tensor:
        """Vectors of padding and all items, float32 [N + 1, d]."""
        return self.item_table.vectors()[: self.items + 1]

    def item_scores(self, history: tf.Tensor) -> tf.Tensor:
        """Scores of padding and all items, float32 [B, N + 1], for histories int32 [B, T] left-padded with 0."""
        network = self._scores_of(self.serving(history, training=False)) if self.parts.network else None
        return self.parts.added(network, self._events(history), history)

    def links(self, history: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What the newest events lead to: see :meth:`edgerec.recommenders.transitions.Transitions.links`."""
        assert self.parts.transitions
        return self.parts.transitions.links(self._events(history))

    def _events(self, history: tf.Tensor) -> tf.Tensor:
        """Rows int32 [B, T] with 0 in place of those of user features."""
        return tf.where(history <= self.items, history, 0) if self.user_features else history

    def advance(self, state: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """The state float32 [B, S] of a recurrent encoder after one more event (rows, int32 [B]); zeros at first.

        Row 0 leaves the state as it is.
        """
        assert isinstance(self._encoder, RecurrentStack)
        after = self._encoder.advance(tf.squeeze(self.item_table(tf.expand_dims(item, 1)), 1), state)
        return tf.where(tf.expand_dims(item > 0, 1), after, state)

    def scores_from_state(self, state: tf.Tensor, recent: tf.Tensor, anchor: tf.Tensor) -> tf.Tensor:
        """Like ``item_scores``, from a state float32 [B, S] and the newest ``parts.recent`` item rows, int32 [B, R],
        left-padded with 0; for ``anchor`` see :meth:`edgerec.recommenders.prior.Prior.scores`.
        """
        assert isinstance(self._encoder, RecurrentStack)
        return self.scores_of(self._encoder.hidden(state), recent, anchor)

    def scores_of(self, hidden: tf.Tensor, recent: tf.Tensor, anchor: tf.Tensor) -> tf.Tensor:
        """Scores float32 [B, N + 1] from hidden states [B, d] and the newest events, as in ``scores_from_state``."""
        return self.parts.added(self._scores_of(hidden), recent, anchor)

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Scores float32 [n, N + 1] for n histories of rows, oldest first; the last ``max_history`` are read."""
        return np.asarray(self._score(tf.constant(left_pad(histories, self.architecture.max_history))))

    def _scores_of(self, hidden: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(hidden, self.item_table.vectors(), transpose_b=True)
        # Slice the scores, not the table: slicing the table would store it twice in the file.
        return scores[:, : self.items + 1] if self.user_features else scores

    def folded(self, new: np.ndarray | None = None, parts: Parts | None = None) -> "SequenceRecommender":
        """The same recommender with item features summed into the item table: what is exported.

        Args:
            new: vectors float32 [M, d] of new items, which get the rows N + 1 to N + M.
            parts: in place of its own.
        """
        more = 0 if new is None else len(new)
        users = [replace(feature, first=feature.first + more) for feature in self.user_features]
        plain = SequenceRecommender(self.architecture, self.items + more, self.split_fingerprint, user_features=users)
        for layer in self.network.layers:
            if layer.weights and layer is not self.item_table:
                plain.network.get_layer(layer.name).set_weights(layer.get_weights())
        items, values = tf.split(self.item_table.vectors(), [self.items + 1, -1])
        plain.item_table.embeddings.assign(tf.concat([items, *([] if new is None else [new]), values], 0))
        plain.parts = (self.parts if parts is None else parts).extended(self.items + more + 1)
        return plain

    def new_item_vectors(self, table: pd.DataFrame) -> np.ndarray:
        """Vectors float32 [n, d] of items without interactions, from their features in ``table`` alone.

        Raises:
            EdgeRecError: the recommender has no item features, or ``table`` lacks a column of theirs.
        """
        if not self.item_features:
            raise EdgeRecError("this model has no item features, so new items have no vectors; set model.item_features")
        return np.asarray(self.item_table.feature_vectors(encode_features(self.item_features, table)))

    def save(self, folder: Path) -> None:
        """Write ``model.json``, ``model.weights.h5`` and, where there are any, ``features.npz`` and ``parts.npz``.

        Raises:
            EdgeRecError: the disk is full.
        """
        (folder / "model.json").write_text(
            json.dumps(
                {
                    "items": self.items,
                    "split_fingerprint": self.split_fingerprint,
                    "architecture": self.architecture.to_json(),
                    "item_features": [feature.to_json() for feature in self.item_features],
                    "user_features": [asdict(feature) for feature in self.user_features],
                },
                indent=2,
            )
            + "\n"
        )
        if self._encoded is not None:
            self._encoded.save(folder / "features.npz")
        self.parts.save(folder)
        try:
            self.network.save_weights(folder / "model.weights.h5")
        except (OSError, RuntimeError) as error:  # what HDF5 says of a disk that is full
            raise EdgeRecError(f"{folder}: the weights cannot be written: {plain_reason(error)}") from None

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
        except ValueError:
            raise EdgeRecError(f"{folder / 'model.json'}: damaged; train again with: edgerec train") from None
        try:
            architecture = Architecture.from_json(saved["architecture"])
            items, split = saved["items"], saved["split_fingerprint"]
            features = [Feature(**feature) for feature in saved["item_features"]]
            users = [UserFeature.from_json(entry) for entry in saved["user_features"]]
        except (KeyError, TypeError, ValueError):
            raise EdgeRecError(f"{folder}: made by another version; train again with: edgerec train") from None
        encoded = EncodedFeatures.load(folder / "features.npz") if features else None
        recommender = cls(architecture, items, split, features, encoded, users)
        recommender.network.load_weights(folder / "model.weights.h5")
        recommender.parts = Parts.load(folder)
        return recommender


def left_pad(histories: Sequence[np.ndarray], length: int) -> np.ndarray:
    """int32 [n, T]: the last ``length`` rows of each history, zeros before them; T is the longest that is left."""
    longest = max((min(len(h), length) for h in histories), default=0)
    padded = np.zeros((len(histories), max(longest, 1)), np.int32)
    for line, history in zip(padded, histories, strict=True):
        if kept := min(len(history), length):
            line[-kept:] = history[-kept:]
    return padded
