"""Incremental quantization (Zhou et al., ICLR 2017): fine-tuning that ends with all weights on the grid of the file.

The usual way, to compute with rounded weights and to pass their gradients on to those behind them (straight-through
estimator), lost more than rounding after training did: weights came to swing between two levels of a 4-bit grid.
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

# Of each weight's values, the share that is fixed in each epoch but the last ones, in which all are.
SHARES = (0.5, 0.75, 0.87, 0.94, 0.98)


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
        fixed: bool, which of the weight's values stay as they are.
        values: what these are.
    """

    variable: tf.Variable
    table: ItemTable | None
    bits: int
    axis: int | None
    scales: np.ndarray
    fixed: tf.Variable
    values: tf.Variable

    def fix(self, share: float) -> None:
        """Round a share of the values, those nearest to their grid."""
        now = self._values().numpy()
        rounded = self._rounded(now)
        distance = np.where(self.fixed.numpy(), -1.0, np.abs(now - rounded))
        chosen = distance <= np.quantile(distance, share) if share < 1 else np.ones(now.shape, bool)
        new = chosen & ~self.fixed.numpy()
        self.values.assign(np.where(new, rounded, self.values.numpy()))
        self.fixed.assign(self.fixed.numpy() | chosen)
        self.hold()

    def hold(self) -> None:
        """Put back the values that are fixed."""
        behind = self._values() - self.variable if self.table is not None else 0.0
        self.variable.assign(tf.where(self.fixed, self.values - behind, self.variable))

    def _values(self) -> tf.Tensor:
        return self.table.vectors() if self.table is not None else tf.convert_to_tensor(self.variable)

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        most = 2.0 ** (self.bits - 1) - 1
        return self.scales * np.clip(np.rint(values / self.scales), -most, most)


class IncrementalQuantization(Hook):
    """Rounds the item table and the kernels of a recommender to the grids that ``storage`` stores, step by step.

    At the start and after each epoch, a further share of every weight's values is rounded and fixed: those that are
    nearest to their grid. The values that are left, biases and norms make up for the error, until nothing else is left.
    Values that pruning set to zero are on every grid, and stay.

    Args:
        bits: by layer, in place of those that ``storage`` says.
    """

    def __init__(self, recommender: SequenceRecommender, storage: Storage, bits: Mapping[str, int]) -> None:
        self._weights = [
            _weight_of(layer, variable, storage, bits.get(layer.name))
            for layer in recommender.network.layers
            for variable in _rounded_variables(layer)
        ]
        self._done = tf.Variable(0, trainable=False)
        self._fix()

    def variables(self) -> list[tf.Variable]:
        return [self._done, *(variable for weight in self._weights for variable in (weight.fixed, weight.values))]

    def after_step(self, step: tf.Tensor) -> None:
        for weight in self._weights:
            weight.hold()

    def after_epoch(self) -> None:
        self._done.assign_add(1)
        self._fix()

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        for weight in self._weights:
            weight.hold()  # over averages, which lag behind
        yield

    def counts(self, epoch: int) -> bool:
        return epoch > len(SHARES)

    def _fix(self) -> None:
        done = int(self._done.numpy())
        for weight in self._weights:
            weight.fix(SHARES[done] if done < len(SHARES) else 1.0)


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
    values = (table.vectors() if table is not None else variable).numpy()
    by_row = np.moveaxis(values, axis, 0) if axis else values
    bits = bits or (storage.table if table is not None else storage.kernels)
    scales = nearest_grid(by_row, bits, axis is not None)[1]
    if table is not None and axis is not None:  # in the file these are bytes
        rows, step = coarse(scales)
        scales = rows * step
    return _Rounded(
        variable,
        table,
        bits,
        axis,
        scales.reshape(shape).astype(np.float32),
        tf.Variable(tf.zeros(values.shape, tf.bool), trainable=False),
        tf.Variable(tf.zeros(values.shape), trainable=False),
    )
