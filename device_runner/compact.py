"""Sequences of texts for large catalogues: a million Python strings in a dictionary would take 150 MB."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from device_runner.lines import encoded_line, unescape_line

# Up to so many texts, a list and a dictionary are small enough, and a few microseconds faster.
COMPACT_FROM = 50_000
CHECKED_AT_ONCE = 1 << 16
# Of a hash of a text, for the index.
HASH_BITS = 0xFFFFFFFF
# Digits that no number of 63 bits has.
LONGEST = 20


class CompactTexts(Sequence[str], ABC):
    """A sequence of texts like a list, whose first one is ``""`` (padding), as for the rows of the item table."""

    @abstractmethod
    def _text(self, row: int) -> str:
        """The text of a row from 1 on."""

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        rows = range(len(self))[place]
        if isinstance(rows, range):
            return [self._text(row) if row else "" for row in rows]
        return self._text(rows) if rows else ""

    def __iter__(self) -> Iterator[str]:
        return (self._text(row) if row else "" for row in range(len(self)))


class IndexedTexts(CompactTexts, ABC):
    """Compact texts that know where each of them is.

    Attributes:
        unique: whether no text is there twice, padding included.
    """

    unique: bool

    @abstractmethod
    def find(self, texts: Sequence[str]) -> list[int]:
        """Their rows, 0 where there is none."""

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        row = self.find([value])[0] if value else 0
        if (row or not value) and row in range(len(self))[start:stop]:
            return row
        raise ValueError(f"{value!r} is not in the catalogue")

    def __contains__(self, value: object) -> bool:
        return value == "" or (isinstance(value, str) and self.find([value])[0] > 0)


class Numbers(IndexedTexts):
    """Texts that are whole numbers as Python writes them: 8 bytes each, or 12 for int64.

    Args:
        values: int32 or int64 [n] of rows 1 to n, none negative.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        # Taken before the larger result of the sort, so that no hole of that size stays below it.
        self._order = np.empty(len(values), np.int32)
        self._order[:] = np.argsort(values)
        parts = (self._order[start : start + CHECKED_AT_ONCE + 1] for start in range(0, len(values), CHECKED_AT_ONCE))
        self.unique = not any((np.diff(values[part]) == 0).any() for part in parts)

    def __len__(self) -> int:
        return len(self._values) + 1

    def _text(self, row: int) -> str:
        return str(self._values[row - 1])

    def find(self, texts: Sequence[str]) -> list[int]:
        largest = np.iinfo(self._values.dtype).max
        numbers = [_number(text) for text in texts]
        wanted = np.array([-1 if number > largest else number for number in numbers], self._values.dtype)
        # A binary search for all at once. That of numpy would copy the whole order to int64 in every call.
        first, last = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(self._order) - 1)
        for _ in range(len(self._order).bit_length()):
            middle = (first + last) >> 1
            below = self._values[self._order[middle]] < wanted
            first, last = np.where(below, np.minimum(middle + 1, last), first), np.where(below, last, middle)
        rows = self._order[first]
        return np.where(self._values[rows] == wanted, rows + 1, 0).tolist()


class Lines(CompactTexts):
    """Texts that are lines of UTF-8 (see :mod:`device_runner.lines`): their bytes, and 4 or 8 for where each ends.

    Args:
        content: the lines of rows 1 to n, each with a line feed.

    Raises:
        ValueError: a line has an illegal escape.
    """

    def __init__(self, content: bytes) -> None:
        ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
        self._content = content
        self._ends = ends.astype(np.int32) if len(content) < 2**31 else ends
        if b"\\" in content:
            # Lookup compares lines: they must be written as they are looked up.
            lines = (self._line(row) for row in range(1, len(self)))
            if any(line != encoded_line(unescape_line(line.decode())) for line in lines if b"\\" in line):
                raise ValueError("illegal escape")

    def __len__(self) -> int:
        return len(self._ends) + 1

    def _line(self, row: int) -> bytes:
        start = int(self._ends[row - 2]) + 1 if row > 1 else 0
        return self._content[start : int(self._ends[row - 1])]

    def _text(self, row: int) -> str:
        return unescape_line(self._line(row).decode())


class IndexedLines(Lines, IndexedTexts):
    """Lines with an index, 8 bytes each: their hashes in order, and the rows of these.

    Args, Raises: as for ``Lines``.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        rows = range(1, len(self))
        hashes = np.fromiter((hash(self._line(row)) & HASH_BITS for row in rows), np.uint32, len(rows))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], (order + 1).astype(np.int32)
        self.unique = not any(self._twice()) and all(map(self._line, self._empty()))

    def _twice(self) -> Iterator[bool]:
        """Of each two neighbours in the index with the same hash, whether they are the same line."""
        # Equal hashes are so rare that a third line between two equal ones is next to impossible, but it is looked at.
        for place in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]):
            line, after = self._line(int(self._rows[place])), int(place) + 1
            while after < len(self._hashes) and self._hashes[after] == self._hashes[place]:
                yield line == self._line(int(self._rows[after]))
                after += 1

    def _empty(self) -> list[int]:
        """Rows of lines that have the hash of an empty one."""
        return self._same_hash([b""])[0]

    def find(self, texts: Sequence[str]) -> list[int]:
        lines = [encoded_line(text) for text in texts]
        found = zip(lines, self._same_hash(lines), strict=True)
        return [next((row for row in rows if self._line(row) == line), 0) for line, rows in found]

    def _same_hash(self, lines: Sequence[bytes]) -> list[list[int]]:
        """For each line the rows whose lines have its hash."""
        wanted = np.array([hash(line) & HASH_BITS for line in lines], np.uint32)
        spans = (np.searchsorted(self._hashes, wanted, side) for side in ("left", "right"))
        return [self._rows[first:last].tolist() for first, last in zip(*spans, strict=True)]


def _number(text: str) -> int:
    """The number that a text is, if it is written as Python does; else -1."""
    canonical = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and len(text) < LONGEST
    return int(text) if canonical else -1
