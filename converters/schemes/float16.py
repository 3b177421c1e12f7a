"""Weights as float16, widened to float32 when the model is loaded."""

from typing import Any

from converters.schemes.scheme import SCHEMES, Scheme


def configure(converter: Any) -> None:
    """Store weights as float16."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


SCHEMES.register(
    "float16",
    Scheme(
        "float16", "float16 weights", __name__, configure,
        least={"overlap@10": 0.98, "worst_overlap@10": 0.5, "kendall_tau": 0.99}, most={"score_error": 0.02},
        stored_bits=16,
    ),
)  # fmt: skip
