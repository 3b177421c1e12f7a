"""JSON lines: one object a line, numbers kept as they are written."""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from edgerec.data.texts import Texts
from edgerec.errors import DataError

# Keys are looked for in this many lines; one that comes later only is no column.
LOOKED_AT = 1000
Reject = tuple[int, str, str]


def json_columns(path: Path) -> list[str]:
    """Keys of the first objects, in the order in which they appear.

    Raises:
        DataError: the file is empty, unreadable, or none of the first lines is an object.
    """
    found: dict[str, None] = {}
    for _, content in islice(_lines(path), LOOKED_AT):
        record = parse_object(content)
        if not isinstance(record, str):
            found.update(dict.fromkeys(record))
    if not found:
        raise DataError(f"{path}: no JSON object in the first {LOOKED_AT:,} lines; write one object a line")
    return list(found)


def json_rows(path: Path, names: list[str], rejects: list[Reject]) -> Iterator[Texts]:
    """The values of ``names``, line by line; lines that hold no object are added to ``rejects``."""
    for number, content in _lines(path):
        record = parse_object(content)
        if isinstance(record, str):
            rejects.append((number, record, content.decode("utf-8", "replace").rstrip("\r\n")))
        else:
            yield [as_text(record.get(name)) for name in names]


def parse_object(content: bytes) -> dict[str, Any] | str:
    """The object of a line, its numbers as the texts they are written with; or why there is none."""
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


def as_text(value: Any) -> str | None:
    """A value as a cell: lists of plain values with ``|`` between (a multi-valued feature), objects as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
        return "|".join(as_text(part) or "" for part in value)
    return json.dumps(value, ensure_ascii=False)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line numbers from 1 and lines; empty ones at the end are no lines."""
    opener = gzip.open if path.suffix == ".gz" else open
    empty: list[int] = []
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not content.strip():
                    empty.append(number)
                    continue
                yield from ((before, b"") for before in empty)
                empty.clear()
                yield number, content
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
