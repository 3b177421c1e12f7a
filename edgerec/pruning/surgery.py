"""Cuts units out of a model: its dense shapes get smaller, and the rest stays as it was."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgerec.pruning.units import UnitGroup
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.architecture import Architecture

# Name of a unit group's kind -> the width of ``Block`` that it is.
WIDTHS = {"feed_forward": "feed_forward", "state": "mixer"}


def cut(recommender: SequenceRecommender, plan: Mapping[UnitGroup, np.ndarray]) -> SequenceRecommender:
    """A smaller recommender with the units that ``plan`` keeps; it saves, loads and exports like any other.

    Args:
        plan: for each group the indices of the units that are kept, rising, at least one.

    Raises:
        ValueError: a group would lose all its units.
    """
    if empty := [group.name for group, kept in plan.items() if not len(kept)]:
        raise ValueError(f"no unit of {', '.join(empty)} would be left")
    smaller = recommender.reshaped(_narrowed(recommender.architecture, plan))
    weights = {layer.name: layer.get_weights() for layer in recommender.network.layers if layer.weights}
    for group, kept in plan.items():
        for part in group.slices:
            where = np.concatenate([kept + number * group.units for number in range(part.parts)])
            values = weights[part.layer]
            values[part.place] = np.take(values[part.place], where, axis=part.axis)
    for name, values in weights.items():
        smaller.network.get_layer(name).set_weights(values)
    return smaller


def _narrowed(architecture: Architecture, plan: Mapping[UnitGroup, np.ndarray]) -> Architecture:
    blocks = list(architecture.blocks)
    for group, kept in plan.items():
        kind, _, number = group.name.rpartition("_")
        blocks[int(number)] = replace(blocks[int(number)], **{WIDTHS[kind]: len(kept)})
    return replace(architecture, blocks=tuple(blocks))
