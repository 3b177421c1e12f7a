"""Magnitude pruning during fine-tuning (Zhu & Gupta 2017), by tensorflow-model-optimization."""

import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from edgerec.recipe import Prune
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.layers import ItemTable


class MagnitudePruner:
    """Wraps the chosen layers of a recommender's network; the layers, and so the recommender, stay the same objects.

    The sparsity rises by a cubic schedule from zero to its final value over the first half of the fine-tuning, and
    is held for the rest. Biases, norms and positions are left alone. As the layers are shared, the recommender's own
    network is the stripped one.
    """

    def __init__(self, recommender: SequenceRecommender, config: Prune, steps_per_epoch: int) -> None:
        self._ramp_epochs = max(1, config.epochs // 2)
        last_step = max(1, self._ramp_epochs * steps_per_epoch - 1)
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=config.sparsity,
            begin_step=0,
            end_step=last_step,
            frequency=max(1, last_step // 50),
        )

        def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
            if is_target(layer, config.target):
                return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
            return layer

        self.network = keras.models.clone_model(recommender.network, clone_function=wrap)
        self._callback = tfmot.sparsity.keras.UpdatePruningStep()
        self._callback.set_model(self.network)
        self._callback.on_train_begin()  # the wrappers count the steps from here on; a checkpoint keeps the count

    def finish(self) -> None:
        """Apply the masks, so that the weights are what they will be when stripped."""
        self._callback.on_epoch_end(0)

    def is_final(self, epoch: int) -> bool:
        """Whether the schedule has ended by this epoch."""
        return epoch >= self._ramp_epochs


def is_target(layer: keras.layers.Layer, target: str) -> bool:
    """Whether ``prune.target`` names this layer."""
    if isinstance(layer, ItemTable):
        return target in ("item_table", "all")
    return isinstance(layer, keras.layers.Dense | PrunableLayer) and target in ("network", "all")


def sparsity(recommender: SequenceRecommender) -> dict[str, float]:
    """Share of zeros in each prunable kernel, by layer name, and over all of them as ``total``."""
    zeros, sizes = {}, {}
    for layer in recommender.network.layers:
        if not is_target(layer, "all"):
            continue
        kernel = layer.get_prunable_weights()[0] if isinstance(layer, PrunableLayer) else layer.kernel
        values = kernel.numpy()
        # Row 0 of the item table is padding.
        values = values[1:] if isinstance(layer, ItemTable) else values
        zeros[layer.name], sizes[layer.name] = int((values == 0).sum()), values.size
    shares = {name: round(zeros[name] / sizes[name], 4) for name in zeros}
    return {**shares, "total": round(sum(zeros.values()) / max(1, sum(sizes.values())), 4)}
