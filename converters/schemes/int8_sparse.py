"""Like ``int8``, with kernels that were pruned in blocks of 16 stored without their zeros. They are unpacked to float32
when the file is loaded (see ``converters.flatbuffer.densify`` why), so the file is smaller, and its memory is not.
"""

from typing import Any

import numpy as np

from converters.schemes import int8
from converters.schemes.scheme import SCHEMES, Scheme
from converters.servable import Servable
from converters.weights import ITEM_TABLE

BLOCK = 16
# The converter stores a kernel sparse from about this share of zeros on.
LEAST_ZEROS = 0.3


def configure(converter: Any) -> None:
    """Quantize weights to int8, per tensor, and store them without blocks of zeros."""
    import tensorflow as tf

    int8.configure(converter)
    converter.optimizations = [tf.lite.Optimize.DEFAULT, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]


def refuse_dense(servable: Servable) -> str | None:
    """Refuses a model of which no kernel was pruned in blocks."""
    kernels = {name: kernel for name, kernel in servable.kernels.items() if name != ITEM_TABLE}
    if any(zero_blocks(kernel) >= LEAST_ZEROS for kernel in kernels.values()):
        return None
    return f"no kernel has {LEAST_ZEROS:.0%} of its blocks of {BLOCK} x 1 weights zero; prune it in such blocks first"


def zero_blocks(kernel: np.ndarray) -> float:
    """Share of the blocks of 16 inputs of a kernel [in, out] that are all zero; 0 where the inputs are no multiple."""
    inputs, outputs = kernel.shape
    return 0.0 if inputs % BLOCK else float((kernel.reshape(-1, BLOCK, outputs) == 0).all(1).mean())


SCHEMES.register(
    "int8-sparse",
    Scheme(
        "int8-sparse", "int8 per tensor, without zero blocks", __name__, configure,
        least={"overlap@10": 0.8, "kendall_tau": 0.9}, most={"score_error": 0.5}, stored_bits=8, refusal=refuse_dense,
    ),
)  # fmt: skip
