"""Quantization-aware fine-tuning: every step computes with the weights that the file will have, and changes those
behind them (straight-through estimator, Bengio et al. 2013; Jacob et al., CVPR 2018).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from converters.flatbuffer.row_scales import coarse
from converters.grids import nearest_grid
from converters.storage import Storage
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.layers import ItemTable
from edgerec.training.hooks import Hook


@dataclass(frozen=True)
class _Rounded:
    """A weight that is rounded.

    Attributes:
        variable: what is trained.
        table: the item table if the weight is its own: what is rounded are its vectors, which may have a part from item
            features that is not changed by rounding.
        bits: of the grid.
        axis: along which there is a scale for each entry; ``None``: one for all.
        scales: of the grid, float32, broadcast against the weight.
        mask: 0 where the weight was pruned, else 1.
        kept: the weight that is behind the rounded one.
    """

    variable: tf.Variable
    table: ItemTable | None
    bits: int
    axis: int | None
    scales: tf.Variable
    mask: tf.Tensor
    kept: tf.Variable

    def values(self) -> tf.Tensor:
        return self.table.vectors() if self.table is not None else tf.convert_to_tensor(self.variable)

    def fit(self) -> None:
        """Choose the scales anew."""
        values = self.values().numpy()
        by_row = np.moveaxis(values, self.axis, 0) if self.axis else values
        scales = nearest_grid(by_row, self.bits, self.axis is not None)[1]
        if self.table is not None and self.axis is not None:  # in the file these are bytes
            rows, step = coarse(scales)
            scales = rows * step
        self.scales.assign(np.reshape(scales, self.scales.shape))

    def rounded(self) -> tf.Tensor:
        most = 2.0 ** (self.bits - 1) - 1
        values = self.values()
        on_grid = self.scales * tf.clip_by_value(tf.round(values / self.scales), -most, most)
        return (self.variable + (on_grid - values)) * self.mask


class QuantizationAware(Hook):
    """Rounds the item table and the kernels of a recommender to the grids that ``storage`` stores.

    Biases and norms stay as they are. Weights that pruning set to zero stay zero. The scales are chosen anew after each
    epoch for the weights that would be kept, by the smallest squared error.

    Args:
        bits: by layer, in place of those that ``storage`` says.
    """

    def __init__(self, recommender: SequenceRecommender, storage: Storage, bits: Mapping[str, int]) -> None:
        self._weights = [
            _weight_of(layer, variable, storage, bits.get(layer.name))
            for layer in recommender.network.layers
            for variable in _rounded_variables(layer)
        ]

    def variables(self) -> list[tf.Variable]:
        return [variable for weight in self._weights for variable in (weight.scales, weight.kept)]

    def before_step(self) -> None:
        for weight in self._weights:
            weight.kept.assign(weight.variable)
            weight.variable.assign(weight.rounded())

    def after_gradients(self) -> None:
        for weight in self._weights:
            weight.variable.assign(weight.kept)

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        trained = [weight.variable.numpy() for weight in self._weights]
        for weight in self._weights:
            weight.fit()
            weight.variable.assign(weight.rounded())
        try:
            yield
        finally:
            for weight, value in zip(self._weights, trained, strict=True):
                weight.variable.assign(value)


def _rounded_variables(layer: keras.layers.Layer) -> list[tf.Variable]:
    if isinstance(layer, PrunableLayer):
        return list(layer.get_prunable_weights())
    return [layer.kernel] if hasattr(layer, "kernel") else []


def _weight_of(layer: keras.layers.Layer, variable: tf.Variable, storage: Storage, bits: int | None) -> _Rounded:
    table = layer if isinstance(layer, ItemTable) else None
    # The rows of the table, and the output channels of a kernel.
    axis = (0 if storage.by_row else None) if table is not None else len(variable.shape) - 1
    shape = [1] * len(variable.shape)
    if axis is not None:
        shape[axis] = variable.shape[axis]
    values = variable.numpy()
    weight = _Rounded(
        variable,
        table,
        bits or (storage.table if table is not None else storage.kernels),
        axis,
        tf.Variable(tf.ones(shape), trainable=False),
        tf.constant((values != 0).astype(np.float32)) if (values == 0).mean() > 0.05 else tf.constant(1.0),
        tf.Variable(variable, trainable=False),
    )
    weight.fit()
    return weight
