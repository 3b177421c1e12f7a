"""Weights in 8 bits that are widened to float32 when the file is loaded: a small file for every runtime, whose
activations are not rounded, at the memory and the time of float32.
"""

from converters.schemes.float32 import configure
from converters.schemes.scheme import SCHEMES, Scheme
from converters.storage import Storage

SCHEMES.register(
    "int8-weights",
    Scheme(
        "int8-weights", "int8 weights, computed in float32", __name__, configure,
        least={"overlap@10": 0.8, "kendall_tau": 0.9}, most={"score_error": 0.3},
        storage=Storage(table=8, kernels=8, by_row=False), widen=True,
    ),
)  # fmt: skip
