"""Weights as they were trained."""

from typing import Any

from converters.schemes.scheme import SCHEMES, Scheme


def configure(converter: Any) -> None:
    """Nothing to set: float32 is the converter's default."""


SCHEMES.register(
    "float32",
    Scheme(
        "float32", "float32", __name__, configure,
        least={"overlap@10": 0.999, "worst_overlap@10": 0.7, "kendall_tau": 0.999}, most={"score_error": 1e-3},
    ),
)  # fmt: skip
