"""A TFLite flatbuffer, read with every offset and length checked: no package of the format is needed on a device.

The runtimes follow the offsets of a file as they are: one that points outside of it reads foreign memory. Here each is
compared with the size of the file before it is followed, and what bundles never have (custom operators, variables,
strings, resources) is refused. Field numbers are those of the schema
(tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

U16, I32, U32, U64, F32 = (struct.Struct(f"<{code}") for code in "HiIQf")
FLOAT32, FLOAT16, INT32, UINT8, INT64, BOOL, INT16, INT8, INT4, INT2 = 0, 1, 2, 3, 4, 6, 7, 9, 17, 19
# Bits of a value, by type.
BITS: Final = {
    FLOAT32: 32, FLOAT16: 16, INT32: 32, UINT8: 8, INT64: 64, BOOL: 8, INT16: 16, INT8: 8, INT4: 4, INT2: 2,
}  # fmt: skip
# Far above any model of ours (a few hundred): each costs the check and the runtimes some microseconds.
MAX_GRAPHS, MAX_TENSORS, MAX_OPERATORS, MAX_ARGUMENTS = 64, 10_000, 10_000, 256
MAX_RANK = 5
# Numbers of the fields that may be there.
MODEL_FIELDS, CODE_FIELDS, FIRST_THREE = frozenset(range(8)), frozenset({0, 2, 3}), frozenset({0, 1, 2})
TENSOR_FIELDS, OPERATOR_FIELDS = frozenset({0, 1, 2, 3, 4, 6, 7, 8}), frozenset({0, 1, 2, 3, 4, 6, 7, 8, 13})
# The smallest and the largest scale that the runtimes' fixed-point arithmetic takes.
MIN_SCALE, MAX_SCALE = 1e-30, 1e30


class FlatbufferError(ValueError):
    """The flatbuffer is damaged, or has what no bundle has."""


class Blocks(NamedTuple):
    """Scales of blocks of a row of weights: the place of the tensor that holds them, and the length of a block."""

    scales: int
    size: int


class Quantization(NamedTuple):
    """The scales of a tensor: how many there are, along which axis, or those of blocks; where there is one for all, its
    value and the zero point.
    """

    scales: int
    axis: int
    blocks: Blocks | None = None
    scale: float = 0.0
    zero: int = 0


class Tensor(NamedTuple):
    """A tensor.

    Attributes:
        data: where its bytes begin in the file, 0 for one that is computed.
        size: the number of its values.
    """

    type: int
    shape: tuple[int, ...]
    size: int
    data: int
    quantization: Quantization | None
    sparse: bool

    @property
    def bytes(self) -> int:
        """How many bytes its values take."""
        return (self.size * BITS[self.type] + 7) // 8


class Operator(NamedTuple):
    """An operator: its builtin code, places of its tensors (-1: left out), and its options as a table, if any."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: "Table | None"


class Graph(NamedTuple):
    """A subgraph."""

    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


class SignatureDef(NamedTuple):
    """A signature: the tensors of its graph by name."""

    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


class Model(NamedTuple):
    """The parts of a flatbuffer that a runtime reads."""

    content: bytes
    graphs: list[Graph]
    signatures: dict[str, SignatureDef]

    def integers(self, tensor: Tensor, most: int = 4096) -> tuple[int, ...] | None:
        """The values of a constant int32 or int64 tensor; ``None`` if it is another or has more than ``most``."""
        if not tensor.data or tensor.size > most or tensor.type not in (INT32, INT64):
            return None
        return _integers(tensor.size, tensor.type == INT64).unpack_from(self.content, tensor.data)


@lru_cache(maxsize=64)
def _integers(count: int, wide: bool = False) -> struct.Struct:
    return struct.Struct(f"<{count}{'q' if wide else 'i'}")


class Table:
    """A table of the flatbuffer; fields are read by their number.

    Args:
        reader: of the file.
        at: where the table begins.

    Raises:
        FlatbufferError: it, or a field that is read, is not inside the file.
    """

    __slots__ = ("_at", "_content", "_fields", "_present", "_reader", "_size")

    def __init__(self, reader: "Reader", at: int) -> None:
        self._reader, self._content, self._at = reader, reader.content, at
        if at & 3 or not 0 < at <= reader.size - 4:
            raise FlatbufferError("a table lies outside of the file")
        self._fields, self._size, self._present = reader.vtable(at - I32.unpack_from(self._content, at)[0])
        if at + self._size > reader.size:
            raise FlatbufferError("a table is cut off")

    def has(self, number: int) -> bool:
        """Whether the field is there."""
        return number < len(self._fields) and self._fields[number] != 0

    def only(self, numbers: frozenset[int]) -> bool:
        """Whether there are no other fields than these."""
        return self._present <= numbers

    def _place(self, number: int, width: int) -> int:
        """Where the field is, 0 if it is not there."""
        if number >= len(self._fields) or not (offset := self._fields[number]):
            return 0
        place = self._at + offset
        if offset + width > self._size or place % width:
            raise FlatbufferError("a field is cut off or not aligned")
        return place

    def byte(self, number: int) -> int:
        place = self._place(number, 1)
        return self._content[place] if place else 0

    def int32(self, number: int, default: int = 0) -> int:
        place = self._place(number, 4)
        return I32.unpack_from(self._content, place)[0] if place else default

    def uint32(self, number: int) -> int:
        place = self._place(number, 4)
        return U32.unpack_from(self._content, place)[0] if place else 0

    def uint64(self, number: int) -> int:
        place = self._place(number, 8)
        return U64.unpack_from(self._content, place)[0] if place else 0

    def float32(self, number: int) -> float:
        place = self._place(number, 4)
        return F32.unpack_from(self._content, place)[0] if place else 0.0

    def vector(self, number: int, width: int) -> tuple[int, int]:
        """Where the values of a vector begin, and how many there are; (0, 0) if it is not there."""
        place = self._place(number, 4)
        if not place:
            return 0, 0
        start = place + U32.unpack_from(self._content, place)[0]
        if start & 3 or start + 4 > self._reader.size:
            raise FlatbufferError("a vector lies outside of the file")
        count = U32.unpack_from(self._content, start)[0]
        start += 4
        if start + count * width > self._reader.size or start % width:
            raise FlatbufferError("a vector is cut off or not aligned")
        return start, count

    def integers(self, number: int, most: int) -> tuple[int, ...]:
        """An int32 vector of at most ``most`` values."""
        start, count = self.vector(number, 4)
        if count > most:
            raise FlatbufferError(f"a vector of {count:,} numbers, at most {most:,} are read")
        return _integers(count).unpack_from(self._content, start) if count else ()

    def text(self, number: int) -> str:
        """A string; it must end with a zero byte, as the runtimes read on to one."""
        start, count = self.vector(number, 1)
        if not start:
            return ""
        if start + count >= self._reader.size or self._content[start + count] or count > 4096:
            raise FlatbufferError("a text does not end")
        try:
            return self._content[start : start + count].decode()
        except UnicodeDecodeError:
            raise FlatbufferError("a text that is not UTF-8") from None

    def table(self, number: int) -> "Table | None":
        place = self._place(number, 4)
        return Table(self._reader, place + U32.unpack_from(self._content, place)[0]) if place else None

    def tables(self, number: int, most: int) -> list["Table"]:
        """A vector of at most ``most`` tables."""
        start, count = self.vector(number, 4)
        if count > most:
            raise FlatbufferError(f"{count:,} entries, at most {most:,} are read")
        content = self._content
        return [
            Table(self._reader, place + U32.unpack_from(content, place)[0])
            for place in range(start, start + 4 * count, 4)
        ]


class Reader:
    """A file whose tables are read.

    Args:
        content: the flatbuffer.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.size = content, len(content)
        self._vtables: dict[int, tuple[tuple[int, ...], int, frozenset[int]]] = {}

    def vtable(self, at: int) -> tuple[tuple[int, ...], int, frozenset[int]]:
        """Offsets of the fields (0: absent), the size, and the numbers of the fields that are there, of tables with the
        vtable at ``at``.
        """
        if (found := self._vtables.get(at)) is not None:
            return found
        if at & 1 or not 0 < at <= self.size - 4:
            raise FlatbufferError("a description of fields lies outside of the file")
        length, size = struct.unpack_from("<HH", self.content, at)
        if length < 4 or length & 1 or at + length > self.size or size < 4 or length > 4 + 2 * 64:
            raise FlatbufferError("a description of fields is damaged")
        offsets = struct.unpack_from(f"<{length // 2 - 2}H", self.content, at + 4)
        if not all(offset == 0 or 4 <= offset < size for offset in offsets):
            raise FlatbufferError("a field lies outside of its table")
        present = frozenset(number for number, offset in enumerate(offsets) if offset)
        self._vtables[at] = offsets, size, present
        return offsets, size, present


def read_model(content: bytes) -> Model:
    """The parts of a flatbuffer that a runtime reads.

    Raises:
        FlatbufferError: it is damaged, or has what no bundle has.
    """
    if len(content) < 16 or len(content) >= 1 << 31:
        raise FlatbufferError("too short or too long")
    root = Table(Reader(content), U32.unpack_from(content, 0)[0])
    if root.uint32(0) != 3 or not root.only(MODEL_FIELDS):
        raise FlatbufferError("of an unknown version")
    root.text(3)
    codes = [_code(code) for code in root.tables(1, 256)]
    buffers = [_buffer(buffer, content) for buffer in root.tables(4, MAX_TENSORS)]
    if not buffers or buffers[0] != (0, 0):
        raise FlatbufferError("its first buffer is not empty")
    if any(not 0 <= place < len(buffers) for place in root.integers(5, 64)):
        raise FlatbufferError("metadata in a buffer that does not exist")
    for entry in root.tables(6, 64):
        entry.text(0)
        if entry.uint32(1) >= len(buffers):
            raise FlatbufferError("metadata in a buffer that does not exist")
    scales = _Scales(content)
    graphs = [_graph(graph, codes, buffers, scales) for graph in root.tables(2, MAX_GRAPHS)]
    if not graphs:
        raise FlatbufferError("no graph")
    if sum(len(graph.operators) for graph in graphs) > MAX_OPERATORS:
        raise FlatbufferError(f"more than {MAX_OPERATORS:,} operators")
    if sum(len(graph.tensors) for graph in graphs) > MAX_TENSORS:
        raise FlatbufferError(f"more than {MAX_TENSORS:,} tensors")
    model = Model(content, graphs, {})
    for entry in root.tables(7, MAX_GRAPHS):
        key, signature = _signature(entry, graphs)
        if key in model.signatures:
            raise FlatbufferError(f"the signature {key!r} is there twice")
        model.signatures[key] = signature
    return model


def _code(table: Table) -> int:
    if table.has(1) or not table.only(CODE_FIELDS):
        raise FlatbufferError("a custom operator")
    return max(table.byte(0), table.int32(3))


def _buffer(table: Table, content: bytes) -> tuple[int, int]:
    """Where the bytes of a buffer begin, and how many there are."""
    start, count = table.vector(0, 1)
    offset, size = table.uint64(1), table.uint64(2)
    if offset > 1 or size > 1:  # behind the flatbuffer proper
        if count or offset & 3 or offset + size > len(content) or offset < 16:
            raise FlatbufferError("a buffer lies outside of the file")
        start, count = offset, size
    return (start, count) if count else (0, 0)


class _Scales:
    """Checks quantizations; each once, however many tensors share it."""

    def __init__(self, content: bytes) -> None:
        self._content, self._known, self._copied = content, dict[tuple[int, int], bool](), 0

    def check(self, place: int, count: int) -> None:
        """Check scales, float32 in the file. The runtimes copy them for each tensor."""
        self._copied += 4 * count
        if self._copied > len(self._content) + (1 << 20):
            raise FlatbufferError("the same scales for too many tensors")
        if (place, count) not in self._known:
            scales = np.frombuffer(self._content, "<f4", count, place)
            self._known[place, count] = bool(((scales >= MIN_SCALE) & (scales <= MAX_SCALE)).all())
        if not self._known[place, count]:
            raise FlatbufferError("a scale that is not positive and finite")

    def check_zero(self, place: int, count: int) -> None:
        """Check zero points, int64 in the file: those of weights are 0."""
        if np.frombuffer(self._content, "<i8", count, place).any():
            raise FlatbufferError("a zero point that is not 0")

    def one(self, place: int, zeros: int) -> tuple[float, int]:
        """The scale and the zero point of a tensor of int8 that has one of each."""
        zero = int(np.frombuffer(self._content, "<i8", 1, zeros)[0])
        if not -128 <= zero <= 127:
            raise FlatbufferError("a zero point that int8 does not have")
        return F32.unpack_from(self._content, place)[0], zero


def _quantization(table: Table | None, shape: tuple[int, ...], kind: int, scales: _Scales) -> Quantization | None:
    if table is None:
        return None
    place, count = table.vector(2, 4)
    zeros, zero_count = table.vector(3, 8)
    table.vector(0, 4)
    table.vector(1, 4)
    details, axis = table.byte(4), table.int32(6)
    if not count and not details:
        if zero_count:
            raise FlatbufferError("zero points without scales")
        return None
    if kind not in (UINT8, INT8, INT16, INT4, INT2) and not (kind == INT32 and count == 1):  # int32: a bias
        raise FlatbufferError("scales of a tensor that is not quantized")
    if details:
        blocks = table.table(5)
        if details != 2 or blocks is None or count or zero_count or not blocks.only(FIRST_THREE) or len(shape) != 2:
            raise FlatbufferError("scales of an unknown form")
        if blocks.int32(1) != -1:
            raise FlatbufferError("zero points of blocks")
        return Quantization(0, 0, Blocks(blocks.int32(0), blocks.int32(2)))
    if count != 1 and not (0 <= axis < len(shape) and count == shape[axis]):
        raise FlatbufferError(f"{count:,} scales for a tensor of shape {list(shape)}")
    if zero_count not in (1, count):
        raise FlatbufferError(f"{zero_count:,} zero points for {count:,} scales")
    scales.check(place, count)
    if kind == INT8 and count == 1:
        return Quantization(count, axis, None, *scales.one(place, zeros))
    scales.check_zero(zeros, zero_count)
    return Quantization(count, axis)


def _tensor(table: Table, buffers: list[tuple[int, int]], scales: _Scales) -> Tensor:
    if not table.only(TENSOR_FIELDS) or table.byte(5):
        raise FlatbufferError("a tensor that is a variable or of an unknown form")
    shape, kind = table.integers(0, MAX_RANK), table.byte(1)
    if kind not in BITS:
        raise FlatbufferError(f"a tensor of the unknown type {kind}")
    size = 1
    for length in shape:
        size *= length
        if length < 1 or size >= 1 << 31:
            raise FlatbufferError(f"a tensor of shape {list(shape)}")
    if table.has(7) and (signature := table.integers(7, MAX_RANK)) and signature != shape:
        raise FlatbufferError(f"a tensor whose shape {list(shape)} is not fixed")
    if table.has(3):
        table.text(3)
    number = table.uint32(2)
    if number >= len(buffers):
        raise FlatbufferError("a tensor whose buffer does not exist")
    data, count = buffers[number]
    quantization = _quantization(table.table(4), shape, kind, scales) if table.has(4) else None
    sparse = table.has(6)
    tensor = Tensor(kind, shape, size, data, quantization, sparse)
    if sparse:
        _check_sparsity(table.table(6), tensor, count)
    elif data and (count != tensor.bytes or data & 3):
        raise FlatbufferError(f"a tensor of shape {list(shape)} with {count:,} bytes")
    return tensor


def _check_sparsity(table: Table | None, tensor: Tensor, count: int) -> None:
    """Check the index of a sparse matrix of blocks, whose bytes hold the blocks that are not zero."""
    rank = len(tensor.shape)
    if (
        table is None
        or rank != 2
        or tensor.type not in (FLOAT32, INT8)
        or not tensor.data
        or not table.only(FIRST_THREE)
    ):
        raise FlatbufferError("a sparse tensor of an unknown form")
    order, blocks = table.integers(0, 4), table.integers(1, 2)
    levels = table.tables(2, 4)
    if sorted(order) != list(range(len(levels))) or len(levels) != rank + len(blocks):
        raise FlatbufferError("a sparse tensor whose axes do not fit")
    if order[:2] != (0, 1) or any(not 0 <= axis < rank for axis in blocks) or len(set(blocks)) != len(blocks):
        raise FlatbufferError("a sparse tensor whose axes do not fit")
    sizes = [level.int32(1) for level in levels]
    lengths = list(tensor.shape)
    for axis, size in zip(blocks, sizes[rank:], strict=True):
        if size < 1 or lengths[axis] % size:
            raise FlatbufferError("a sparse tensor whose blocks do not fit")
        lengths[axis] //= size
    stored = 1
    for place, level in enumerate(levels):
        if level.byte(0) == 0:
            if place < rank and sizes[place] != lengths[place]:
                raise FlatbufferError("a sparse tensor whose sizes do not fit")
            stored *= sizes[place]
        elif place == 1 and level.byte(0) == 1:
            segments, indices = _index(level, 2), _index(level, 4)
            rises = len(segments) == stored + 1 and segments[0] == 0 and (np.diff(segments) >= 0).all()
            if not rises or segments[-1] != len(indices) or (len(indices) and indices.max() >= lengths[1]):
                raise FlatbufferError("a sparse tensor whose index does not fit")
            if len(indices) and indices.min() < 0:
                raise FlatbufferError("a sparse tensor whose index does not fit")
            stored = len(indices)
        else:
            raise FlatbufferError("a sparse tensor of an unknown form")
    if count != stored * BITS[tensor.type] // 8:
        raise FlatbufferError("a sparse tensor whose values do not fit its index")


def _index(level: Table, number: int) -> np.ndarray:
    """The numbers of a vector of a sparse tensor's index, int64 [n]."""
    kind, vector = level.byte(number), level.table(number + 1)
    widths = {1: "<i4", 2: "<u2", 3: "u1"}
    if vector is None or kind not in widths:
        raise FlatbufferError("a sparse tensor without an index")
    dtype = np.dtype(widths[kind])
    start, count = vector.vector(0, dtype.itemsize)
    return np.frombuffer(vector._content, dtype, count, start).astype(np.int64)


def _graph(table: Table, codes: list[int], buffers: list[tuple[int, int]], scales: _Scales) -> Graph:
    tensors = [_tensor(tensor, buffers, scales) for tensor in table.tables(0, MAX_TENSORS)]
    count = len(tensors)
    inputs, outputs = table.integers(1, MAX_ARGUMENTS), table.integers(2, MAX_ARGUMENTS)
    if table.has(4):
        table.text(4)
    if not all(0 <= place < count for place in (*inputs, *outputs)) or len(set(inputs)) != len(inputs):
        raise FlatbufferError("a graph whose inputs or outputs do not exist")
    return Graph(tensors, inputs, outputs, [_operator(o, codes, count) for o in table.tables(3, MAX_OPERATORS)])


def _operator(table: Table, codes: list[int], tensors: int) -> Operator:
    if not table.only(OPERATOR_FIELDS):
        raise FlatbufferError("an operator of an unknown form")
    number = table.uint32(0)
    if number >= len(codes):
        raise FlatbufferError("an operator whose code does not exist")
    inputs, outputs = table.integers(1, MAX_ARGUMENTS), table.integers(2, MAX_ARGUMENTS)
    if not all(-1 <= place < tensors for place in inputs) or not all(0 <= place < tensors for place in outputs):
        raise FlatbufferError("an operator whose tensors do not exist")
    if table.integers(8, 0) or (table.has(7) and any(_bytes(table, 7))):
        raise FlatbufferError("an operator of an unknown form")
    kind = table.byte(3)
    options = table.table(4) if kind and table.has(4) else None
    if bool(kind) != (options is not None):
        raise FlatbufferError("an operator without its options")
    return Operator(codes[number], inputs, outputs, kind, options)


def _bytes(table: Table, number: int) -> bytes:
    start, count = table.vector(number, 1)
    return table._content[start : start + min(count, MAX_ARGUMENTS)]


def _signature(table: Table, graphs: list[Graph]) -> tuple[str, SignatureDef]:
    number = table.uint32(4)
    if number >= len(graphs):
        raise FlatbufferError("a signature whose graph does not exist")
    graph = graphs[number]
    key, maps = table.text(2), []
    for field_number, allowed in ((0, graph.inputs), (1, graph.outputs)):
        entries = table.tables(field_number, MAX_ARGUMENTS)
        found = {entry.text(0): entry.uint32(1) for entry in entries}
        places = list(found.values())
        if len(found) != len(entries) or not set(places) <= set(allowed):
            raise FlatbufferError(f"the signature {key!r} has tensors that are not those of its graph")
        if field_number == 0 and sorted(places) != sorted(allowed):
            raise FlatbufferError(f"the signature {key!r} has tensors that are not those of its graph")
        maps.append(found)
    return key, SignatureDef(number, *maps)
