"""Quantization schemes: how a scheme is converted, and on which runtimes it may be verified."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RUNTIMES = ("litert", "tflite-runtime")


@dataclass(frozen=True)
class Scheme:
    """A way to store the weights.

    Attributes:
        title: for people.
        runtimes: those that can run it; verification decides whether a file claims them.
        min_overlap: least mean top-10 overlap with the Keras model for a file to be accepted. Below it something is
            broken rather than rounded (facts: broken combinations give all zeros or noise).
        configure: sets a ``tf.lite.TFLiteConverter`` up.
    """

    title: str
    runtimes: tuple[str, ...]
    min_overlap: float
    configure: Callable[[Any], None]


def _float32(converter: Any) -> None:
    pass


def _float16(converter: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _int8(converter: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # Per-channel would write FULLY_CONNECTED version 12, which tflite-runtime refuses, and store the tied item
    # table twice (once per-tensor for the lookup, once per-channel for the scores).
    converter._experimental_disable_per_channel = True


SCHEMES = {
    "float32": Scheme("float32", RUNTIMES, 0.999, _float32),
    "float16": Scheme("float16 weights", RUNTIMES, 0.98, _float16),
    "int8": Scheme("int8 dynamic range, per tensor", RUNTIMES, 0.80, _int8),
}
