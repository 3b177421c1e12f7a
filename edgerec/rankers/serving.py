"""A ranking model as it is served: the signature of the ranking contract around it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from converters.convert_ranking import RankingFeatures
from converters.servable import Table
from converters.weights import ITEM_TABLE
from device_runner.contract import Outputs, Ranking
from edgerec.rankers.inputs import ITEM, InputFeature
from edgerec.rankers.layers import Lookup
from edgerec.rankers.ranker import RankingModel
from edgerec.rankers.tiles import TiledDense, without_zero_tiles


class ServedRanker:
    """A :class:`converters.servable.Servable`: the inputs of one request with ``candidates`` candidates in, ``scores``
    out, with static shapes. Candidates do not influence each other.
    """

    def __init__(self, model: RankingModel, candidates: int) -> None:
        self.model = model
        self.contract = Ranking(candidates, model.architecture.inputs.dtypes())
        self._network = without_zero_tiles(model.network)
        self.module = tf.Module()
        # The weights alone: with the layers, Keras would trace each of them for training as well.
        self.module.weights = self._network.weights
        self.signatures: dict[str, Any] = {"score": tf.function(self._score, self._specs())}

    @property
    def tables(self) -> tuple[Table, ...]:
        """The table of item vectors."""
        table = self._item_table()
        return () if table is None else (Table("item_table", tuple(table.shape)),)

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """The item table, and the kernels of all dense layers, by layer name; of layers in tiles each piece."""
        table = self._item_table()
        found = {} if table is None else {ITEM_TABLE: table}
        for layer in self._network.layers:
            if isinstance(layer, keras.layers.Dense):
                found[layer.name] = layer.kernel.numpy()
            elif isinstance(layer, TiledDense):
                found |= {f"{layer.name}_{n}": piece[1].numpy() for n, piece in enumerate(layer.pieces)}
        return found

    def reference(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """The Keras model's ``scores`` float32 [n, C] for cases, each input by name [n, …]."""
        score, count = tf.function(self.model.scores, self._specs()), len(next(iter(inputs.values())))
        lines = [score(*(tf.constant(inputs[name][n]) for name in self.contract.inputs)) for n in range(count)]
        return {"scores": np.stack([line.numpy() for line in lines])}

    def shape_of(self, feature: InputFeature) -> tuple[int, ...]:
        """The shape of a feature's input."""
        lines = self.contract.candidates if feature.of in ("item", "retrieval") else 1
        return (lines, feature.size) if feature.size else (lines,)

    def _specs(self) -> list[tf.TensorSpec]:
        inputs = self.model.architecture.inputs
        shapes = {ITEM: (self.contract.candidates,), **{one.input: self.shape_of(one) for one in inputs.all}}
        return [tf.TensorSpec(shapes[name], dtype, name=name) for name, dtype in self.contract.inputs.items()]

    def _score(self, *inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": self.model.scores(*inputs, network=self._network)}

    def _item_table(self) -> np.ndarray | None:
        layers = [layer for layer in self.model.network.layers if layer.name == "item_table"]
        return layers[0].table.numpy() if layers and isinstance(layers[0], Lookup) else None


def ranking_features(model: RankingModel, items: Mapping[str, np.ndarray]) -> RankingFeatures:
    """What the bundle of a model says of its features.

    Args:
        items: by input the encoded values of each item row, with row 0 (see ``RowInputs.items``).
    """
    inputs = model.architecture.inputs
    low, high = model.limits
    middle = {feature.input: (feature.mean, feature.std) for feature in inputs.all if feature.type == "number"}
    middle |= {feature.input: ((low + high) / 2, (high - low) / 2) for feature in inputs.history[1:]}
    values = {feature.name: _plain(feature, items[feature.input][1:]) for feature in inputs.of("item")}
    return RankingFeatures([feature.described() for feature in inputs.all], values, middle)


def _plain(feature: InputFeature, encoded: np.ndarray) -> list[Any]:
    """Values as ``item_values.json`` has them."""
    if feature.type == "number":
        return [None if np.isnan(value) else float(f"{value:.7g}") for value in encoded]
    if feature.type == "category":
        return [int(code) for code in encoded]
    return [[int(code) for code in line if code] for line in encoded]
