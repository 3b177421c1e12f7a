"""Sparse weights are unpacked when the file is loaded, instead of computed with.

litert 2.3.0 with XNNPACK computes FULLY_CONNECTED with sparse weights wrongly in a whole graph, and without any error:
the rms error of a GRU's scores was up to 77 % of their deviation. Dense int8 weights that are no constants fail to load
there, so they are widened to float32 as well.
"""

from typing import Any

from converters.flatbuffer import packing
from converters.flatbuffer.graph import BUILTIN, TYPES, new_operator, new_tensor, operator_code

# From this version on, DEQUANTIZE reads a scale for each row.
DEQUANTIZE_BY_ROW = 5


def densify(content: bytes) -> bytes:
    """The same model with DENSIFY, and DEQUANTIZE for int8, behind its sparse constants."""
    model = packing.read(content)
    for graph in model.subgraphs:
        for place, tensor in list(enumerate(graph.tensors)):
            if tensor.sparsity is not None:
                _unpack(model, graph, place, tensor)
    return packing.write(model)


def _unpack(model: Any, graph: Any, place: int, tensor: Any) -> None:
    dense = new_tensor(graph, tensor.shape, tensor.type)
    graph.tensors[dense].quantization = tensor.quantization
    unpacking = [new_operator(operator_code(model, BUILTIN.DENSIFY, 1), [place], [dense])]
    result = dense
    if tensor.type != TYPES.FLOAT32:
        result = new_tensor(graph, tensor.shape, TYPES.FLOAT32)
        code = operator_code(model, BUILTIN.DEQUANTIZE, DEQUANTIZE_BY_ROW)
        unpacking.append(new_operator(code, [dense], [result]))
    for operator in graph.operators:
        operator.inputs = [result if one == place else one for one in operator.inputs]
    graph.operators[0:0] = unpacking
