"""Rows of texts, streamed to Parquet: how values of other sources reach the engines exactly as they were written."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Texts = Sequence[str | None]
ROWS_AT_ONCE = 50_000


def write_texts(path: Path, names: Sequence[str], rows: Iterable[Texts]) -> None:
    """Write ``rows`` in their order to one Parquet file whose columns, ``names``, are all text."""
    schema = pa.schema([(name, pa.string()) for name in names])
    left = iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while part := list(islice(left, ROWS_AT_ONCE)):
            columns = [pa.array(values, pa.string()) for values in zip(*part, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
