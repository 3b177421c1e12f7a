"""Records of texts, streamed to Parquet: how values of other sources reach the engines exactly as they were written."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgerec.data.sources.table import Problem, Record, printable

# Small, as many live tuples at a time keep Python's garbage collector busy.
ROWS_AT_ONCE = 1_000
ROWS_OF_A_GROUP = 100_000


def write_texts(path: Path, names: Sequence[str], records: Iterable[Record]) -> None:
    """Write records in their order to one Parquet file.

    Its columns are ``line`` (int64), ``problem`` and ``problem_text`` (NULL for a good record), and ``names``: texts,
    NULL where a value is empty. Only one row group is in memory at a time.
    """
    texts = ["problem", "problem_text", *names]
    schema = pa.schema([("line", pa.int64()), *((name, pa.string()) for name in texts)])
    left = iter(records)
    with pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=["problem", "problem_text"]) as writer:
        while parts := list(_parts(left, schema)):
            writer.write_table(pa.Table.from_batches(parts, schema))


def _parts(records: Iterator[Record], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The next records, of one row group."""
    for _ in range(ROWS_OF_A_GROUP // ROWS_AT_ONCE):
        part = list(islice(records, ROWS_AT_ONCE))
        if not part:
            return
        lines, rows, problems = _columns(part, 3)
        columns = [*_problem_columns(problems), *_columns(rows, len(schema) - 3)]
        arrays = [pa.array(lines, pa.int64()), *(_texts(column) for column in columns)]
        yield pa.record_batch(arrays, schema=schema)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """``zip(*rows)``, at several times its speed."""
    flat = list(chain.from_iterable(rows))
    return [flat[place::width] for place in range(width)]


def _problem_columns(problems: Sequence[Problem | None]) -> list[list[str | None]]:
    if not any(problems):
        return [[None] * len(problems)] * 2
    reasons = [problem.reason if problem else None for problem in problems]
    return [reasons, [printable(problem.text) if problem else None for problem in problems]]


def _texts(values: Sequence[str | None]) -> pa.Array:
    array = pa.array(values, pa.string())
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
