"""A scale for each row of the item table, outside of the table.

In the format's own form a row costs 12 bytes beside its codes: a float scale and an int64 zero point. At 32 dimensions
of 4 bits, which are 16 bytes, that would be most of what a smaller type saves. So the table gets one scale, and what is
looked up or scored is multiplied by the row's own, which takes one byte.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.flatbuffer.graph import (
    BUILTIN,
    TYPES,
    builtin,
    new_buffer,
    new_operator,
    new_tensor,
    operator_code,
)

LARGEST = 255


def coarse(scales: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Scales float32 [n] as bytes: uint8 [n], at least 1, and their step."""
    step = np.float32(scales.max() / LARGEST)
    return np.clip(np.rint(scales / step), 1, LARGEST).astype(np.uint8), step


class RowScales:
    """Multiplies by row scales in a model.

    Args:
        model: the ``ModelT``.
        scales: uint8 [n], in units of ``step``.
    """

    def __init__(self, model: Any, scales: np.ndarray, step: np.float32) -> None:
        self._model, self._rows = model, len(scales)
        self._buffer = new_buffer(model, scales)
        self._step = np.array([step], np.float32)

    def apply(self, table: int) -> None:
        """Multiply the results of all operators that read the buffer ``table``.

        Raises:
            ValueError: an operator adds or cuts off something before it gives its result.
        """
        for graph in self._model.subgraphs:
            new = []
            for operator in graph.operators:
                reads = [place for place in operator.inputs if place >= 0 and graph.tensors[place].buffer == table]
                new += self._scaled(graph, operator) if reads else [operator]
            graph.operators = new

    def _scaled(self, graph: Any, operator: Any) -> list[Any]:
        result = operator.outputs[0]
        plain = new_tensor(graph, graph.tensors[result].shape, TYPES.FLOAT32)
        operator.outputs = [plain]
        if builtin(self._model, operator) == BUILTIN.EMBEDDING_LOOKUP:
            ids = operator.inputs[0]
            count = int(graph.tensors[ids].shape[0])
            found = self._quantized(graph, [count, 1])
            scales = new_tensor(graph, [count, 1], TYPES.FLOAT32)
            stored = self._quantized(graph, [self._rows, 1], self._buffer)
            before = [self._operator(BUILTIN.GATHER, [stored, ids], found), self._dequantize(found, scales)]
        else:
            options = operator.builtinOptions
            if options.fusedActivationFunction or any(place >= 0 for place in operator.inputs[2:]):
                raise ValueError("the item table is used with a bias or an activation, which row scales cannot pass")
            # The operator's input is constant: the runtimes compute it once.
            scales = new_tensor(graph, [self._rows], TYPES.FLOAT32)
            before = [self._dequantize(self._quantized(graph, [self._rows], self._buffer), scales)]
        return [operator, *before, self._operator(BUILTIN.MUL, [plain, scales], result)]

    def _quantized(self, graph: Any, shape: list[int], buffer: int = 0) -> int:
        place = new_tensor(graph, shape, TYPES.UINT8, buffer)
        quantization = graph.tensors[place].quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = self._step, np.zeros(1, np.int64)
        return place

    def _dequantize(self, source: int, target: int) -> Any:
        return self._operator(BUILTIN.DEQUANTIZE, [source], target)

    def _operator(self, kind: int, inputs: list[int], output: int) -> Any:
        return new_operator(operator_code(self._model, kind, 1), inputs, [output])
