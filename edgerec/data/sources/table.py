"""What tables of every kind have in common, and the records that they are read as."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from edgerec.errors import DataError

Say = Callable[[str], None]
LONGEST_SHOWN = 1000
# Control characters, halves of surrogate pairs, and characters that turn the direction of a text or break its line.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Problem(NamedTuple):
    """Why a record cannot be used, and what is written there."""

    reason: str
    text: str


# Where the record begins (line of the file, or number of the row, from 1), its values, and what is wrong with it. The
# values of a record with a problem are as many as those of the others, and empty.
Record = tuple[int, Sequence[str | None], Problem | None]


class Table(Protocol):
    """A table whose columns are known."""

    @property
    def name(self) -> str:
        """What messages call it: its path, or the table's name in its database."""

    @property
    def columns(self) -> list[str]:
        """Names of its columns, in order."""

    def records(self, names: Sequence[str], say: Say) -> Iterator[Record]:
        """Read the columns ``names``, record by record, with flat memory. ``say`` is told of what looks odd.

        Raises:
            DataError: reading cannot go on.
        """

    def place(self, line: int) -> tuple[str, int | None]:
        """The file that holds the record at ``line`` of the whole table, and the line there (``None``: not known)."""


def require_columns(table: Table, wanted: dict[str, str | None]) -> None:
    """Check that the columns that the recipe names are there.

    Args:
        wanted: recipe key -> column name, or ``None`` where the recipe names none.

    Raises:
        DataError: names the recipe key, the missing column and those that exist.
    """
    for key, name in wanted.items():
        if name is not None and name not in table.columns:
            raise DataError(
                f"{table.name}: no column {printable(name)!r}; it has {shown_names(table.columns)}. "
                f"Name yours with {key} in the recipe, or --set {key}=NAME"
            )


def require_distinct(columns: Sequence[str], where: str) -> None:
    """Check that no two columns have the same name.

    Raises:
        DataError: names those that do.
    """
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise DataError(f"{where}: column named twice: {shown_names(twice)}")


def printable(text: str) -> str:
    """``text`` on one line and safe for a terminal: control characters escaped, cut where it is very long."""
    cut = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
    return _UNPRINTABLE.sub(_escaped, cut)


def shown_names(names: Sequence[str]) -> str:
    """Column names as a message lists them."""
    return printable(", ".join(names))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as the reader keeps it
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
