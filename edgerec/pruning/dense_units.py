"""The units of a ranking model's dense layers, and how they are cut out."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgerec.pruning.units import Slice, UnitGroup
from edgerec.rankers import RankingModel


def dense_groups(model: RankingModel, kinds: Sequence[str]) -> list[UnitGroup]:
    """The hidden units of each dense layer, layer by layer, if ``kinds`` has ``hidden``."""
    groups = []
    widths = model.architecture.hidden if "hidden" in kinds else ()
    for number, width in enumerate(widths):
        own, reader = f"dense_{number}", f"dense_{number + 1}" if number + 1 < len(widths) else "score"
        places = [(own, 0, 1, False), (own, 1, 0, False), (reader, 0, 0, True)]
        slices = [
            Slice(layer, place, model.network.get_layer(layer).weights[place], axis, output=output)
            for layer, place, axis, output in places
        ]
        groups.append(UnitGroup(f"hidden_{number}", "hidden", width, tuple(slices)))
    return groups


def cut_dense(model: RankingModel, groups: Sequence[UnitGroup], kept: Mapping[str, np.ndarray]) -> RankingModel:
    """A smaller model. Where the removed units contribute nothing, the scores stay as they were.

    Args:
        kept: by group name the indices of the units that are left, int [≤ units], rising.

    Raises:
        ValueError: a layer would lose all its units.
    """
    if empty := [group.name for group in groups if not len(kept[group.name])]:
        raise ValueError(f"no unit of {', '.join(empty)} would be left")
    weights = {layer.name: layer.get_weights() for layer in model.network.layers if layer.weights}
    for group in groups:
        for part in group.slices:
            assert part.axis is not None
            values = weights[part.layer]
            values[part.place] = np.take(values[part.place], kept[group.name], axis=part.axis)
    smaller = model.with_hidden(tuple(len(kept[group.name]) for group in groups))
    for name, values in weights.items():
        smaller.network.get_layer(name).set_weights(values)
    return smaller
