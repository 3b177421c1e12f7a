"""The preparation's SQL on Spark, for tables that outgrow one machine. Needs the extra ``spark`` and Java."""

import shutil
from pathlib import Path
from typing import Any

from edgerec.data.engine import DuckEngine
from edgerec.data.source import Table
from edgerec.errors import DataError, MissingExtraError


class SparkEngine:
    """Spark, with Parquet checkpoints between steps, so that plans stay small.

    The session is the one that the surroundings configure (``spark-submit``, ``SPARK_CONF_DIR``), or a local one.
    Parquet is read by Spark itself, in file and row order; text formats are read by DuckDB, whose line numbers and
    reasons for rejected rows Spark has not.
    """

    def __init__(self, scratch: Path, master: str | None = None) -> None:
        try:
            from pyspark.sql import SparkSession
        except ModuleNotFoundError as error:
            raise MissingExtraError('[data] engine = "spark"', "spark", error.name) from None
        builder = SparkSession.builder.appName("edgerec").config("spark.sql.session.timeZone", "UTC")
        builder = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
        if master is not None:
            builder = builder.master(master)
            if master.startswith("local"):
                # Without it Spark picks an outer address, and hangs where that is firewalled.
                for address in ("spark.driver.host", "spark.driver.bindAddress"):
                    builder = builder.config(address, "127.0.0.1")
        try:
            self._session = builder.getOrCreate()
        except Exception as error:  # py4j wraps what Java says
            raise DataError(f"Spark does not start: {str(error).strip().splitlines()[0]}; is Java installed?") from None
        self._scratch = scratch
        self._saves = 0

    def close(self) -> None:
        self._session.catalog.clearCache()

    def read(self, name: str, table: Table, columns: dict[str, str | None]) -> list[tuple[int, str, str]]:
        """As :meth:`DuckEngine.read`."""
        if table.kind != "parquet":
            reader = DuckEngine(self._scratch)
            try:
                rejects = reader.read(name, table, columns)
                path = self._scratch / f"read-{name}.parquet"
                reader.write(f"select * from {name} order by ord", path)
            finally:
                reader.close()
            self._session.read.parquet(str(path)).createOrReplaceTempView(name)
            return rejects
        chosen = ", ".join(
            f"cast({f'`{source}`' if source else 'NULL'} as string) as {target}" for target, source in columns.items()
        )
        frame = self._session.read.parquet(*map(str, table.files or [table.path]))
        frame.select("*", "_metadata.file_path", "_metadata.row_index").createOrReplaceTempView(f"{name}_file")
        # An order by over everything sorts on one executor; the number is needed to keep the file's order.
        self.save(
            name,
            f"select row_number() over (order by file_path, row_index) as ord, {chosen} from {name}_file",
        )
        return []

    def save(self, name: str, sql: str) -> None:
        """As :meth:`DuckEngine.save`."""
        self._saves += 1
        path = str(self._scratch / f"{self._saves}-{name}.parquet")
        self._session.sql(sql).write.parquet(path)
        self._session.read.parquet(path).createOrReplaceTempView(name)

    def write(self, sql: str, path: Path) -> None:
        """As :meth:`DuckEngine.write`."""
        folder = path.with_name(path.name + ".parts")
        self._session.sql(sql).coalesce(1).write.parquet(str(folder))
        (part,) = folder.glob("*.parquet")
        part.rename(path)
        shutil.rmtree(folder)

    def count(self, name: str) -> int:
        return int(self.rows(f"select count(*) from {name}")[0][0])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._session.sql(sql).collect()]

    def time_micros(self, column: str) -> str:
        """As :meth:`DuckEngine.time_micros`."""
        return f"unix_micros(try_cast({column} as timestamp))"
