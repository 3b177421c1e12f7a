"""Weights become integers of few bits, with one buffer for the tied item table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.flatbuffer import packing
from converters.flatbuffer.densify import DEQUANTIZE_BY_ROW
from converters.flatbuffer.embedding_lookup import use_embedding_lookup
from converters.flatbuffer.graph import (
    BUILTIN,
    TYPES,
    constant,
    new_buffer,
    new_operator,
    new_tensor,
    operator_code,
    operators,
)
from converters.flatbuffer.row_scales import RowScales, coarse
from converters.grids import nearest_grid
from converters.storage import BLOCK, Storage, split_bytes
from converters.weights import ITEM_TABLE, Weights

# From these versions on, the kernels read a scale for each row, or each block. tflite-runtime has neither: it refuses
# the file instead of reading the first scale for all of them.
FULLY_CONNECTED_BY_ROW, FULLY_CONNECTED_IN_BLOCKS, EMBEDDING_LOOKUP_BY_ROW = 12, 13, 4
# Where the weights are among the inputs.
WEIGHTS_OF = {BUILTIN.FULLY_CONNECTED: 1, BUILTIN.EMBEDDING_LOOKUP: 1, BUILTIN.GATHER: 0}
# Looked-up tables other than the item table, such as positions, are small, and few bits would not pay.
SMALL_TABLE_BITS = 8
INTEGERS = (TYPES.INT8, TYPES.INT4, TYPES.INT2)


def quantize(content: bytes, weights: Weights, storage: Storage, widen: bool = False) -> bytes:
    """The same model with its weights on the grids of ``storage``, computed with activations that are quantized to 8
    bits as they come (dynamic range). Biases, norms and counted tables stay as they are.

    Args:
        widen: compute in float32 instead, with weights that are widened when the model is loaded.

    Raises:
        ValueError: the item table is not a weight of the graph, or its rows do not end with a byte.
    """
    model = packing.read(content)
    if not widen:
        use_embedding_lookup(model)
    quantized: dict[int, _Stored] = {}
    scaled: list[tuple[RowScales, int]] = []
    found = set()
    for kind, graph, tensor in _weights(model):
        if tensor.buffer not in quantized:
            values = constant(model, tensor)
            if values is None or values.ndim != 2 or (kind == BUILTIN.GATHER and weights.layer(values) is None):
                continue
            layer = weights.layer(values)
            found.add(layer)
            bits, by_row = _grid(layer, kind, storage)
            bits = weights.bits.get(layer or "", bits)
            if layer == ITEM_TABLE and (reason := split_bytes(values.shape[1], bits)):
                raise ValueError(reason)
            block = _block(values.shape[1], bits, storage, layer) if by_row else 0
            if block:
                quantized[tensor.buffer] = _in_blocks(model, values, block)
            elif layer == ITEM_TABLE and by_row:
                codes, rows, step = _by_row(values, bits)
                quantized[tensor.buffer] = _stored(model, codes, np.ones(1, np.float32), bits)
                scaled.append((RowScales(model, rows, step), quantized[tensor.buffer].codes))
            else:
                quantized[tensor.buffer] = _stored(model, *nearest_grid(values, bits, by_row), bits)
        stored = quantized[tensor.buffer]
        if widen:
            _widen(model, graph, tensor, stored)
        else:
            stored.replace(graph, tensor)
    if ITEM_TABLE in weights.layers.values() and ITEM_TABLE not in found:
        raise ValueError("the item table is not a weight of the converted graph")
    for row_scales, table in scaled:
        row_scales.apply(table)
    if not widen:
        _compute_with_integers(model)
    return packing.write(model)


@dataclass(frozen=True)
class _Stored:
    """A weight on its grid.

    Attributes:
        kind: its type.
        codes: its buffer.
        scales: float32 [n], or [1]; of weights in blocks the buffer that has them.
        block: weights that share a scale; 0: those of a row, or all.
    """

    kind: int
    codes: int
    scales: np.ndarray | int
    block: int = 0

    def replace(self, graph: Any, tensor: Any) -> None:
        """Make it what the tensor holds."""
        tensor.type, tensor.buffer = self.kind, self.codes
        quantization = tensor.quantization = schema.QuantizationParametersT()
        if isinstance(self.scales, int):
            rows, width = (int(n) for n in tensor.shape)
            blocks = schema.BlockwiseQuantizationT()
            blocks.scales = new_tensor(graph, [rows, width // self.block], TYPES.FLOAT16, self.scales)
            blocks.zeroPoints, blocks.blockSize = -1, self.block
            quantization.details = blocks
            quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        else:
            quantization.scale, quantization.zeroPoint = self.scales, np.zeros(len(self.scales), np.int64)


def _weights(model: Any) -> Iterator[tuple[int, Any, Any]]:
    """Kind of the operator, subgraph and tensor of everything that is used as a weight; a tensor only once."""
    seen = set()
    # FULLY_CONNECTED first: what is looked up as well is then known as a kernel, unless it is the item table.
    for kind, place in WEIGHTS_OF.items():
        for graph, operator in operators(model, kind):
            tensor = graph.tensors[operator.inputs[place]]
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield kind, graph, tensor


def _grid(layer: str | None, kind: int, storage: Storage) -> tuple[int, bool]:
    """Bits, and whether each row of the weight in the graph has a scale."""
    if layer == ITEM_TABLE:
        return storage.table, storage.by_row
    return (storage.kernels, True) if kind == BUILTIN.FULLY_CONNECTED else (SMALL_TABLE_BITS, False)


def _block(width: int, bits: int, storage: Storage, layer: str | None) -> int:
    """Weights of a row that share a scale in the form of blocks, 0 for another form.

    A scale of a block takes 2 bytes, one of a channel 12. So a kernel of 4 bits whose row is a whole block is stored as
    one; the item table has a form of its own.
    """
    if bits != 4 or width % BLOCK:
        return 0
    if storage.block and width % storage.block == 0:
        return storage.block
    return 0 if layer == ITEM_TABLE else width


def _in_blocks(model: Any, values: np.ndarray, block: int) -> _Stored:
    rows = values.reshape(-1, block)
    limits = np.finfo(np.float16)
    scales = np.clip(nearest_grid(rows, 4, by_row=True)[1], limits.tiny, limits.max).astype(np.float16)
    return _Stored(TYPES.INT4, new_buffer(model, packed(_codes(rows, scales, 4), 4)), new_buffer(model, scales), block)


def _by_row(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Codes int8 [n, d], row scales uint8 [n], and the step of the scales."""
    rows, step = coarse(nearest_grid(values, bits, by_row=True)[1])
    return _codes(values, rows * step, bits), rows, step


def _codes(rows: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """Codes int8 [n, m] of rows for given scales [n]."""
    levels = 2 ** (bits - 1) - 1
    return np.clip(np.rint(rows / scales.astype(np.float32)[:, None]), -levels, levels).astype(np.int8)


def _stored(model: Any, codes: np.ndarray, scales: np.ndarray, bits: int) -> _Stored:
    types = {8: TYPES.INT8, 4: TYPES.INT4, 2: TYPES.INT2}
    return _Stored(types[bits], new_buffer(model, packed(codes, bits)), scales)


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes int8 of any shape as bytes, uint8; the first of a byte's codes in its lowest bits."""
    flat = codes.reshape(-1).view(np.uint8) & (2**bits - 1)
    each = 8 // bits
    flat = np.pad(flat, (0, -len(flat) % each)).reshape(-1, each)
    return np.bitwise_or.reduce(flat << (np.arange(each, dtype=np.uint8) * bits), axis=1).astype(np.uint8)


def _widen(model: Any, graph: Any, tensor: Any, stored: _Stored) -> None:
    """Compute the tensor from what is stored."""
    source = new_tensor(graph, tensor.shape, stored.kind)
    stored.replace(graph, graph.tensors[source])
    target = next(place for place, one in enumerate(graph.tensors) if one is tensor)
    tensor.buffer = 0
    graph.operators.insert(
        0, new_operator(operator_code(model, BUILTIN.DEQUANTIZE, DEQUANTIZE_BY_ROW), [source], [target])
    )


def _compute_with_integers(model: Any) -> None:
    for graph, operator in operators(model, BUILTIN.EMBEDDING_LOOKUP):
        if graph.tensors[operator.inputs[1]].type in INTEGERS:
            operator.opcodeIndex = operator_code(model, BUILTIN.EMBEDDING_LOOKUP, EMBEDDING_LOOKUP_BY_ROW)
    for graph, operator in operators(model, BUILTIN.FULLY_CONNECTED):
        weight = graph.tensors[operator.inputs[1]]
        if weight.type in INTEGERS:
            version = FULLY_CONNECTED_IN_BLOCKS if weight.quantization.details else FULLY_CONNECTED_BY_ROW
            operator.opcodeIndex = operator_code(model, BUILTIN.FULLY_CONNECTED, version)
            operator.builtinOptions.asymmetricQuantizeInputs = True
