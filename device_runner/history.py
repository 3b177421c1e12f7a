"""History files: the user's own events as CSV or JSON."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_runner.errors import HistoryError, one_line

if TYPE_CHECKING:
    from device_runner.history_store import Event

ITEM_COLUMNS = ("item_id", "item")
# Names of the column or key with the value of an event, such as its rating.
VALUE_COLUMNS = ("value", "rating")
# Headers of item columns elsewhere. As the first line of a file with one column, they are not an item id.
FOREIGN_COLUMNS = frozenset(
    {"id", "itemid", "product_id", "product", "movie_id", "movieid", "article_id", "sku", "asin"}
)


def read_history(path: str | Path, item_column: str | None = None) -> list[str]:
    """Raw item ids, oldest first.

    CSV: a header with a column ``item_id`` (or ``item``), one event a row, oldest first; a file with one column and
    no such header is a plain list of ids. JSON: a list of ids, a list of objects with ``item_id`` (or ``item``), or
    an object whose ``history`` is one of these.

    Args:
        item_column: another name for ``item_id`` that is accepted, and preferred: the one of the bundle's data set.

    Raises:
        HistoryError: absent, not text, or not of these forms; names the file and the line.
    """
    path = Path(path)
    return _items(read_text(path), item_names(item_column), path)


def read_text(path: Path) -> str:
    """The text of a file that people made: UTF-8, with or without a byte order mark.

    Raises:
        HistoryError: it is absent, or not text.
    """
    try:
        # newline="" leaves line ends as they are, so that an id may contain one.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except FileNotFoundError:
        raise HistoryError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def read_json(text: str, path: Path) -> Any:
    """The JSON document of a file.

    Raises:
        HistoryError: it is none.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise HistoryError(f"{path}: not JSON ({error})") from None
    except ValueError:  # Python reads no more than 4,300
        raise HistoryError(f"{path}: has a number of too many digits") from None


def item_names(item_column: str | None) -> tuple[str, ...]:
    """Names of the column or key with the item id, the preferred one first."""
    return tuple(dict.fromkeys([*([item_column] if item_column else []), *ITEM_COLUMNS]))


def _items(text: str, names: Sequence[str], path: Path) -> list[str]:
    return _from_json(text, names, path) if path.suffix.lower() == ".json" else _from_csv(text, names, path)


def read_events(path: str | Path, item_column: str | None = None) -> "list[Event]":
    """Events, oldest first, from a file as :func:`read_history` reads it, with the optional columns (or keys of the
    objects) ``time`` and ``type``. A time is a number of seconds from 1970, or ISO 8601 (UTC, where it names no zone);
    an event without one is of now.

    Args:
        item_column: another name for ``item_id`` that is accepted and preferred.

    Raises:
        HistoryError: see :func:`read_history`; or a time is neither.
    """
    from device_runner.history_store import Event  # SQLite is loaded only where a store is used

    path = Path(path)
    text = read_text(path)
    events = []
    for item, place, columns in _with_columns(text, item_names(item_column), path):
        try:
            events.append(Event(item, seconds(columns.get("time")), str(columns.get("type") or "")))
        except (TypeError, ValueError) as error:
            raise HistoryError(f"{path}: {place}: {error}") from None
    return events


def read_valued_history(
    path: str | Path, item_column: str | None = None
) -> tuple[list[str], list[float | None] | None]:
    """Raw item ids, oldest first, and the value of each event, from a file as :func:`read_history` reads it with a
    column (or key of the objects) ``value`` or ``rating``; an event may have none. ``None`` where no event has one.

    Raises:
        HistoryError: see :func:`read_history`; or a value is not a finite number.
    """
    path = Path(path)
    items, values = [], []
    for item, place, columns in _with_columns(read_text(path), item_names(item_column), path):
        value = next((columns[name] for name in VALUE_COLUMNS if name in columns), None)
        items.append(item)
        try:
            values.append(_value(value))
        except ValueError as error:
            raise HistoryError(f"{path}: {place}: {error}") from None
    return items, values if any(value is not None for value in values) else None


def _value(value: object) -> float | None:
    """A number, of a number or a text; ``None`` for nothing, and for NaN.

    Raises:
        ValueError: it is neither.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise ValueError(f"the value {one_line(str(value))!r} is not a number")
    return None if math.isnan(number) else number


def _with_columns(text: str, names: Sequence[str], path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each event: its item, where it stands in the file, and all its columns or keys by name, lower case in CSV."""
    items = _items(text, names, path)
    if path.suffix.lower() == ".json":
        document = read_json(text, path)
        entries = document["history"] if isinstance(document, dict) else document
        more = [(f"entry {place}", entry if isinstance(entry, dict) else {}) for place, entry in enumerate(entries, 1)]
    else:
        records = csv_records(text, path)
        header = [name.strip().lower() for name in records[0][1]] if records else []
        more = [(f"line {line}", dict(zip(header, record, strict=False))) for line, record in records[-len(items) :]]
    for item, (place, columns) in zip(items, more if items else [], strict=True):
        yield item, place, columns


def seconds(value: object) -> float | None:
    """Seconds from 1970 by a number or a text.

    Raises:
        ValueError: it is neither seconds nor ISO 8601.
    """
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    with suppress(ValueError):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"the time {text!r} is neither seconds from 1970 nor ISO 8601") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _from_json(text: str, names: Sequence[str], path: Path) -> list[str]:
    document = read_json(text, path)
    if isinstance(document, dict):
        document = document.get("history")
    if not isinstance(document, list):
        raise HistoryError(f'{path}: give a list of item ids, or {{"history": […]}}')
    return [_json_item(entry, position, names, path) for position, entry in enumerate(document, 1)]


def _json_item(entry: object, position: int, names: Sequence[str], path: Path) -> str:
    if isinstance(entry, dict):
        entry = next((entry[name] for name in names if name in entry), None)
    if isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
        return str(entry)
    raise HistoryError(f"{path}: entry {position} has no item id (a text, or an object with {_either(names)})")


def _from_csv(text: str, names: Sequence[str], path: Path) -> list[str]:
    records = csv_records(text, path)
    if not records:
        return []
    header = [name.strip().lower() for name in records[0][1]]
    column = next((header.index(name.lower()) for name in names if name.lower() in header), None)
    if column is not None:
        return [_csv_item(record, column, line, path) for line, record in records[1:]]
    if len(header) > 1 or header[0] in FOREIGN_COLUMNS:
        raise HistoryError(
            f"{path}: line 1: no column {_either(names)} among {', '.join(header)}; rename the item column"
        )
    return [_csv_item(record, 0, line, path) for line, record in records]


def csv_records(text: str, path: Path) -> list[tuple[int, list[str]]]:
    """The records of a CSV text that are not blank lines, each with the number of its first line.

    Raises:
        HistoryError: it is not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records, line = [], 1
    try:
        for record in reader:
            if record:
                records.append((line, record))
            line = reader.line_num + 1
    except csv.Error as error:
        raise HistoryError(f"{path}: line {line}: not CSV ({error})") from None
    return records


def _csv_item(record: list[str], column: int, line: int, path: Path) -> str:
    if column >= len(record) or not record[column]:
        raise HistoryError(f"{path}: line {line}: no item id")
    return record[column]


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
