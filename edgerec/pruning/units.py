"""Units that can be removed from a model, with all the weights that belong to each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.cnn import WIDTH

# The group that is not of one block: the embedding dimensions, which are those of the residual stream.
DIMS = "dims"
BLOCKS = "blocks"

# Layer without the number of its block, place of the weight, axis, and what else its ``Slice`` is told.
Place = tuple[str, int, int, dict[str, Any]]


@dataclass(frozen=True)
class Slice:
    """The place of a group of units in one weight.

    Attributes:
        layer: name of its layer in the network.
        place: of the weight in ``layer.weights``.
        variable: the weight itself.
        axis: along which the units are; of blocks, whose weights are theirs alone, ``None``.
        parts: how many ranges of the units the axis has, one after the other (3 for the gates of a GRU).
        width: places of a unit in each range, side by side (those of an attention head).
        unit: which unit the whole weight belongs to, where ``axis`` is ``None``.
        output: whether the weight reads what the unit gives, so that scaling it scales the unit. It is then zero
            exactly where the unit contributes nothing.
        sized: whether a small weight means a small unit; not so for logarithms and angles.
    """

    layer: str
    place: int
    variable: tf.Variable
    axis: int | None
    parts: int = 1
    width: int = 1
    unit: int = 0
    output: bool = False
    sized: bool = True

    def places(self, units: np.ndarray, of: int) -> np.ndarray:
        """Where the units, int [n], of ``of`` are along the axis, int [parts × n × width]."""
        within = (units[:, None] * self.width + np.arange(self.width)).ravel()
        return np.concatenate([within + number * of * self.width for number in range(self.parts)])


@dataclass(frozen=True)
class UnitGroup:
    """Units of one kind, any of which can be removed.

    Attributes:
        name: kind and block, such as ``"feed_forward_0"``, or the kind alone: ``"dims"``, ``"blocks"``.
        kind: as ``prune.shares`` names it.
        units: how many there are.
        slices: all weights that they have a share in.
    """

    name: str
    kind: str
    units: int
    slices: tuple[Slice, ...]

    def sums(self, values: Callable[[Slice], np.ndarray], slices: Sequence[Slice]) -> np.ndarray:
        """For each unit the sum of ``values`` over its elements in ``slices``, float64 [units].

        Args:
            values: for each element of a slice's weight, in the shape of that weight.
        """
        total = np.zeros(self.units)
        for part in slices:
            array = np.asarray(values(part), np.float64)
            if part.axis is None:
                total[part.unit] += array.sum()
            else:
                by_place = np.moveaxis(array, part.axis, 0).reshape(part.parts, self.units, -1)
                total += by_place.sum(axis=(0, 2))
        return total

    def spread(self, of_units: np.ndarray, part: Slice) -> np.ndarray:
        """A value of each unit, [units], at all its elements: of a shape that multiplies the slice's weight."""
        if part.axis is None:
            return np.asarray(of_units[part.unit])
        along = np.tile(np.repeat(of_units, part.width), part.parts)
        return along.reshape([-1 if axis == part.axis else 1 for axis in range(len(part.variable.shape))])

    @property
    def sized(self) -> list[Slice]:
        """The slices by which a unit can be called small."""
        return [part for part in self.slices if part.sized]

    @property
    def outputs(self) -> list[Slice]:
        """The slices that read what the units give."""
        return [part for part in self.slices if part.output]


def unit_groups(recommender: SequenceRecommender, kinds: Sequence[str]) -> list[UnitGroup]:
    """The groups of the kinds that the encoder has, block by block.

    ``dims`` are the dimensions of item vectors and of the residual stream, ``feed_forward`` the units of the
    feed-forward layers, ``state`` those of a recurrent state (gru; complex channels of lru), ``heads`` whole attention
    heads (sasrec, where there are several), ``blocks`` whole residual blocks (where there are several).
    """
    shape = recommender.architecture
    groups = []
    places: list[Place]
    if "dims" in kinds:
        groups.append(UnitGroup(DIMS, "dims", shape.dim, tuple(_dims(recommender))))
    for number, block in enumerate(shape.blocks):
        if "feed_forward" in kinds:
            places = [("widen", 0, 1, {}), ("widen", 1, 0, {}), ("narrow", 0, 0, {"output": True})]
            groups.append(_group(recommender, "feed_forward", number, block.feed_forward, places))
        if "state" in kinds and shape.encoder == "gru":
            places = [
                ("gates", 0, 1, {"parts": 3}), ("gates", 1, 0, {"parts": 3}), ("recurrence", 0, 0, {}),
                ("recurrence", 0, 1, {"parts": 3}), ("recurrence", 1, 0, {}), ("mixed", 0, 0, {"output": True}),
            ]  # fmt: skip
            groups.append(_group(recommender, "state", number, block.mixer, places))
        if "state" in kinds and shape.encoder == "lru":
            places = [
                ("channels", 0, 1, {"parts": 2}), ("channels", 1, 0, {"parts": 2}),
                *(("recurrence", place, 0, {"sized": False}) for place in range(3)),
                ("mixed", 0, 0, {"parts": 2, "output": True}),
            ]  # fmt: skip
            groups.append(_group(recommender, "state", number, block.mixer, places))
        if "heads" in kinds and block.heads > 1:
            head = {"width": block.mixer // block.heads}
            places = [(name, place, 1 - place, head) for name in ("query", "key", "value") for place in range(2)]
            places += [("attention", 0, 0, {"sized": False}), ("mixed", 0, 0, {**head, "output": True})]
            groups.append(_group(recommender, "heads", number, block.heads, places))
    if "blocks" in kinds and len(shape.blocks) > 1:
        groups.append(UnitGroup(BLOCKS, "blocks", len(shape.blocks), tuple(_blocks(recommender))))
    return groups


def writers(recommender: SequenceRecommender) -> Iterator[tuple[str, int]]:
    """Layers that add to the residual stream, with the number of their block."""
    mixer = {"cnn": "convolution", "mean": None}.get(recommender.architecture.encoder, "mixed")
    for number in range(len(recommender.architecture.blocks)):
        yield f"narrow_{number}", number
        if mixer:
            yield f"{mixer}_{number}", number


def norms(recommender: SequenceRecommender) -> list[str]:
    """Names of all layers that normalise the residual stream; everything that reads it reads one of these."""
    return [layer.name for layer in recommender.network.layers if layer.name.startswith("norm_")]


def _group(
    recommender: SequenceRecommender,
    kind: str,
    block: int,
    units: int,
    places: Sequence[Place],
) -> UnitGroup:
    slices = [_slice(recommender, f"{layer}_{block}", place, axis, **more) for layer, place, axis, more in places]
    return UnitGroup(f"{kind}_{block}", kind, units, tuple(slices))


def _slice(recommender: SequenceRecommender, layer: str, place: int, axis: int | None, **more: Any) -> Slice:
    return Slice(layer, place, recommender.network.get_layer(layer).weights[place], axis, **more)


def _dims(recommender: SequenceRecommender) -> Iterator[Slice]:
    shape = recommender.architecture
    for place in range(len(recommender.item_table.weights)):
        yield _slice(recommender, "item_table", place, 1)
    if shape.encoder == "sasrec":
        yield _slice(recommender, "positions", 0, 1)
    for name in norms(recommender):
        for place in range(2):  # scale and shift
            yield _slice(recommender, name, place, 0, output=True, sized=False)
    for name, _ in writers(recommender):
        yield _slice(recommender, name, 0, 1)
        yield _slice(recommender, name, 1, 0)
    readers = {"gru": ["gates"], "lru": ["channels"], "sasrec": ["query", "key", "value"], "cnn": ["convolution"]}
    for number in range(len(shape.blocks)):
        yield _slice(recommender, f"widen_{number}", 0, 0)
        for name in readers.get(shape.encoder, []):
            yield _slice(recommender, f"{name}_{number}", 0, 0, parts=WIDTH if name == "convolution" else 1)


def _blocks(recommender: SequenceRecommender) -> Iterator[Slice]:
    giving = dict(writers(recommender))
    for layer in recommender.network.layers:
        *_, number = layer.name.rpartition("_")
        if number.isdigit():
            for place in range(len(layer.weights)):
                yield _slice(
                    recommender, layer.name, place, None, unit=int(number), output=layer.name in giving,
                    sized=isinstance(layer, keras.layers.Dense) or layer.name in giving,
                )  # fmt: skip
