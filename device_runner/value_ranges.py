"""Ranges of the whole numbers that a graph computes, as far as they follow from its constants, types and operators.

TFLite's kernels for SCATTER_ND and GATHER_ND compare an index with the shape only after they have multiplied and added
in 32 bits: tflite-runtime 2.14 writes to foreign memory for an index near 2^31. So what they read must be far from it.
"""

from collections.abc import Callable

import numpy as np

from device_runner.flatbuffer import BOOL, INT8, INT16, INT32, INT64, UINT8, Graph, Model, Operator

# The least and the largest value.
Range = tuple[int, int]
LEAST, LARGEST = -(2**31), 2**31 - 1
BY_TYPE: dict[int, Range] = {BOOL: (0, 1), UINT8: (0, 255), INT8: (-128, 127), INT16: (-(2**15), 2**15 - 1)}
# Operators that give values of some of their inputs: builtin code -> which inputs (none: all of them).
PASSED: dict[int, tuple[int, ...]] = {
    2: (), 22: (0,), 34: (0,), 36: (0,), 39: (0,), 43: (0,), 45: (0,), 49: (1,), 53: (0,), 64: (1, 2), 65: (0,),
    69: (0,), 70: (0,), 82: (0,), 83: (), 88: (0,), 89: (0,), 94: (1,), 102: (0,), 105: (0,), 107: (0,), 123: (1, 2),
    130: (0,),
}  # fmt: skip
# CONCATENATION, RESHAPE, PAD, GATHER, TRANSPOSE, SQUEEZE, STRIDED_SLICE, SPLIT, CAST, SELECT, SLICE, TILE, EXPAND_DIMS,
# REDUCE_MAX, PACK, UNPACK, REDUCE_MIN, FILL, SPLIT_V, REVERSE_V2, GATHER_ND, SELECT_V2, BROADCAST_TO.
PAD, TOP_K = 34, 48
# ADD, MUL, SUB, MAXIMUM, MINIMUM, FLOOR_DIV by numbers above 0, FLOOR_MOD by such.
PAIRS: dict[int, Callable[[Range, Range], list[int]]] = {
    0: lambda a, b: [a[0] + b[0], a[1] + b[1]],
    18: lambda a, b: [x * y for x in a for y in b],
    41: lambda a, b: [a[0] - b[1], a[1] - b[0]],
    55: lambda a, b: [max(a[0], b[0]), max(a[1], b[1])],
    57: lambda a, b: [min(a[0], b[0]), min(a[1], b[1])],
    90: lambda a, _: [min(a[0], 0), max(a[1], 0)],
    95: lambda _, b: [0, b[1]],
}
DEPTH = 200


class Ranges:
    """The ranges of one graph.

    Args:
        inputs: of the values of its inputs, ``None`` if they may be any.
    """

    def __init__(self, model: Model, graph: Graph, inputs: Range | None) -> None:
        self._model, self._graph, self._inputs = model, graph, inputs
        self._writers = {place: operator for operator in graph.operators for place in operator.outputs}
        self._known: dict[int, Range | None] = {}

    def of(self, place: int, depth: int = 0) -> Range | None:
        """The range of a tensor; ``None`` if its values may be any."""
        if place not in self._known:
            found = self._found(place, depth) if depth < DEPTH else None
            self._known[place] = found if found and LEAST <= found[0] <= found[1] <= LARGEST else None
        return self._known[place]

    def _found(self, place: int, depth: int) -> Range | None:
        tensor = self._graph.tensors[place]
        if tensor.type in BY_TYPE:
            return BY_TYPE[tensor.type]
        if tensor.type not in (INT32, INT64):
            return None
        if tensor.data:
            dtype = "<i4" if tensor.type == INT32 else "<i8"
            values = np.frombuffer(self._model.content, dtype, tensor.size, tensor.data)
            return int(values.min()), int(values.max())
        if place in self._graph.inputs:
            return self._inputs
        operator = self._writers[place]
        if operator.code == TOP_K:
            return 0, self._graph.tensors[operator.inputs[0]].shape[-1]
        if operator.code in PASSED:
            return self._union(operator, depth)
        if operator.code in PAIRS:
            first, second = (self.of(one, depth + 1) for one in operator.inputs)
            if first and second:
                ends = PAIRS[operator.code](first, second)
                return min(ends), max(ends)
        return None

    def _union(self, operator: Operator, depth: int) -> Range | None:
        chosen = PASSED[operator.code] or range(len(operator.inputs))
        least, largest = (0, 0) if operator.code == PAD else (LARGEST, LEAST)
        for number in chosen:
            found = self.of(operator.inputs[number], depth + 1)
            if found is None:
                return None
            least, largest = min(least, found[0]), max(largest, found[1])
        return least, largest
