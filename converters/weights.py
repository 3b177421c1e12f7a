"""Which weight belongs to which layer: written beside a SavedModel, because a converted graph no longer says."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILE = "edgerec-weights.json"
# The name of the layer that holds the item vectors.
ITEM_TABLE = "item_table"


@dataclass(frozen=True)
class Weights:
    """Layers by the content of their weights.

    Attributes:
        layers: names by sha256 of the float32 values, as they are in Keras and transposed, as they are in TFLite.
        bits: by layer name, in place of those of the scheme.
    """

    layers: Mapping[str, str]
    bits: Mapping[str, int]

    @classmethod
    def of_kernels(cls, kernels: Mapping[str, np.ndarray], bits: Mapping[str, int]) -> "Weights":
        """From float32 kernels of two axes by layer name.

        Raises:
            ValueError: ``bits`` names a layer that is not among them.
        """
        if unknown := [name for name in bits if name not in kernels]:
            raise ValueError(f"the model has no layer {', '.join(unknown)}; its layers are {', '.join(kernels)}")
        layers = {digest(values): name for name, kernel in kernels.items() for values in (kernel, kernel.T)}
        return cls(layers, bits)

    def layer(self, values: np.ndarray) -> str | None:
        """The layer of float32 values; ``None`` if they are none's."""
        return self.layers.get(digest(values))

    def write(self, folder: Path) -> None:
        """Write it into the folder of a SavedModel."""
        (folder / FILE).write_text(json.dumps({"layers": dict(self.layers), "bits": dict(self.bits)}))

    @classmethod
    def read(cls, folder: Path) -> "Weights":
        """Read what ``write`` wrote; without it, no weight has a name."""
        if not (folder / FILE).is_file():
            return cls({}, {})
        saved = json.loads((folder / FILE).read_text())
        return cls(saved["layers"], saved["bits"])


def digest(values: np.ndarray) -> str:
    """sha256 of float32 values in the order of their rows, whatever their shape."""
    return hashlib.sha256(np.ascontiguousarray(values, np.float32).tobytes()).hexdigest()
