"""Dynamic-range quantization, one scale a tensor: runs on every runtime."""

from typing import Any

from converters.schemes.scheme import SCHEMES, Scheme


def configure(converter: Any) -> None:
    """Quantize weights to int8, per tensor."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # Per-channel would write FULLY_CONNECTED version 12, which tflite-runtime refuses, and store the tied item
    # table twice (once per-tensor for the lookup, once per-channel for the scores).
    converter._experimental_disable_per_channel = True


SCHEMES.register(
    "int8",
    Scheme(
        "int8", "int8 dynamic range, per tensor", __name__, configure,
        least={"overlap@10": 0.8, "kendall_tau": 0.9}, most={"score_error": 0.5}, stored_bits=8,
    ),
)  # fmt: skip
