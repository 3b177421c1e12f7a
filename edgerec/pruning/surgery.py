"""Cuts units out of a model: its dense shapes get smaller, and the rest stays as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgerec.pruning.units import BLOCKS, DIMS, UnitGroup, norms, writers
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.cnn import WIDTH

Weights = dict[str, list[np.ndarray]]


def cut(
    recommender: SequenceRecommender, groups: Sequence[UnitGroup], kept: Mapping[str, np.ndarray]
) -> SequenceRecommender:
    """A smaller recommender; it saves, loads and exports like any other.

    Where the removed units contribute nothing, the scores stay as they were. Of a dimension this asks that it is zero
    in all that is added to the residual stream, and that the others have mean zero: a norm subtracts the mean over all.

    Args:
        groups: what is cut.
        kept: by group name the indices of the units that are left, int [≤ units], rising.

    Raises:
        ValueError: a group would lose all its units.
    """
    if empty := [group.name for group in groups if not len(kept[group.name])]:
        raise ValueError(f"no unit of {', '.join(empty)} would be left")
    weights: Weights = {layer.name: layer.get_weights() for layer in recommender.network.layers if layer.weights}
    if DIMS in kept:
        _rescale(recommender, weights, kept[DIMS])
    for group in groups:
        for part in group.slices:
            if part.axis is not None:
                values = weights[part.layer]
                places = part.places(kept[group.name], group.units)
                values[part.place] = np.take(values[part.place], places, axis=part.axis)
    if BLOCKS in kept:
        weights = _without_blocks(weights, kept[BLOCKS])
    smaller = recommender.reshaped(narrowed(recommender.architecture, groups, kept))
    for name, values in weights.items():
        smaller.network.get_layer(name).set_weights(values)
    return smaller


def narrowed(architecture: Architecture, groups: Sequence[UnitGroup], kept: Mapping[str, np.ndarray]) -> Architecture:
    """The architecture with only the kept units, by group name."""
    blocks = list(architecture.blocks)
    dim = len(kept[DIMS]) if DIMS in kept else architecture.dim
    for group in groups:
        if group.name in (DIMS, BLOCKS):
            continue
        number, left = int(group.name.rpartition("_")[2]), len(kept[group.name])
        block = blocks[number]
        if group.kind == "feed_forward":
            blocks[number] = replace(block, feed_forward=left)
        elif group.kind == "state":
            blocks[number] = replace(block, mixer=left)
        else:
            blocks[number] = replace(block, heads=left, mixer=left * block.mixer // block.heads)
    if architecture.encoder in ("mean", "cnn"):
        blocks = [replace(block, mixer=dim) for block in blocks]
    if BLOCKS in kept:
        if architecture.encoder == "cnn":  # each keeps the dilation that it was trained with
            blocks = [replace(b, dilation=b.dilation or WIDTH**number) for number, b in enumerate(blocks)]
        blocks = [blocks[number] for number in kept[BLOCKS]]
    return replace(architecture, dim=dim, blocks=tuple(blocks))


def _rescale(recommender: SequenceRecommender, weights: Weights, dims: np.ndarray) -> None:
    """Make up for what the norms and the item table compute from the number of dimensions, d before and d' after.

    A lookup is multiplied with √d' instead of √d. So everything else that is added to the residual stream is scaled by
    √(d'/d) too; the norms, through which all of it is read, do not see the scale.

    A norm divides by the root of the mean square over the dimensions. Dimensions smaller than the average, such as
    those that are zero, made that mean smaller, so without them its scale has to grow with what is missing. The item
    vectors tell how large the dimensions are.
    """
    shrunk = np.float32((len(dims) / recommender.architecture.dim) ** 0.5)
    for name, _ in writers(recommender):
        weights[name] = [values * shrunk for values in weights[name]]
    if "positions" in weights:
        weights["positions"] = [values * shrunk for values in weights["positions"]]
    squares = (recommender.item_vectors().numpy()[1:] ** 2).mean(axis=0)
    if squares.mean() > 0 and squares[dims].mean() > 0:
        grown = np.float32((squares[dims].mean() / squares.mean()) ** 0.5)
        for name in norms(recommender):
            gamma, beta = weights[name]
            weights[name] = [gamma * grown, beta]


def _without_blocks(weights: Weights, kept: np.ndarray) -> Weights:
    """The weights under the names that their layers have when only the kept blocks are there."""
    left = {}
    for name, values in weights.items():
        kind, _, number = name.rpartition("_")
        if not number.isdigit():
            left[name] = values
        elif int(number) in kept:
            left[f"{kind}_{list(kept).index(int(number))}"] = values
    return left
