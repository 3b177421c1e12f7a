"""What a quantization scheme is. Each has a file of its own in this package, which registers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.registry import Registry
from converters.servable import Servable
from converters.storage import Storage, split_bytes
from converters.weights import ITEM_TABLE, Weights
from device_runner.backends import BACKENDS
from device_runner.contract import FIGURES

Step = Callable[[bytes], bytes]


def accept(servable: Servable) -> str | None:
    """The ``refusal`` of a scheme that converts everything."""
    return None


@dataclass(frozen=True)
class Scheme:
    """A way to store the weights.

    Attributes:
        name: in recipes and manifests.
        title: for people.
        module: the module that registers it, which the conversion imports in a process of its own.
        configure: sets up the ``tf.lite.TFLiteConverter`` that makes the first flatbuffer.
        storage: the integers that weights are then put on, with dynamic-range computing; ``None``: the converter's own
            types stay. Either way, what no runtime reads is taken out.
        widen: whether the integers are widened to float32 when the file is loaded, instead of computed with.
        stored_bits: of a weight of the item table, without ``storage``.
        calibrated: whether dense layers are computed with integers whose ranges were measured (see
            ``converters.calibration``).
        steps: what is done to the flatbuffer after that, in order.
        runtimes: those that can run it; verification decides whether a file claims them.
        least, most: limits of agreement with the Keras model, by figure of the contract. A file beyond them is broken,
            not merely rounded: broken combinations give zeros or noise without any error.
        refusal: why a model cannot be converted by this scheme, ``None`` if it can; asked before conversion.
    """

    name: str
    title: str
    module: str
    configure: Callable[[Any], None]
    least: Mapping[str, float]
    most: Mapping[str, float]
    storage: Storage | None = None
    stored_bits: int = 32
    widen: bool = False
    calibrated: bool = False
    steps: tuple[Step, ...] = ()
    runtimes: tuple[str, ...] = field(default_factory=lambda: tuple(BACKENDS))
    refusal: Callable[[Servable], str | None] = accept

    def __post_init__(self) -> None:
        if unknown := {*self.least, *self.most} - FIGURES:
            raise ValueError(f"scheme {self.name}: no contract has the figures {', '.join(sorted(unknown))}")

    @property
    def table_bits(self) -> int:
        """Bits of a weight of the item table in the file."""
        return self.storage.table if self.storage else self.stored_bits

    def check(self, servable: Servable) -> str | None:
        """Why the model cannot be converted by this scheme; ``None`` if it can."""
        if self.storage and ITEM_TABLE in servable.kernels:
            width = servable.kernels[ITEM_TABLE].shape[1]
            if reason := split_bytes(width, self.storage.table):
                return reason
            if self.storage.block and width % self.storage.block:
                return f"its blocks have {self.storage.block} weights; make model.dim, now {width}, a multiple of that"
        return self.refusal(servable)

    def build(self, saved_model: Path) -> bytes:
        """The flatbuffer, from a SavedModel with all its signatures (see :func:`converters.servable.save_model`). Needs
        TensorFlow.
        """
        import tensorflow as tf

        from converters.calibration import read_calibration
        from converters.flatbuffer.densify import densify
        from converters.flatbuffer.full_integer import full_integer
        from converters.flatbuffer.quantize import quantize
        from converters.flatbuffer.strip import strip

        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # no Flex op can slip in
        self.configure(converter)
        content: bytes = converter.convert()
        if self.storage:
            content = quantize(content, Weights.read(saved_model), self.storage, self.widen)
        if self.calibrated:
            content = full_integer(content, read_calibration(saved_model))
        content = strip(densify(content))
        for step in self.steps:
            content = step(content)
        return content

    def shortfall(self, agreement: Mapping[str, float]) -> str:
        """Which figure of agreement is beyond its limit, in words; ``""`` if none is. NaN is beyond every limit."""
        for limits, word in ((self.least, "at least"), (self.most, "at most")):
            for figure, limit in limits.items():
                if figure in agreement and not _within(agreement[figure], limit, word):
                    return f"{figure} against Keras is {agreement[figure]:.4g}; {self.name} needs {word} {limit:g}"
        return ""


def _within(value: float, limit: float, word: str) -> bool:
    return value >= limit if word == "at least" else value <= limit


SCHEMES: Registry[Scheme] = Registry("scheme")
