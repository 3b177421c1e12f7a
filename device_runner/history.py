"""History files: the user's own events as CSV or JSON."""

import csv
import json
from pathlib import Path

from device_runner.errors import HistoryError

ITEM_COLUMNS = ("item_id", "item")


def read_history(path: str | Path) -> list[str]:
    """Raw item ids, oldest first.

    CSV: a header with a column ``item_id`` (or ``item``), one event a row, oldest first; a file with one column and
    no such header is a plain list of ids. JSON: a list of ids, a list of objects with ``item_id`` (or ``item``), or
    an object whose ``history`` is one of these.

    Raises:
        HistoryError: absent, not text, or not of these forms; names file and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise HistoryError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    return _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text, path)


def _from_json(text: str, path: Path) -> list[str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"{path}: not JSON ({error})") from None
    if isinstance(document, dict):
        document = document.get("history")
    if not isinstance(document, list):
        raise HistoryError(f'{path}: give a list of item ids, or {{"history": […]}}')
    return [_json_item(entry, position, path) for position, entry in enumerate(document, 1)]


def _json_item(entry: object, position: int, path: Path) -> str:
    if isinstance(entry, dict):
        entry = next((entry[name] for name in ITEM_COLUMNS if name in entry), None)
    if isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
        return str(entry)
    raise HistoryError(f"{path}: entry {position} has no item id (a text, or an object with item_id)")


def _from_csv(text: str, path: Path) -> list[str]:
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise HistoryError(f"{path}: line {reader.line_num}: not CSV ({error})") from None
    if not rows:
        return []
    header = [name.strip().lower() for name in rows[0][1]]
    column = next((header.index(name) for name in ITEM_COLUMNS if name in header), None)
    if column is None:
        if len(header) > 1:
            raise HistoryError(f"{path}: line 1: no column item_id among {', '.join(header)}")
        return [_csv_item(row, 0, line, path) for line, row in rows]
    return [_csv_item(row, column, line, path) for line, row in rows[1:]]


def _csv_item(row: list[str], column: int, line: int, path: Path) -> str:
    if column >= len(row) or not row[column]:
        raise HistoryError(f"{path}: line {line}: no item id")
    return row[column]
