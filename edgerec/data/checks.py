"""Which rows of the interactions can be used; the others go to ``rejected.csv``."""

from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from edgerec.data.dataset import parquet_files
from edgerec.data.engine import Engine
from edgerec.data.rejected import Rejected
from edgerec.data.sources.table import Say, Table
from edgerec.data.times import recognise_times

NUMBER = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
# Spaces of all kinds, written out: engines differ in what their classes of characters hold.
SPACES = " \t\n\v\f\r\u00a0\u2002\u2003\u2009\u202f\u3000"


class Checked(NamedTuple):
    """Rows read, rows with a smaller value than ``min_value``, and the unit of the times (see ``times.Times``)."""

    read: int
    below_min_value: int
    time_unit: str | None


def check_rows(
    engine: Engine,
    table: Table,
    has_times: bool,
    min_value: float | None,
    needs_value: bool,
    scratch: Path,
    rejected: Rejected,
    say: Say,
) -> Checked:
    """Save the rows of ``raw`` that can be used as ``good`` (user_id, item_id, t, line, value), and write the others to
    ``rejected``.

    Args:
        needs_value: whether a row without a number as its value cannot be used, as with ``min_value``.
    """
    times = recognise_times(engine, say)
    is_number = f"regexp_extract(value, '{NUMBER}', 0) <> ''"
    wrong_time = f"time is null or not ({times.valid})" if has_times else "false"
    wrong_value = f"value is null or not ({is_number})" if needs_value or min_value is not None else "false"
    engine.save(
        "checked",
        f"""
        select line, user_id, item_id, t, value, reason, case when reason is not null then shown end as shown from (
            select line, user_id, item_id, case when {times.valid} then {times.value} end as t,
                   case when {is_number} then cast(value as double) end as value,
                   case when problem is not null then problem
                        when {_blank("user_id")} then 'no user id'
                        when {_blank("item_id")} then 'no item id'
                        when {wrong_time} then 'time is {times.wrong}'
                        when {wrong_value} then 'value is not a number'
                   end as reason,
                   coalesce(problem_text, concat_ws(',', user_id, item_id, time, value)) as shown
            from raw
        ) as judged
        """,
    )
    enough = "true" if min_value is None else f"value >= {min_value!r}"
    engine.define("good", f"select user_id, item_id, t, line, value from checked where reason is null and {enough}")
    _write_rejected(engine, table, scratch / "rejected.parquet", rejected)
    read = engine.count("raw")
    return Checked(read, read - rejected.count - engine.count("good"), times.unit if has_times else None)


def _blank(column: str) -> str:
    return f"{column} is null or regexp_extract({column}, '[^{SPACES}]', 0) = ''"


def _write_rejected(engine: Engine, table: Table, path: Path, rejected: Rejected) -> None:
    engine.write("select line, reason, shown from checked where reason is not null order by line", path, True)
    for file in parquet_files(path):
        for batch in pq.ParquetFile(file).iter_batches():
            for line, reason, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                rejected.add(*table.place(line), reason, text)
