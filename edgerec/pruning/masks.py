"""Magnitude pruning during fine-tuning (Zhu & Gupta 2017), by tensorflow-model-optimization: the smallest weights
become zero, one by one or in patterns. The shapes stay.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow_model_optimization as tfmot
import tf_keras as keras

from edgerec.errors import RecipeError
from edgerec.pruning.methods.method import Pruning
from edgerec.pruning.sparsity import is_target
from edgerec.rankers import RankingModel
from edgerec.recipe.prune import PruneSection
from edgerec.recommenders import SequenceRecommender
from edgerec.training.hooks import Hook
from edgerec.training.objective import Objective


class Masks(Hook):
    """Wraps the chosen layers of a recommender's network in masks; the layers, and so the recommender, stay the same
    objects, and the recommender's own network is the one without masks.

    The sparsity rises by a cubic schedule from zero to its final value over the first half of the fine-tuning, and is
    held for the rest. Biases, norms and positions are left alone.

    Args:
        target: see :func:`edgerec.pruning.sparsity.is_target`.
        pattern: of the zeros, as ``prune_low_magnitude`` takes it; by default each weight is on its own.
    """

    def __init__(
        self,
        recommender: SequenceRecommender | RankingModel,
        sparsity: float,
        target: str,
        epochs: int,
        steps_per_epoch: int,
        pattern: Mapping[str, Any],
    ) -> None:
        self._ramp_epochs = max(1, epochs // 2)
        last_step = max(1, self._ramp_epochs * steps_per_epoch - 1)
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=sparsity,
            begin_step=0,
            end_step=last_step,
            frequency=max(1, last_step // 50),
        )

        wrapped: list[str] = []
        block = pattern.get("block_size", (1, 1))

        def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
            if is_target(layer, target) and _has_room(layer, block):
                wrapped.append(layer.name)
                return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule, **pattern)
            return layer

        self.network = keras.models.clone_model(recommender.network, clone_function=wrap)
        if not wrapped:
            raise RecipeError(
                f"prune: no layer has room for two blocks of {block[0]} x {block[1]} weights along each of its axes; "
                "choose smaller blocks or wider layers"
            )
        self._callback = tfmot.sparsity.keras.UpdatePruningStep()
        self._callback.set_model(self.network)
        self._callback.on_train_begin()  # the wrappers count the steps from here on; a checkpoint keeps the count

    def after_epoch(self) -> None:
        """Apply the masks, so that the weights are what they will be without them."""
        self._callback.on_epoch_end(0)

    def counts(self, epoch: int) -> bool:
        """Only epochs at the final sparsity may be kept."""
        return epoch >= self._ramp_epochs


def _has_room(layer: keras.layers.Layer, block: tuple[int, int]) -> bool:
    """Whether a dense layer has two blocks at least along each axis; tensorflow-model-optimization fails otherwise.
    Blocks of single units also have to end with the inputs, or int8-sparse could not leave them out.
    """
    if block == (1, 1) or not isinstance(layer, keras.layers.Dense):
        return True
    inputs, units = layer.kernel.shape
    return inputs > block[0] and units > block[1] and (block[1] > 1 or inputs % block[0] == 0)


def masked(
    recommender: SequenceRecommender | RankingModel,
    settings: PruneSection,
    objective: Objective,
    sparsity: float,
    target: str = "network",
    **pattern: Any,
) -> Pruning:
    """Masks that grow while fine-tuning. Weights are not averaged: averages of pruned weights would not be sparse."""
    masks = Masks(recommender, sparsity, target, settings.epochs, len(objective.batches(1)), pattern)
    return Pruning(recommender, masks.network, [masks], averaged=False)
