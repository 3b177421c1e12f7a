"""Parquet: a file, or a folder of files that together are one table."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edgerec.data.sources.cells import as_text
from edgerec.data.sources.table import Problem, Record, Say, printable, require_distinct
from edgerec.errors import DataError

_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class ParquetTable:
    """Rows of one or more Parquet files, numbered from 1 through all files.

    Attributes:
        path: the file or folder.
        files: in the order in which their rows follow each other.
    """

    path: Path
    files: list[Path] = field(repr=False)
    columns: list[str] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> "ParquetTable":
        """A file, or all ``*.parquet`` below a folder in the order of their paths; names that begin with ``.`` or
        ``_`` are left out, as Spark does.

        Raises:
            DataError: no such file, not Parquet, or files that do not have the same columns.
        """
        if not path.is_dir():
            columns = list(_schema(path).names)
            require_distinct(columns, str(path))
            return cls(path, [path], columns)
        files = sorted(
            (file for file in path.rglob("*.parquet") if not _hidden(file.relative_to(path)) and file.is_file()),
            key=lambda file: file.relative_to(path).as_posix(),
        )
        if not files:
            raise DataError(f"{path}: no .parquet file below this folder")
        return cls(path, files, _common_columns(files))

    @property
    def name(self) -> str:
        return str(self.path)

    def place(self, line: int) -> tuple[str, int | None]:
        number = bisect_right(self._rows_before, line - 1) - 1
        return str(self.files[number]), line - self._rows_before[number]

    def records(self, names: Sequence[str], say: Say) -> Iterator[Record]:
        """See :meth:`edgerec.data.sources.table.Table.records`. For small tables: big ones are read by an engine."""
        number, empty = 0, [None] * len(names)
        for file in self.files:
            try:
                for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=list(names)):
                    columns = [batch.column(name).to_pylist() for name in names]
                    for values in zip(*columns, strict=True):
                        number += 1
                        yield _record(number, values, empty)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{file}: cannot be read: {_first_line(error)}") from None

    @cached_property
    def _rows_before(self) -> list[int]:
        counts = [pq.read_metadata(file).num_rows for file in self.files]
        return [0, *accumulate(counts[:-1])]


def _record(number: int, values: Sequence[Any], empty: list[None]) -> Record:
    try:
        return number, [as_text(value) for value in values], None
    except UnicodeDecodeError:
        return number, empty, Problem("not UTF-8", ",".join(map(str, values)))


def _common_columns(files: list[Path]) -> list[str]:
    """The columns of the first file, which all have with the same type.

    Raises:
        DataError: one has not.
    """
    names = list(_schema(files[0]).names)
    types: dict[str, tuple[Path, pa.DataType]] = {}
    for file in files:
        schema = _schema(file)
        for name in names:
            if name not in schema.names:
                raise DataError(f"{file}: no column {name!r}, which {files[0].name} has")
            found = schema.field(name).type
            if pa.types.is_null(found):  # empty in this file
                continue
            first, known = types.setdefault(name, (file, found))
            # A common type would have to be found, and ids that are whole numbers in one file become 1.0.
            if known != found:
                raise DataError(f"{file}: column {name!r} is {found}, in {first.name} it is {known}; write them alike")
    return names


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])
