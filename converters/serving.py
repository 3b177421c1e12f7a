"""The signatures around a Keras recommender: ``recommend``, and for a recurrent one ``advance`` and
``recommend_from_state``.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

from device_runner.bundle import Contract

# Score of an excluded row: far below any real one, finite so that float16 files stay sound in float32 arithmetic.
EXCLUDED = -1e9


class ServingModule(tf.Module):  # type: ignore[misc]
    """``history`` and ``exclude`` in; ``ids``, ``scores`` and ``item_scores`` out, with static shapes for batch 1.

    ``history`` may begin with rows of the user's features, which stand behind all items; ``exclude`` holds items only.

    A recurrent recommender (``contract.state``) has two signatures more: ``advance``, ``state [1, S]`` and
    ``item [1]`` in, ``state [1, S]`` out, and ``recommend_from_state`` with ``state`` in place of ``history``.
    """

    def __init__(self, recommender: Any, contract: Contract) -> None:
        super().__init__()
        self.recommender = recommender
        self._tracked = [recommender.network, recommender.serving]
        self.contract = contract
        self.recommend = tf.function(
            self._recommend,
            input_signature=[
                tf.TensorSpec([1, contract.max_history], tf.int32, name="history"),
                tf.TensorSpec([1, contract.max_exclude], tf.int32, name="exclude"),
            ],
        )
        if contract.state:
            state = tf.TensorSpec([1, contract.state], tf.float32, name="state")
            self.advance = tf.function(
                self._advance, input_signature=[state, tf.TensorSpec([1], tf.int32, name="item")]
            )
            self.recommend_from_state = tf.function(
                self._recommend_from_state,
                input_signature=[state, tf.TensorSpec([1, contract.max_exclude], tf.int32, name="exclude")],
            )

    def _recommend(self, history: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._best(self.recommender.item_scores(history), exclude)

    def _recommend_from_state(self, state: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._best(self.recommender.scores_from_state(state), exclude)

    def _advance(self, state: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"state": self.recommender.advance(state, item)}

    def _best(self, item_scores: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = self.contract.items + 1
        # Row 0 is always excluded, also when every place of ``exclude`` is taken.
        excluded = tf.concat([tf.zeros([1], tf.int32), tf.squeeze(exclude, 0)], axis=0)
        hits = tf.scatter_nd(tf.expand_dims(excluded, 1), tf.ones([self.contract.max_exclude + 1]), [rows])
        allowed = tf.where(tf.expand_dims(hits, 0) > 0, tf.constant(EXCLUDED), item_scores)
        top = tf.math.top_k(allowed, self.contract.top_k)
        return {
            "ids": tf.where(top.values > EXCLUDED / 10, top.indices, 0),
            "scores": top.values,
            "item_scores": item_scores,
        }


def save_serving_model(recommender: Any, contract: Contract, folder: Path) -> None:
    """Write the SavedModel that every scheme is converted from."""
    module = ServingModule(recommender, contract)
    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in contract.signatures})
