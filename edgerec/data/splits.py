"""What is trained on, validated on and tested on."""

from typing import Any

from edgerec.data.engine import Engine
from edgerec.errors import DataError
from edgerec.recipe.split import LastBasket, Split, Temporal


def cut_by_time(engine: Engine, split: Split) -> dict[str, Any]:
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


def split_rows(engine: Engine, split: Split) -> None:
    """Save ``kept`` as ``split``, with the part of each row: 0 training, 1 validation, 2 test.

    ``leave-one-out``: a user's last event is the test, the one before it validation; users with fewer than three
    events only train. ``last-basket``: the same with all events of one time in place of an event. ``temporal``: the
    parts that ``cut_by_time`` made.
    """
    if isinstance(split, Temporal):
        engine.define("split", "select user_id, item_id, t, line, part from kept")
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
        select user_id, item_id, t, line,
               case when n >= 3 and from_end = 1 then 2 when n >= 3 and from_end = 2 then 1 else 0 end as part
        from (select user_id, item_id, t, line, {from_end} as from_end, {n} as n from kept) as placed
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
