"""Which layers can be pruned, and how many of their weights are zero."""

import numpy as np
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from edgerec.rankers import RankingModel
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.layers import ItemTable


def is_target(layer: keras.layers.Layer, target: str) -> bool:
    """Whether ``prune.target`` (``network``, ``item_table`` or ``all``) names this layer."""
    if isinstance(layer, ItemTable):
        return target in ("item_table", "all")
    return isinstance(layer, keras.layers.Dense | PrunableLayer) and target in ("network", "all")


def sparsity(recommender: SequenceRecommender | RankingModel) -> dict[str, float]:
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


def parameters(recommender: SequenceRecommender | RankingModel) -> dict[str, int]:
    """How many parameters the network has: ``total``, and ``nonzero`` of them."""
    weights = recommender.network.get_weights()
    total, nonzero = sum(values.size for values in weights), sum(int(np.count_nonzero(values)) for values in weights)
    return {"total": total, "nonzero": nonzero}
