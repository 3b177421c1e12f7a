"""Spark, for tables that outgrow one machine. Needs the extra ``spark`` and Java."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgerec.data.engine import NO_COLUMN, ColumnMap, ColumnSql, as_records, number_as_text, staged_columns
from edgerec.data.sources.parquet import ParquetTable
from edgerec.data.sources.uri import BROKEN, UriTable
from edgerec.data.spark_session import spark_says, spark_session
from edgerec.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T")


class SparkEngine:
    """See :class:`edgerec.data.engine.Engine`.

    Args:
        scratch: a folder for intermediate tables, which all workers must reach under the same path.
        master: such as ``local[2]``; default: Spark's own configuration (``spark-submit``, ``SPARK_CONF_DIR``).
    """

    def __init__(self, scratch: Path, master: str | None = None) -> None:
        self._session = spark_session(master)
        self._scratch = scratch
        self._saves = 0

    def close(self) -> None:
        self._session.catalog.clearCache()

    def load(self, name: str, table: ParquetTable | UriTable, columns: ColumnMap) -> None:
        frame = table.frame() if isinstance(table, UriTable) else self._files(table)
        types = dict(frame.dtypes)
        found = {
            target: _as_text(_quoted(source), types[source], target) if source else NO_COLUMN
            for target, source in columns.items()
        }
        if BROKEN in types and BROKEN not in table.columns:
            found[next(iter(found))] = found[next(iter(found))]._replace(
                broken=f"{BROKEN} is not null", shown=BROKEN, reason="more or fewer values than columns"
            )
        frame.createOrReplaceTempView(f"{name}_file")
        # An order by over everything sorts on one executor; the number is needed to keep the file's order.
        number = "row_number() over (order by file_path, place, number)"
        self.save(name, f"select {number} as line, {as_records(found)} from {name}_file")

    def _files(self, table: ParquetTable) -> "DataFrame":
        frame = self._read(table.files)
        return frame.selectExpr("*", "_metadata.file_path", "0 as place", "_metadata.row_index as number")

    def attach(self, name: str, path: Path, columns: ColumnMap) -> None:
        self._read([path]).createOrReplaceTempView(f"{name}_file")
        self._run(
            lambda: self._session.sql(f"select {staged_columns(columns)} from {name}_file")
        ).createOrReplaceTempView(name)

    def save(self, name: str, sql: str) -> None:
        self._saves += 1
        path = self._scratch / f"{self._saves}-{name}.parquet"
        self._run(lambda: self._session.sql(sql).write.parquet(_uri(path)))
        self._read([path]).createOrReplaceTempView(name)

    def define(self, name: str, sql: str) -> None:
        self._run(lambda: self._session.sql(sql)).createOrReplaceTempView(name)

    def write(self, sql: str, path: Path, in_parts: bool = False) -> None:
        made = path.with_name(path.name + ".made")
        frame = self._run(lambda: self._session.sql(sql))
        self._run(lambda: (frame if in_parts else frame.coalesce(1)).write.parquet(_uri(made)))
        parts = sorted(made.glob("part-*.parquet"))
        if len(parts) == 1:
            parts[0].rename(path)
        else:
            path.mkdir()
            for number, part in enumerate(parts):
                part.rename(path / f"part-{number:05}.parquet")
        shutil.rmtree(made)

    def count(self, name: str) -> int:
        return int(self.rows(f"select count(*) from {name}")[0][0])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._run(lambda: self._session.sql(sql).collect())]

    def time_micros(self, column: str) -> str:
        return f"unix_micros(try_cast({column} as timestamp))"

    def _read(self, paths: Sequence[Path]) -> "DataFrame":
        return self._run(lambda: self._session.read.parquet(*map(_uri, paths)))

    def _run(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:  # py4j wraps what Java says
            raise DataError(f"preparation stopped: Spark: {spark_says(error)}") from None


def _as_text(column: str, kind: str, target: str) -> ColumnSql:
    plain = f"cast({column} as string)"
    if kind == "binary":
        return ColumnSql(f"try_validate_utf8({plain})", f"not is_valid_utf8({plain})", f"hex({column})")
    if kind in ("double", "float") or kind.startswith("decimal"):
        # Spark writes large doubles with an exponent, which a time must not have.
        written = f"cast(cast({column} as decimal(38, 6)) as string)" if target == "time" else plain
        return number_as_text(column, written, not kind.startswith("decimal"))
    return ColumnSql(plain)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _uri(path: Path) -> str:
    return path.resolve().as_uri()
