"""Typed values of databases, Parquet and JSON as exact texts."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def as_text(value: Any) -> str | None:
    """A value as a cell of a table.

    Dates are ISO 8601 with microseconds, numbers keep all their digits, a whole number has no decimal point however
    it is stored, lists of plain values have ``|`` between them (a multi-valued feature), objects are JSON.

    Raises:
        UnicodeDecodeError: bytes that are not UTF-8.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 9e18 else str(value)
    if isinstance(value, Decimal):
        return format(value.to_integral_value() if value == value.to_integral_value() else value, "f")
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8")
    if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
        return "|".join(as_text(part) or "" for part in value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
