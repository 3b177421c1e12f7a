"""Reads and writes flatbuffers as objects; what is written has equal tables, vectors and strings only once."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

IDENTIFIER = b"TFL3"
# The schema aligns the data of buffers to 16 bytes. Small ones (scalars, shapes) are read by the element, which needs
# four; for them the padding would be larger than the data.
ALIGNED_FROM, ALIGNMENT = 64, 16


def read(content: bytes) -> Any:
    """The ``ModelT`` of a flatbuffer, with no data outside of its buffers."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: Any) -> bytes:
    """The flatbuffer of a ``ModelT``."""
    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A builder that writes no table, vector of numbers or string twice: the offsets point to the first one.

    A format without pointers back and with immutable data allows that, and a graph has hundreds of equal tensors,
    options and shapes. A table or vector that turns out to be there already is taken back.
    """

    def __init__(self) -> None:
        super().__init__(1 << 16)
        self._there: dict[Any, int] = {}
        self._start = 0
        self._content: list[Any] = []
        self._numbers = True
        self.vectorNumElems: int = 0

    def StartObject(self, numfields: int) -> None:  # noqa: N802
        self._start, self._content = self.Offset(), []
        super().StartObject(numfields)

    def PrependSlot(self, flags: Any, o: int, x: Any, d: Any) -> None:  # noqa: N802
        if x != d:
            self._content.append((o, flags.__name__, x))
        super().PrependSlot(flags, o, x, d)

    def PrependUOffsetTRelativeSlot(self, o: int, x: int, d: int) -> None:  # noqa: N802
        if x != d:
            self._content.append((o, "offset", x))
        super().PrependUOffsetTRelativeSlot(o, x, d)

    def EndObject(self) -> int:  # noqa: N802
        key = ("table", *self._content)
        if key in self._there:
            self._take_back()
            self.current_vtable = None
            return self._there[key]
        return self._there.setdefault(key, super().EndObject())

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803
        self._start, self._content = self.Offset(), [elemSize, alignment]
        self._numbers = True
        return super().StartVector(elemSize, numElems, alignment)

    def PrependUOffsetTRelative(self, off: int) -> None:  # noqa: N802
        self._numbers = False
        super().PrependUOffsetTRelative(off)

    def EndVector(self, numElems: int | None = None) -> int:  # noqa: N802, N803
        if not self._numbers:
            return super().EndVector()
        end = self.head + self._content[0] * self.vectorNumElems
        key = ("vector", *self._content, bytes(self.Bytes[self.head : end]))
        if key in self._there:
            self._take_back()
            return self._there[key]
        return self._there.setdefault(key, super().EndVector())

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        wide = x.dtype == np.uint8 and x.size >= ALIGNED_FROM
        self.StartVector(x.itemsize, x.size, ALIGNMENT if wide else x.dtype.alignment)
        payload = x.astype(x.dtype.newbyteorder("<")).tobytes()
        self.head -= len(payload)
        self.Bytes[self.head : self.head + len(payload)] = payload
        return self.EndVector()

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802
        self._start, self._content, self._numbers = self.Offset(), [1, "string"], True
        return super().CreateString(s, encoding, errors)

    def _take_back(self) -> None:
        self.head = len(self.Bytes) - self._start
        self.nested = False
