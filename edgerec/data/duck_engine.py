"""DuckDB, embedded and out of core: the default engine."""

from pathlib import Path
from typing import Any

import duckdb

from edgerec.data.engine import NO_COLUMN, ColumnMap, ColumnSql, as_records, number_as_text, staged_columns
from edgerec.data.sources.parquet import ParquetTable
from edgerec.data.sources.table import printable
from edgerec.data.sources.uri import UriTable
from edgerec.errors import DataError, plain_reason


class DuckEngine:
    """See :class:`edgerec.data.engine.Engine`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._connection = duckdb.connect(
            config={"temp_directory": str(scratch), "autoinstall_known_extensions": False, "TimeZone": "UTC"}
        )
        self._connection.execute("set enable_progress_bar = false")
        self._saves = 0

    def close(self) -> None:
        self._connection.close()

    def load(self, name: str, table: ParquetTable | UriTable, columns: ColumnMap) -> None:
        if isinstance(table, UriTable):
            raise DataError(f'{table.name}: only Spark reads a URI: set data.engine = "spark"')
        files = ", ".join(map(_literal, table.files))
        scan = f"read_parquet([{files}], union_by_name = true, hive_partitioning = false)"
        types = {str(column): str(kind) for column, kind, *_ in self.rows(f"describe select * from {scan}")}
        found = {
            target: _as_text(_quoted(source), types[source]) if source else NO_COLUMN
            for target, source in columns.items()
        }
        self.save(name, f"select row_number() over () as line, {as_records(found)} from {scan}")

    def attach(self, name: str, path: Path, columns: ColumnMap) -> None:
        self.define(name, f"select {staged_columns(columns)} from read_parquet({_literal(path)})")

    def save(self, name: str, sql: str) -> None:
        self._saves += 1
        path = self._scratch / f"{self._saves}-{name}.parquet"
        self.write(sql, path)
        self.define(name, f"select * from read_parquet({_literal(path)})")

    def define(self, name: str, sql: str) -> None:
        self._run(f"create or replace view {name} as {sql}")

    def write(self, sql: str, path: Path, in_parts: bool = False) -> None:
        self._run(f"copy ({sql}) to {_literal(path)} (format parquet)")

    def count(self, name: str) -> int:
        return int(self.rows(f"select count(*) from {name}")[0][0])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._run(sql).fetchall()

    def time_micros(self, column: str) -> str:
        return f"epoch_us(try_cast({column} as timestamptz))"

    def _run(self, sql: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(sql)
        except duckdb.Error as error:
            raise DataError(f"preparation stopped: {printable(plain_reason(error))}") from None


def _as_text(column: str, kind: str) -> ColumnSql:
    plain = f"cast({column} as varchar)"
    if kind == "BLOB":
        decoded = f"try(decode({column}))"
        return ColumnSql(decoded, f"{column} is not null and {decoded} is null", plain)
    if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        return number_as_text(column, plain, not kind.startswith("DECIMAL"))
    return ColumnSql(plain)


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
