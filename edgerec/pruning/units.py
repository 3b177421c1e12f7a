"""Units that can be removed from a model, with all the weights that belong to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from edgerec.recommenders import SequenceRecommender


@dataclass(frozen=True)
class Slice:
    """The place of a group of units in one weight.

    Attributes:
        layer: name of its layer in the network.
        place: of the weight in ``layer.weights``.
        variable: the weight itself.
        axis: along which the units are.
        parts: how many ranges of the units the axis has, one after the other (3 for the gates of a GRU).
    """

    layer: str
    place: int
    variable: tf.Variable
    axis: int
    parts: int = 1


@dataclass(frozen=True)
class UnitGroup:
    """Units of one layer, any of which can be removed.

    Attributes:
        name: kind and block, such as ``"feed_forward_0"``.
        units: how many there are.
        slices: all weights that they have a share in.
    """

    name: str
    units: int
    slices: tuple[Slice, ...]

    def weights_by_unit(self) -> Iterator[np.ndarray]:
        """The weights of each unit, float32 [units, n], slice by slice."""
        for part in self.slices:
            by_unit = np.moveaxis(part.variable.numpy(), part.axis, 0)
            by_unit = by_unit.reshape(part.parts, self.units, -1)
            yield np.moveaxis(by_unit, 0, 1).reshape(self.units, -1)


def unit_groups(recommender: SequenceRecommender, kinds: Sequence[str]) -> list[UnitGroup]:
    """The groups of the kinds ``feed_forward`` (all encoders) and ``state`` (gru), block by block."""
    groups = []
    for number, block in enumerate(recommender.architecture.blocks):
        if "feed_forward" in kinds:
            slices = _slices(recommender, [("widen", 0, 1, 1), ("widen", 1, 0, 1), ("narrow", 0, 0, 1)], number)
            groups.append(UnitGroup(f"feed_forward_{number}", block.feed_forward, slices))
        if "state" in kinds and recommender.architecture.encoder == "gru":
            places = [
                ("gates", 0, 1, 3), ("gates", 1, 0, 3), ("recurrence", 0, 0, 1), ("recurrence", 0, 1, 3),
                ("recurrence", 1, 0, 1), ("mixed", 0, 0, 1),
            ]  # fmt: skip
            groups.append(UnitGroup(f"state_{number}", block.mixer, _slices(recommender, places, number)))
    return groups


def _slices(
    recommender: SequenceRecommender, places: Sequence[tuple[str, int, int, int]], block: int
) -> tuple[Slice, ...]:
    def slice_of(layer: str, place: int, axis: int, parts: int) -> Slice:
        name = f"{layer}_{block}"
        return Slice(name, place, recommender.network.get_layer(name).weights[place], axis, parts)

    return tuple(slice_of(*place) for place in places)
