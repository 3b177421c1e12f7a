"""The engine that runs the preparation's SQL. Every step is checkpointed as Parquet: flat memory on long chains."""

from pathlib import Path
from typing import Any, Protocol

import duckdb

from edgerec.data.source import Table, fetch
from edgerec.errors import DataError


class Engine(Protocol):
    """What the preparation asks of an engine; its SQL keeps to what all of them accept."""

    def close(self) -> None: ...

    def read(self, name: str, table: Table, columns: dict[str, str | None]) -> list[tuple[int, str, str]]: ...

    def save(self, name: str, sql: str) -> None: ...

    def write(self, sql: str, path: Path) -> None: ...

    def count(self, name: str) -> int: ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]: ...

    def time_micros(self, column: str) -> str: ...


class DuckEngine:
    """DuckDB, embedded and out of core."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._connection = duckdb.connect(
            config={"temp_directory": str(scratch), "autoinstall_known_extensions": False, "TimeZone": "UTC"}
        )
        self._connection.execute("set enable_progress_bar = false")
        self._saves = 0

    def close(self) -> None:
        self._connection.close()

    def read(self, name: str, table: Table, columns: dict[str, str | None]) -> list[tuple[int, str, str]]:
        """Save ``table`` as ``name``: ``ord`` (in file order; one less than the line where no line was left out) and,
        as text, the columns that ``columns`` maps (a column mapped to ``None`` is NULL).

        Returns:
            Records that could not be read at all: (line, reason, text).

        Raises:
            DataError: the file cannot be read as what its name says.
        """
        chosen = ", ".join(
            f"cast({_quoted(source) if source else 'NULL'} as varchar) as {target}"
            for target, source in columns.items()
        )
        table, rejected = fetch(table, self._scratch, [source for source in columns.values() if source])
        before = 0 if table.header else 1
        select = f"select row_number() over () - {before} as ord, {chosen} from {_scan(table)}"
        try:
            self.save(name, select)
        except duckdb.Error as error:
            raise DataError(f"{table.path}: cannot be read: {str(error).strip().splitlines()[0]}") from None
        if table.kind != "text":
            return rejected
        rejects = self.rows(
            "select line, min(error_type), min(csv_line) from reject_errors group by line order by line"
        )
        return [(int(line), _REASONS.get(kind, str(kind).lower()), str(text)) for line, kind, text in rejects]

    def save(self, name: str, sql: str) -> None:
        """Run ``sql``, write its rows as Parquet and let ``name`` stand for them from here on."""
        self._saves += 1
        path = self._scratch / f"{self._saves}-{name}.parquet"
        self._connection.execute(f"copy ({sql}) to {_literal(path)} (format parquet)")
        self._connection.execute(f"create or replace view {name} as select * from read_parquet({_literal(path)})")

    def write(self, sql: str, path: Path) -> None:
        """Run ``sql`` (ordered) and write its rows to one Parquet file."""
        self._connection.execute(f"copy ({sql}) to {_literal(path)} (format parquet)")

    def count(self, name: str) -> int:
        return int(self.rows(f"select count(*) from {name}")[0][0])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def time_micros(self, column: str) -> str:
        """SQL for microseconds since 1970 (UTC unless an offset is written) of an ISO 8601 text, NULL if no date."""
        return f"epoch_us(try_cast({column} as timestamptz))"


_REASONS = {
    "TOO MANY COLUMNS": "more columns than the header",
    "MISSING COLUMNS": "fewer columns than the header",
    "UNQUOTED VALUE": "a quote inside a value is not closed or not doubled",
    "LINE SIZE OVER MAXIMUM": "the line is longer than 16 MB",
    "INVALID UNICODE": "not UTF-8",
    "INVALID ENCODING": "not UTF-8",
}


def _scan(table: Table) -> str:
    if table.kind == "parquet":
        files = ", ".join(_literal(file) for file in table.files or [table.path])
        return f"read_parquet([{files}], union_by_name = true, hive_partitioning = false)"
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in table.columns)
    quote = _literal('"' if table.quoted else "")
    return (
        f"read_csv({_literal(table.path)}, auto_detect = false, header = {table.header}, columns = {{{columns}}}, "
        f"delim = {_literal(table.delimiter)}, quote = {quote}, escape = {quote}, nullstr = '', "
        f"encoding = {_literal(table.encoding)}, "
        "store_rejects = true, rejects_limit = 0, max_line_size = 16000000)"
    )


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
