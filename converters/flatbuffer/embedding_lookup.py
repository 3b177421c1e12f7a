"""GATHER becomes EMBEDDING_LOOKUP, which reads tables with a scale for each row.

GATHER takes one scale for the whole table. The filter of FULLY_CONNECTED has the layout and the scales of the lookup's
table, so that one buffer serves both.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.flatbuffer.graph import (
    BUILTIN,
    TYPES,
    builtin,
    constant,
    new_buffer,
    new_operator,
    new_tensor,
    operator_code,
)


def use_embedding_lookup(model: Any) -> None:
    """Rewrite the lookups of rows in float32 constants of two axes, in all subgraphs."""
    for graph in model.subgraphs:
        graph.operators = [
            new
            for operator in graph.operators
            for new in (_lookup(model, graph, operator) if _is_lookup(model, graph, operator) else [operator])
        ]


def _is_lookup(model: Any, graph: Any, operator: Any) -> bool:
    if builtin(model, operator) != BUILTIN.GATHER:
        return False
    table, ids = (graph.tensors[place] for place in operator.inputs[:2])
    options = operator.builtinOptions
    by_row = options is None or (options.axis == 0 and options.batchDims == 0)
    return by_row and ids.type == TYPES.INT32 and constant(model, table) is not None and len(table.shape) == 2


def _lookup(model: Any, graph: Any, operator: Any) -> list[Any]:
    table, ids = operator.inputs[:2]
    shape, width = [int(n) for n in graph.tensors[ids].shape], int(graph.tensors[table].shape[1])
    lookup = operator_code(model, BUILTIN.EMBEDDING_LOOKUP, 1)
    if len(shape) == 1:
        return [new_operator(lookup, [ids, table], list(operator.outputs))]
    count = int(np.prod(shape))
    flat = new_tensor(graph, [count], TYPES.INT32)
    found = new_tensor(graph, [count, width], TYPES.FLOAT32)
    return [
        _reshape(model, graph, ids, flat, [count]),
        new_operator(lookup, [flat, table], [found]),
        _reshape(model, graph, found, operator.outputs[0], [*shape, width]),
    ]


def _reshape(model: Any, graph: Any, source: int, target: int, shape: list[int]) -> Any:
    place = new_tensor(graph, [len(shape)], TYPES.INT32, new_buffer(model, np.array(shape, np.int32)))
    operator = new_operator(operator_code(model, BUILTIN.RESHAPE, 1), [source, place], [target])
    operator.builtinOptions = schema.ReshapeOptionsT()
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions.newShape = shape
    return operator
