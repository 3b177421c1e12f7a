"""The bytes of a bundle's file, split: the tables by item, the network, and the members of its ZIP."""

import math
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from device_runner.bundle import Bundle
from device_runner.contract import Retrieval
from device_runner.user_features import rows_of

# Numbers of fields in the TFLite schema.
MODEL_SUBGRAPHS, MODEL_BUFFERS = 2, 4
SUBGRAPH_TENSORS = 0
TENSOR_SHAPE, TENSOR_BUFFER = 0, 2
BUFFER_DATA, BUFFER_SIZE = 0, 2
ITEM_TABLE = "item_table"


@dataclass(frozen=True)
class FlatTable:
    """A table of a flatbuffer.

    Attributes:
        content: the whole flatbuffer.
        place: where the table begins.
    """

    content: bytes
    place: int

    @classmethod
    def root(cls, content: bytes) -> "FlatTable":
        return cls(content, _uint32(content, 0))

    def field(self, number: int) -> int:
        """Where a field's value begins; 0: the table does not have it."""
        vtable = self.place - struct.unpack_from("<i", self.content, self.place)[0]
        entry = 4 + 2 * number
        if entry >= struct.unpack_from("<H", self.content, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", self.content, vtable + entry)[0]
        return self.place + offset if offset else 0

    def number(self, number: int, form: str) -> int:
        """A field that is a number of the form of ``struct``; 0 where it is absent."""
        place = self.field(number)
        return int(struct.unpack_from(form, self.content, place)[0]) if place else 0

    def vector(self, number: int) -> tuple[int, int]:
        """Where a vector's elements begin, and how many there are."""
        place = self.field(number)
        if not place:
            return 0, 0
        start = place + _uint32(self.content, place)
        return start + 4, _uint32(self.content, start)

    def tables(self, number: int) -> Iterator["FlatTable"]:
        """The tables of a vector of tables."""
        start, count = self.vector(number)
        for place in range(start, start + 4 * count, 4):
            yield FlatTable(self.content, place + _uint32(self.content, place))


def file_parts(bundle: Bundle) -> dict[str, int]:
    """Bytes of the bundle's file, by part; all but ``total`` add up to it.

    ``item_table`` sums the constants of the model with one line for each item row, ``transitions`` those of the
    item-to-item table and ``prior`` those with one number for each item (which a ranking model's item table includes),
    all without their quantization scales; ``network`` is the rest of the model. ``ids``, ``titles`` and further members
    are as they are stored in the ZIP, ``manifest`` with the ZIP's own directory.

    The bundle has been checked by ``Bundle.read``.
    """
    content = bundle.path.read_bytes()
    model_bytes = int(bundle.manifest["flatbuffer_bytes"])
    tables = _tables(content[:model_bytes], bundle) if len(bundle.items) > 1 else {}
    parts = {**tables, "network": model_bytes - sum(tables.values())}
    with zipfile.ZipFile(bundle.path) as archive:
        for info in archive.infolist():
            parts[_part_of(info.filename)] = info.compress_size
    known = sum(parts.values()) - parts.get("manifest", 0)
    return {"total": len(content), **parts, "manifest": len(content) - known}


def _tables(model: bytes, bundle: Bundle) -> dict[str, int]:
    """Bytes of the constants by item."""
    contract, rows = bundle.contract, len(bundle.items)
    lines = {rows, rows + rows_of(bundle.user_features)}
    root = FlatTable.root(model)
    sizes = [_buffer_bytes(buffer) for buffer in root.tables(MODEL_BUFFERS)]
    found: dict[int, str] = {}
    for graph in root.tables(MODEL_SUBGRAPHS):
        for tensor in graph.tables(SUBGRAPH_TENSORS):
            start, rank = tensor.vector(TENSOR_SHAPE)
            shape = struct.unpack_from(f"<{rank}i", model, start) if rank else ()
            if lines.intersection(shape):
                part = _table_of(shape, lines, contract.neighbours) if isinstance(contract, Retrieval) else ITEM_TABLE
                found[tensor.number(TENSOR_BUFFER, "<I")] = part
    totals: dict[str, int] = {}
    for buffer, part in found.items():
        if size := sizes[buffer]:
            totals[part] = totals.get(part, 0) + size
    return totals


def _table_of(shape: Sequence[int], lines: set[int], neighbours: int) -> str:
    """The name of a table of this shape with one line for each item."""
    columns = math.prod(shape) // next(size for size in shape if size in lines)
    return "prior" if columns == 1 else "transitions" if columns == neighbours else ITEM_TABLE


def _buffer_bytes(buffer: FlatTable) -> int:
    """Bytes of a buffer, inside the flatbuffer or behind it."""
    return buffer.vector(BUFFER_DATA)[1] or buffer.number(BUFFER_SIZE, "<Q")


def _part_of(member: str) -> str:
    names = {"items.txt": "ids", "items.bin": "ids", "edgerec.json": "manifest", "MODEL_CARD.md": "card"}
    return names.get(member) or member.partition(".")[0]


def _uint32(content: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", content, place)[0])
