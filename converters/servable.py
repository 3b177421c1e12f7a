"""What can be converted: a Keras model with its serving contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from device_runner.contract import Outputs, Ranking, Retrieval
from device_runner.errors import EdgeRecError, plain_reason

if TYPE_CHECKING:
    import numpy as np


# Names of the TFLite types of trained weights, and of tables that were counted.
TRAINED = ("FLOAT32", "FLOAT16", "INT8", "INT4")
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

    def reference(self, inputs: "np.ndarray") -> Outputs:
        """What the Keras model gives for the inputs of verification, as the contract's ``agreement`` compares it."""


def save_model(servable: Servable, folder: Path) -> None:
    """Write the SavedModel that every scheme is converted from.

    Raises:
        EdgeRecError: the disk is full, or the folder cannot be written.
    """
    import tensorflow as tf

    try:
        tf.saved_model.save(servable.module, str(folder), signatures=dict(servable.signatures))
    except tf.errors.OpError as error:
        raise EdgeRecError(f"{folder}: the model cannot be written: {plain_reason(error)}") from None
