"""Finds operators in which tflite-runtime may crash on 64-bit ARM processors with dot products."""

import math

from converters.flatbuffer.graph import BUILTIN, TYPES, operators
from converters.flatbuffer.packing import read

# What /proc/cpuinfo calls the feature.
FEATURE = "asimddp"


def may_crash(content: bytes) -> bool:
    """Whether a model has a FULLY_CONNECTED of float32 inputs and int8 weights for which tflite-runtime 2.14 takes its
    kernel of four vectors at a time, by the conditions of ``NeonMatrixBatchVectorMultiplyAccumulate`` in TensorFlow's
    neon_tensor_utils.cc. On an emulated Cortex-A76 it crashed in 5 of 12 such layers (4 or 20 vectors of 32 numbers to
    128 units, 8 vectors of 64 to 64), depending on where they lie in memory, and in none of 9 others.
    """
    for graph, operator in operators(read(content), BUILTIN.FULLY_CONNECTED):
        inputs, weights = (graph.tensors[place] for place in operator.inputs[:2])
        if inputs.type != TYPES.FLOAT32 or weights.type != TYPES.INT8:
            continue
        rows, columns = (int(size) for size in weights.shape)
        vectors = math.prod(int(size) for size in inputs.shape) // columns
        if columns % 16 or rows % 2 or rows < vectors:
            continue
        if vectors % 4 == 0 or (vectors >= 2 and rows * columns >= 128 * 128):
            return True
    return False
