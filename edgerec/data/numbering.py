"""Rows for items and users, and the three tables of a Dataset."""

from pathlib import Path

from edgerec.data.dataset import ITEM_COLUMNS, USER_COLUMNS
from edgerec.data.engine import Engine
from edgerec.errors import DataError


def number_rows(engine: Engine, folder: Path, values: bool = False) -> dict[str, int]:
    """Write ``items.parquet``, ``users.parquet`` and ``interactions.parquet`` from the table ``split``.

    Items with a training event have the rows 1..N by descending number of them (ties by id); row 0 stands for all
    others. Users have the rows 0.. by id; their events follow each other by time, ties in the order of the table.

    Args:
        values: whether ``interactions.parquet`` gets the column ``value`` as well.

    Returns:
        How many items (``cold_items``) and users (``cold_users``) have no training event.

    Raises:
        DataError: fewer than two items can be ranked.
    """
    engine.save(
        "items",
        """
        select item_id, n as interactions, cast(row_number() over (order by n desc, item_id) as int) as item_row
        from (select item_id, count(*) as n from split where part = 0 group by item_id) as counted
        """,
    )
    engine.save(
        "users",
        """
        select user_id, n as interactions, first_part = 0 as trained,
               cast(row_number() over (order by user_id) - 1 as int) as user_row
        from (select user_id, count(*) as n, min(part) as first_part from split group by user_id) as counted
        """,
    )
    if engine.count("items") < 2:
        raise DataError(
            "nothing to rank: fewer than two items have a training event; a recommender needs more items, or lower "
            "data.min_user_events and data.min_item_users"
        )
    engine.write(f"select {', '.join(ITEM_COLUMNS)} from items order by item_row", folder / "items.parquet")
    engine.write(f"select {', '.join(USER_COLUMNS)} from users order by user_row", folder / "users.parquet")
    engine.write(
        f"""
        select u.user_row, coalesce(i.item_row, 0) as item_row, s.t, cast(s.part as tinyint) as part
               {", s.value" if values else ""}
        from split as s join users as u on s.user_id = u.user_id left join items as i on s.item_id = i.item_id
        order by u.user_row, s.t, s.line
        """,
        folder / "interactions.parquet",
        in_parts=True,
    )
    cold_items = """
        select count(distinct s.item_id) from split as s left join items as i on s.item_id = i.item_id
        where i.item_id is null
        """
    return {
        "cold_items": engine.rows(cold_items)[0][0],
        "cold_users": engine.rows("select count(*) from users where not trained")[0][0],
    }
