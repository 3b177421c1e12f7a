"""A recommender as it is served: the signatures of the retrieval contract around it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from converters.servable import COUNTED, Table
from converters.weights import ITEM_TABLE
from device_runner.contract import Outputs, Retrieval
from device_runner.ranking import top_unseen
from edgerec.recommenders.gru import GatedRecurrence
from edgerec.recommenders.layers import Positions
from edgerec.recommenders.recommender import SequenceRecommender

# Score of an excluded row: far below any real one, finite so that float16 files stay sound in float32 arithmetic.
EXCLUDED = -1e9


class ServedRecommender:
    """A :class:`converters.servable.Servable`: ``history`` and ``exclude`` in; ``ids``, ``scores`` and ``item_scores``
    out, with static shapes for batch 1.

    ``history`` may begin with rows of the user's features, which stand behind all items; ``exclude`` holds items only.

    A recurrent recommender (``contract.state``) has two more signatures: ``advance``, ``state [1, S]`` and
    ``item [1]`` in, ``state [1, S]`` out, and ``recommend_from_state`` with ``state`` in place of ``history``, and
    ``recent [1, R]`` if the parts of the score read the newest events. With transitions there is ``links``.
    """

    def __init__(self, recommender: SequenceRecommender, contract: Retrieval) -> None:
        self.recommender = recommender
        self.contract = contract
        self.tables = tuple(_tables(recommender))
        self.module = tf.Module()
        # The weights alone: with the layers, Keras would trace each of them for training as well.
        self.module.weights = recommender.network.weights if recommender.parts.network else []
        history = tf.TensorSpec([1, contract.max_history], tf.int32, name="history")
        excluded = tf.TensorSpec([1, contract.max_exclude], tf.int32, name="exclude")
        self.signatures: dict[str, Any] = {"recommend": tf.function(self._recommend, [history, excluded])}
        if contract.state:
            state = tf.TensorSpec([1, contract.state], tf.float32, name="state")
            item = tf.TensorSpec([1], tf.int32, name="item")
            self.signatures["advance"] = tf.function(self._advance, [state, item])
            if contract.recent:
                recent = tf.TensorSpec([1, contract.recent], tf.int32, name="recent")
                self.signatures["recommend_from_state"] = tf.function(
                    self._recommend_from_state_and_recent, [state, recent, excluded]
                )
            else:
                self.signatures["recommend_from_state"] = tf.function(self._recommend_from_state, [state, excluded])
        if contract.neighbours:
            self.signatures["links"] = tf.function(self._links, [history])

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """The table, and the kernels of all layers that have one, by layer name."""
        if not self.recommender.parts.network:
            return {}
        found = {}
        for layer in self.recommender.network.layers:
            if isinstance(layer, keras.layers.Dense | GatedRecurrence):
                found[layer.name] = layer.kernel.numpy()
            elif isinstance(layer, Positions):
                found[layer.name] = layer.table.numpy()
        return {ITEM_TABLE: self.recommender.item_table.embeddings.numpy(), **found}

    def reference(self, inputs: np.ndarray) -> Outputs:
        """The Keras model's ``scores`` float32 [n, N + 1] and its ``top`` lists int32 [n, 10] without the history, for
        histories int32 [n, L], left-padded.
        """
        scores = self.recommender.score(list(inputs))
        return {"scores": scores, "top": top_unseen(scores, inputs)}

    def _recommend(self, history: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._best(self.recommender.item_scores(history), exclude)

    def _recommend_from_state(self, state: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._recommend_from_state_and_recent(state, tf.zeros([1, 1], tf.int32), exclude)

    def _recommend_from_state_and_recent(
        self, state: tf.Tensor, recent: tf.Tensor, exclude: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return self._best(self.recommender.scores_from_state(state, recent, exclude), exclude)

    def _links(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        items, weights = self.recommender.links(history)
        return {"items": items, "weights": weights}

    def _advance(self, state: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"state": self.recommender.advance(state, item)}

    def _best(self, item_scores: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
        # Row 0 is always excluded, also when every place of ``exclude`` is taken.
        excluded = tf.concat([tf.zeros([1], tf.int32), tf.squeeze(exclude, 0)], axis=0)
        best = self._best_of_candidates if self._has_candidates() else self._best_of_all
        values, indices = best(item_scores, excluded)
        return {"ids": tf.where(values > EXCLUDED / 10, indices, 0), "scores": values, "item_scores": item_scores}

    def _has_candidates(self) -> bool:
        """Whether comparing candidates with all excluded rows is less work than going through the catalogue twice."""
        contract = self.contract
        excluded = contract.max_exclude + 1
        return (contract.top_k + excluded) * excluded < contract.items

    def _best_of_all(self, item_scores: tf.Tensor, excluded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Computed, as ones would be a constant in the file.
        marks = tf.cast(excluded >= 0, tf.float32)
        hits = tf.scatter_nd(tf.expand_dims(excluded, 1), marks, [self.contract.items + 1])
        top = tf.math.top_k(
            tf.where(tf.expand_dims(hits, 0) > 0, tf.constant(EXCLUDED), item_scores), self.contract.top_k
        )
        return top.values, top.indices

    def _best_of_candidates(self, item_scores: tf.Tensor, excluded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same in a large catalogue, without arrays of its length: as many more of the best are taken as can be
        excluded, and the excluded ones among them go to the end.
        """
        candidates = tf.math.top_k(item_scores, self.contract.top_k + self.contract.max_exclude + 1)
        out = tf.reduce_any(tf.expand_dims(candidates.indices, 2) == excluded, 2)
        top = tf.math.top_k(tf.where(out, tf.constant(EXCLUDED), candidates.values), self.contract.top_k)
        return top.values, tf.gather(candidates.indices[0], top.indices)


def _tables(recommender: SequenceRecommender) -> Iterator[Table]:
    """The large constants of the file."""
    parts = recommender.parts
    if parts.network:
        yield Table("item_table", tuple(recommender.item_table.embeddings.shape))
    if parts.transitions:
        yield Table("transitions", parts.transitions.neighbours.shape, COUNTED)
    if parts.prior:
        yield Table("prior", (1, len(parts.prior.codes)), COUNTED)
