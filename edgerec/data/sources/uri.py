"""Tables that Spark reads itself, such as ``hdfs://node/table.parquet`` or ``s3a://bucket/table.csv``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgerec.data.sources.table import Record, Say, require_distinct
from edgerec.data.spark_session import spark_says, spark_session
from edgerec.errors import DataError
from edgerec.recipe.data import mask_url

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BROKEN = "_corrupt_record"


@dataclass(frozen=True)
class UriTable:
    """Parquet, or CSV whose first line names the columns (``.csv``, ``.tsv``, or a delimiter in the recipe).

    Attributes:
        delimiter: ``None`` for Parquet.
        master: see :func:`edgerec.data.spark_session.spark_session`.
    """

    uri: str
    delimiter: str | None
    master: str | None
    columns: list[str] = field(repr=False, default_factory=list)

    @classmethod
    def open(cls, uri: str, delimiter: str | None, master: str | None) -> "UriTable":
        """Find the columns.

        Raises:
            DataError: Spark cannot read it.
        """
        session = spark_session(master)
        try:
            if delimiter is None:
                columns = session.read.parquet(uri).columns
            else:
                columns = session.read.csv(uri, header=True, sep=delimiter, escape='"').columns
        except Exception as error:  # py4j wraps what Java says
            raise DataError(f"{mask_url(uri)}: Spark cannot read it: {spark_says(error)}") from None
        require_distinct(columns, mask_url(uri))
        return cls(uri, delimiter, master, list(columns))

    @property
    def name(self) -> str:
        return mask_url(self.uri)

    def place(self, line: int) -> tuple[str, int | None]:
        """See :meth:`edgerec.data.sources.table.Table.place`: Spark does not count the lines of text."""
        return self.name, line if self.delimiter is None else None

    def records(self, names: Sequence[str], say: Say) -> Iterator[Record]:
        """Not supported: the engine reads it.

        Raises:
            DataError: always.
        """
        raise DataError(f"{self.name}: only Spark reads it")

    def frame(self) -> "DataFrame":
        """All columns (of CSV as text, with ``BROKEN``: the line where it does not fit them), and the columns
        ``file_path``, ``place`` and ``number``, whose order is that of the file.
        """
        session = spark_session(self.master)
        if self.delimiter is None:
            frame = session.read.parquet(self.uri)
            return frame.select(
                "*", "_metadata.file_path", "_metadata.file_block_start", "_metadata.row_index"
            ).withColumnsRenamed({"file_block_start": "place", "row_index": "number"})
        schema = ", ".join(f"`{name.replace('`', '``')}` string" for name in [*self.columns, BROKEN])
        reader = session.read.schema(schema).option("columnNameOfCorruptRecord", BROKEN)
        frame = reader.csv(self.uri, header=True, sep=self.delimiter, escape='"', enforceSchema=True)
        return frame.selectExpr(
            "*",
            "_metadata.file_path",
            "_metadata.file_block_start as place",
            "monotonically_increasing_id() as number",
        )
