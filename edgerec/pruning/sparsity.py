"""Which layers can be pruned, and how many of their weights are zero."""

import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.layers import ItemTable


def is_target(layer: keras.layers.Layer, target: str) -> bool:
    """Whether ``prune.target`` (``network``, ``item_table`` or ``all``) names this layer."""
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
