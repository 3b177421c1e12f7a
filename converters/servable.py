"""What can be converted: a Keras model with its serving contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Union

from converters.calibration import write_calibration
from converters.weights import Weights
from device_runner.contract import Outputs, Ranking, Retrieval
from device_runner.errors import EdgeRecError, plain_reason

if TYPE_CHECKING:
    import numpy as np


# What a file is verified on, n cases: padded histories int32 [n, L] for retrieval; for ranking each input of ``score``
# by # name, [n, …].
Cases = Union["np.ndarray", Mapping[str, "np.ndarray"]]

# Names of the TFLite types of trained weights, and of tables that were counted.
TRAINED = ("FLOAT32", "FLOAT16", "INT8", "INT4", "INT2")
COUNTED = ("UINT8", "INT16", "INT32")


@dataclass(frozen=True)
class Table:
    """A large constant that must be stored only once in the file, or several of the same shape.

    Attributes:
        name: in reports, such as ``"item_table"``.
        shape: its rows and columns.
        types: names of its possible types in the file.
    """

    name: str
    shape: tuple[int, ...]
    types: tuple[str, ...] = TRAINED


class Servable(Protocol):
    """A model that can be converted, for retrieval and ranking alike.

    Attributes:
        module: the ``tf.Module`` that holds the variables.
    """

    module: Any

    @property
    def contract(self) -> Retrieval | Ranking:
        """The names and sizes of the signatures."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """A ``tf.function`` with static shapes for each name in ``contract.signatures``."""

    @property
    def tables(self) -> Sequence[Table]:
        """Large constants that conversion must not copy, checked after it."""

    @property
    def kernels(self) -> Mapping[str, "np.ndarray"]:
        """Weights float32 of two axes by layer name, that of the item table being ``converters.weights.ITEM_TABLE``."""

    def reference(self, inputs: Any) -> Outputs:
        """What the Keras model gives for the cases of verification (see ``Cases``), as the contract's ``agreement``
        compares it.
        """


def save_model(
    servable: Servable,
    folder: Path,
    bits: Mapping[str, int] = MappingProxyType({}),
    calibration: Mapping[str, "np.ndarray"] = MappingProxyType({}),
) -> None:
    """Write the SavedModel that every scheme is converted from, and which weight belongs to which layer.

    Args:
        bits: by layer name, in place of those of a scheme with few bits.
        calibration: what schemes of integers alone are measured on: inputs by name, [n, …].

    Raises:
        EdgeRecError: ``bits`` names an unknown layer.
        EdgeRecError: the disk is full, or the folder cannot be written.
    """
    import tensorflow as tf

    try:
        weights = Weights.of_kernels(servable.kernels, bits)
    except ValueError as error:
        raise EdgeRecError(f"bits: {error}") from None
    try:
        tf.saved_model.save(servable.module, str(folder), signatures=dict(servable.signatures))
        weights.write(folder)
        write_calibration(folder, calibration)
    except (tf.errors.OpError, OSError) as error:
        raise EdgeRecError(f"{folder}: the model cannot be written: {plain_reason(error)}") from None
