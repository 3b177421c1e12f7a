"""JSON lines, plain or gzipped: one object a line, numbers kept as they are written."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from edgerec.data.sources.cells import as_text
from edgerec.data.sources.table import Problem, Record, Say, printable
from edgerec.errors import DataError

# The columns are the keys of this many lines; a key that first appears later is not one.
LOOKED_AT = 1000


@dataclass(frozen=True)
class JsonLines:
    """A file with one JSON object a line; its keys are the columns, in the order in which they appear."""

    path: Path
    columns: list[str] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> "JsonLines":
        """Find the columns.

        Raises:
            DataError: the file cannot be read, or none of the first lines is an object.
        """
        found: dict[str, None] = {}
        for _, content in islice(_lines(path), LOOKED_AT):
            record = parse_object(content)
            if not isinstance(record, str):
                found.update(dict.fromkeys(record))
        if not found:
            raise DataError(f"{path}: no JSON object in the first {LOOKED_AT:,} lines; write one object a line")
        return cls(path, list(found))

    @property
    def name(self) -> str:
        return str(self.path)

    def place(self, line: int) -> tuple[str, int | None]:
        return self.name, line

    def records(self, names: Sequence[str], say: Say) -> Iterator[Record]:
        """See :meth:`edgerec.data.sources.table.Table.records`. A key that a line lacks is an empty value."""
        empty = [None] * len(names)
        for number, content in _lines(self.path):
            record = parse_object(content)
            if isinstance(record, str):
                yield number, empty, Problem(record, content.decode("utf-8", "surrogateescape").rstrip("\r\n"))
            else:
                yield number, [as_text(record.get(name)) for name in names], None


def parse_object(content: bytes) -> dict[str, Any] | str:
    """The object of a line, its numbers as the texts they are written with; or the reason why there is none."""
    try:
        text = content.decode("utf-8")
        record = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        if "\\u" in text:
            json.dumps(record, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no text
    except UnicodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "not JSON"
    return record if isinstance(record, dict) else "not a JSON object"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line numbers from 1 and lines; blank ones at the end are no lines.

    Raises:
        DataError: the file cannot be read.
    """
    blank: list[int] = []
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not content.strip():
                    blank.append(number)
                    continue
                yield from ((before, b"") for before in blank)
                blank.clear()
                yield number, content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {printable(str(error))}") from None
