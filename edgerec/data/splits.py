"""What is trained on, validated on and tested on."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgerec.data.engine import Engine
from edgerec.data.sources.parquet import ParquetTable
from edgerec.errors import DataError
from edgerec.recipe.split import LastBasket, LeaveOneOut, RandomRows, Temporal

AnySplit = LeaveOneOut | LastBasket | Temporal | RandomRows


def cut_by_time(engine: Engine, split: AnySplit) -> dict[str, Any]:
    """Save ``good`` as ``parts``, with the part of each row: by time under a temporal split, 0 for all otherwise.

    All events at or after a time are the test, and those at or after an earlier time validation. The times are where
    the given shares of all good rows lie behind.

    Returns:
        The times, for ``dataset.json``.

    Raises:
        DataError: too few different times to cut at.
    """
    if not isinstance(split, Temporal):
        engine.define("parts", "select *, 0 as part from good")
        return {}
    validation, test = _cuts(engine, split)
    part = f"case when t >= {test} then 2 when t >= {validation} then 1 else 0 end"
    engine.define("parts", f"select *, {part} as part from good")
    return {"validation_from": validation, "test_from": test}


def split_rows(engine: Engine, split: AnySplit, scratch: Path) -> None:
    """Save ``kept`` as ``split``, with the part of each row: 0 training, 1 validation, 2 test.

    ``leave-one-out``: a user's last event is the test, the one before it validation; users with fewer than three
    events only train. ``last-basket``: the same with all events of one time in place of an event. ``temporal``: the
    parts that ``cut_by_time`` made. ``random``: see :func:`random_parts`, in the order of the table.

    Args:
        scratch: folder for temporary files.
    """
    if isinstance(split, Temporal):
        engine.define("split", "select user_id, item_id, t, line, value, part from kept")
        return
    if isinstance(split, RandomRows):
        _split_by_chance(engine, split, scratch / "drawn.parquet")
        return
    if isinstance(split, LastBasket):
        from_end = "dense_rank() over (partition by user_id order by t desc)"
        n = f"{from_end} + dense_rank() over (partition by user_id order by t) - 1"
    else:
        from_end = "row_number() over (partition by user_id order by t desc, line desc)"
        n = "count(*) over (partition by user_id)"
    engine.save(
        "split",
        f"""
        select user_id, item_id, t, line, value,
               case when n >= 3 and from_end = 1 then 2 when n >= 3 and from_end = 2 then 1 else 0 end as part
        from (select user_id, item_id, t, line, value, {from_end} as from_end, {n} as n from kept) as placed
        """,
    )


def random_parts(rows: int, split: RandomRows) -> np.ndarray:
    """The part of each of ``rows`` interactions, int8 [rows]: 0 training, 1 validation, 2 test.

    All rows are shuffled by numpy's ``RandomState(seed)``; the test is the part number ``fold`` of that order, and
    validation the first of what is left. The folds are those of a k-fold cross-validation in scikit-surprise:
    ``KFold(1 / test, random_state=seed, shuffle=True)`` over all ratings in the order of the file.
    """
    order = np.random.RandomState(split.seed).permutation(rows)
    folds = split.folds
    whole, longer = divmod(rows, folds) if abs(folds * split.test - 1) < 1e-9 else (int(rows * split.test), 0)
    start = whole * split.fold + min(longer, split.fold)
    stop = start + whole + (split.fold < longer)
    rest = np.concatenate([order[:start], order[stop:]])
    parts = np.zeros(rows, np.int8)
    parts[order[start:stop]] = 2
    parts[rest[: int(len(rest) * split.validation)]] = 1
    return parts


def _split_by_chance(engine: Engine, split: RandomRows, path: Path) -> None:
    parts = random_parts(engine.count("kept"), split)
    if len(set(parts.tolist())) < 3:
        raise DataError(f"{len(parts):,} interactions are too few for a random split; give more, or larger shares")
    pq.write_table(pa.table({"part": parts.astype(np.int32)}), path)
    engine.load("drawn", ParquetTable.open(path), {"part": "part"})
    engine.save(
        "split",
        """
        select k.user_id, k.item_id, k.t, k.line, k.value, cast(d.part as int) as part
        from (select *, row_number() over (order by line) as place from kept) as k join drawn as d on k.place = d.line
        """,
    )


def _cuts(engine: Engine, split: Temporal) -> tuple[int, int]:
    total = engine.count("good")
    places = [int(total * (1 - split.test - split.validation)) + 1, int(total * (1 - split.test)) + 1]
    rows = engine.rows(
        "select n, t from (select t, row_number() over (order by t) as n from good) as timed "
        f"where n in (1, {places[0]}, {places[1]}) order by n"
    )
    times = [t for _, t in rows if t is not None]
    if len(times) < 3 or not times[0] < times[1] < times[2]:
        raise DataError(
            "the temporal split finds no two times to cut at: give data.columns.time, with more than a few different "
            'times, or use split.kind = "leave-one-out"'
        )
    return int(times[1]), int(times[2])
