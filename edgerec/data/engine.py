"""What the preparation asks of the engine that runs its SQL."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edgerec.data.sources.parquet import ParquetTable
from edgerec.data.sources.uri import UriTable

# Target column -> column of the table; ``None`` where the table has none: the target is NULL then.
ColumnMap = Mapping[str, str | None]


class Engine(Protocol):
    """Runs plain SQL over named tables, which the methods below make.

    The SQL keeps to what every engine accepts. Each step is saved as Parquet, which keeps memory flat and plans small
    on long chains. All methods but ``close`` raise :class:`edgerec.errors.DataError`, in one line, when the engine
    fails (a damaged file, a full disk).
    """

    def close(self) -> None:
        """Free what the engine holds. Its tables cannot be used any more."""

    def load(self, name: str, table: ParquetTable | UriTable, columns: ColumnMap) -> None:
        """Let ``name`` stand for a table that the engine reads itself; only Spark reads a ``UriTable``.

        Its columns are ``line`` (bigint, number of the row from 1, in file order), ``problem`` and ``problem_text``
        (text, NULL for good rows), and the targets of ``columns`` as text. Numbers without a fraction are whole
        numbers ("7", not "7.0"), whatever the type of their column; bytes are UTF-8 texts, and a problem where they
        are not.
        """

    def attach(self, name: str, path: Path, columns: ColumnMap) -> None:
        """Let ``name`` stand for a Parquet file of :func:`edgerec.data.text_parquet.write_texts`, with the columns
        that ``load`` gives.
        """

    def save(self, name: str, sql: str) -> None:
        """Run ``sql``, and let ``name`` stand for its rows from here on. ``sql`` may read the former ``name``."""

    def define(self, name: str, sql: str) -> None:
        """Let ``name`` stand for ``sql``, which is run wherever ``name`` is used. ``sql`` must not read ``name``."""

    def write(self, sql: str, path: Path, in_parts: bool = False) -> None:
        """Run ``sql`` and write its rows, in its order, to one Parquet file; ``in_parts`` for large results: to one
        file, or a folder of ``part-*.parquet`` whose order is that of their names.
        """

    def count(self, name: str) -> int:
        """Number of rows of a table."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run ``sql`` and return its rows, for results of a few rows."""

    def time_micros(self, column: str) -> str:
        """SQL for an ISO 8601 text as microseconds since 1970 (bigint; UTC unless the text has an offset), NULL where
        it is not a date.
        """


class ColumnSql(NamedTuple):
    """SQL that reads a column as text.

    Attributes:
        text: the text.
        broken: whether it cannot be read, SQL boolean; ``None``: it always can.
        shown: what to show then, SQL text.
        reason: what to say then; default: that the column is not UTF-8.
    """

    text: str
    broken: str | None = None
    shown: str = ""
    reason: str | None = None


def number_as_text(column: str, plain: str, may_be_nan: bool) -> ColumnSql:
    """For a column of numbers with a fraction: whole ones without it, the others as ``plain`` writes them."""
    # Beyond 9e18 a whole number does not fit a bigint.
    whole = f"{column} = floor({column}) and abs({column}) < 9e18"
    missing = f"when isnan({column}) then NULL " if may_be_nan else ""
    return ColumnSql(f"case {missing}when {whole} then cast(cast({column} as bigint) as string) else {plain} end")


def as_records(columns: Mapping[str, ColumnSql]) -> str:
    """The select list behind ``line``: ``problem``, ``problem_text`` and the columns, a target each."""
    broken = {target: column for target, column in columns.items() if column.broken}
    reasons = " ".join(
        f"when {column.broken} then '{column.reason or f'{target} is not UTF-8'}'" for target, column in broken.items()
    )
    shown = " ".join(f"when {column.broken} then {column.shown}" for column in broken.values())
    problem, text = (f"case {cases} end" if cases else "cast(NULL as string)" for cases in (reasons, shown))
    texts = ", ".join(f"{column.text} as {target}" for target, column in columns.items())
    return f"{problem} as problem, {text} as problem_text, {texts}"


NO_COLUMN = ColumnSql("cast(NULL as string)")


def staged_columns(columns: ColumnMap) -> str:
    """The select list for a file of ``write_texts`` that holds the targets of ``columns``."""
    chosen = (target if source else f"{NO_COLUMN.text} as {target}" for target, source in columns.items())
    return f"line, problem, problem_text, {', '.join(chosen)}"
