"""What the steps need of a model's object: constants, operators, new tensors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

BUILTIN = schema.BuiltinOperator
TYPES = schema.TensorType


def builtin(model: Any, operator: Any) -> int:
    """The number of an operator's kind."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operators(model: Any, kind: int) -> Iterator[tuple[Any, Any]]:
    """Subgraph and operator of every operator of a kind."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if builtin(model, operator) == kind:
                yield graph, operator


def constant(model: Any, tensor: Any) -> np.ndarray | None:
    """The values of a float32 constant in its shape; ``None`` if the tensor is something else."""
    data = model.buffers[tensor.buffer].data
    if tensor.type != TYPES.FLOAT32 or data is None or not len(data):
        return None
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32).reshape([int(n) for n in tensor.shape])


def operator_code(model: Any, kind: int, version: int) -> int:
    """The place of an operator code, which is added if need be."""
    for place, code in enumerate(model.operatorCodes):
        if code.builtinCode == kind and code.version == version:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def new_operator(code: int, inputs: list[int], outputs: list[int]) -> Any:
    """An operator without options."""
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    return operator


def new_tensor(graph: Any, shape: list[int], kind: int, buffer: int = 0) -> int:
    """The place of a new tensor in the subgraph."""
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = shape, kind, buffer
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_buffer(model: Any, values: np.ndarray) -> int:
    """The place of a new buffer with these values."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1
