"""Cuts units out of a model: its dense shapes get smaller, and the rest stays as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgerec.pruning.units import UnitGroup
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.architecture import Architecture

# Name of a unit group's kind -> the width of ``Block`` that it is.
WIDTHS = {"feed_forward": "feed_forward", "state": "mixer"}


def cut(
    recommender: SequenceRecommender, groups: Sequence[UnitGroup], kept: Mapping[str, np.ndarray]
) -> SequenceRecommender:
    """A smaller recommender; it saves, loads and exports like any other.

    Args:
        groups: what is cut.
        kept: by group name the indices of the units that are left, int [≤ units], rising.

    Raises:
        ValueError: a group would lose all its units.
    """
    if empty := [group.name for group in groups if not len(kept[group.name])]:
        raise ValueError(f"no unit of {', '.join(empty)} would be left")
    smaller = recommender.reshaped(_narrowed(recommender.architecture, kept))
    weights = {layer.name: layer.get_weights() for layer in recommender.network.layers if layer.weights}
    for group in groups:
        for part in group.slices:
            where = np.concatenate([kept[group.name] + number * group.units for number in range(part.parts)])
            values = weights[part.layer]
            values[part.place] = np.take(values[part.place], where, axis=part.axis)
    for name, values in weights.items():
        smaller.network.get_layer(name).set_weights(values)
    return smaller


def _narrowed(architecture: Architecture, kept: Mapping[str, np.ndarray]) -> Architecture:
    blocks = list(architecture.blocks)
    for name, units in kept.items():
        kind, _, number = name.rpartition("_")
        blocks[int(number)] = replace(blocks[int(number)], **{WIDTHS[kind]: len(units)})
    return replace(architecture, blocks=tuple(blocks))
