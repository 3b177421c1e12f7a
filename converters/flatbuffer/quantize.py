"""Weights become integers of few bits, with one buffer for the tied item table."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.flatbuffer import packing
from converters.flatbuffer.embedding_lookup import use_embedding_lookup
from converters.flatbuffer.graph import BUILTIN, TYPES, constant, new_buffer, operator_code, operators
from converters.flatbuffer.row_scales import RowScales, coarse
from converters.grids import nearest_grid
from converters.storage import Storage, split_bytes
from converters.weights import ITEM_TABLE, Weights

# From these versions on, the kernels read a scale for each row. tflite-runtime has neither: it refuses the file instead
# of reading the first scale for all rows.
FULLY_CONNECTED_BY_ROW, EMBEDDING_LOOKUP_BY_ROW = 12, 4
# Where the weights are among the inputs.
WEIGHTS_OF = {BUILTIN.FULLY_CONNECTED: 1, BUILTIN.EMBEDDING_LOOKUP: 1}
# Looked-up tables other than the item table, such as positions, are small, and few bits would not pay.
SMALL_TABLE_BITS = 8


def quantize(content: bytes, weights: Weights, storage: Storage) -> bytes:
    """The same model with its weights on the grids of ``storage``, computed with activations that are quantized to 8
    bits as they come (dynamic range). Biases, norms and counted tables stay as they are.

    Raises:
        ValueError: the item table is not a weight of the graph, or its rows do not end with a byte.
    """
    model = packing.read(content)
    use_embedding_lookup(model)
    quantized: dict[int, tuple[int, Any, int]] = {}
    scaled: list[tuple[RowScales, int]] = []
    found = set()
    for kind, tensor in _weights(model):
        if tensor.buffer not in quantized:
            values = constant(model, tensor)
            if values is None:
                continue
            layer = weights.layer(values)
            found.add(layer)
            bits, by_row = _grid(layer, kind, storage)
            bits = weights.bits.get(layer or "", bits)
            if layer == ITEM_TABLE and (reason := split_bytes(values.shape[1], bits)):
                raise ValueError(reason)
            if layer == ITEM_TABLE and by_row:
                codes, rows, step = _by_row(values, bits)
                quantized[tensor.buffer] = _stored(model, codes, np.ones(1, np.float32), bits)
                scaled.append((RowScales(model, rows, step), quantized[tensor.buffer][2]))
            else:
                quantized[tensor.buffer] = _stored(model, *nearest_grid(values, bits, by_row), bits)
        tensor.type, tensor.quantization, tensor.buffer = quantized[tensor.buffer]
    if ITEM_TABLE in weights.layers.values() and ITEM_TABLE not in found:
        raise ValueError("the item table is not a weight of the converted graph")
    for row_scales, table in scaled:
        row_scales.apply(table)
    _compute_with_integers(model)
    return packing.write(model)


def _weights(model: Any) -> Iterator[tuple[int, Any]]:
    """Kind of the operator, and tensor, of everything that is used as a weight; a tensor only once."""
    seen = set()
    # FULLY_CONNECTED first: what is looked up as well is then known as a kernel, unless it is the item table.
    for kind, place in WEIGHTS_OF.items():
        for graph, operator in operators(model, kind):
            tensor = graph.tensors[operator.inputs[place]]
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield kind, tensor


def _grid(layer: str | None, kind: int, storage: Storage) -> tuple[int, bool]:
    """Bits, and whether each row of the weight in the graph has a scale."""
    if layer == ITEM_TABLE:
        return storage.table, storage.by_row
    return (storage.kernels, True) if kind == BUILTIN.FULLY_CONNECTED else (SMALL_TABLE_BITS, False)


def _by_row(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Codes int8 [n, d], row scales uint8 [n], and the step of the scales."""
    rows, step = coarse(nearest_grid(values, bits, by_row=True)[1])
    levels = 2 ** (bits - 1) - 1
    codes = np.clip(np.rint(values / (rows * step)[:, None]), -levels, levels).astype(np.int8)
    return codes, rows, step


def _stored(model: Any, codes: np.ndarray, scales: np.ndarray, bits: int) -> tuple[int, Any, int]:
    """Type, quantization and buffer of a weight on its grid."""
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
    types = {8: TYPES.INT8, 4: TYPES.INT4, 2: TYPES.INT2}
    return types[bits], quantization, new_buffer(model, packed(codes, bits))


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes int8 of any shape as bytes, uint8; the first of a byte's codes in its lowest bits."""
    flat = codes.reshape(-1).view(np.uint8) & (2**bits - 1)
    each = 8 // bits
    flat = np.pad(flat, (0, -len(flat) % each)).reshape(-1, each)
    return np.bitwise_or.reduce(flat << (np.arange(each, dtype=np.uint8) * bits), axis=1).astype(np.uint8)


def _compute_with_integers(model: Any) -> None:
    integers = (TYPES.INT8, TYPES.INT4, TYPES.INT2)
    for kind, version in (
        (BUILTIN.FULLY_CONNECTED, FULLY_CONNECTED_BY_ROW),
        (BUILTIN.EMBEDDING_LOOKUP, EMBEDDING_LOOKUP_BY_ROW),
    ):
        code = operator_code(model, kind, version)
        for graph, operator in operators(model, kind):
            if graph.tensors[operator.inputs[WEIGHTS_OF[kind]]].type not in integers:
                continue
            operator.opcodeIndex = code
            if kind == BUILTIN.FULLY_CONNECTED:
                operator.builtinOptions.asymmetricQuantizeInputs = True
