"""Which of the good rows are kept: one of a user's repeats, and users and items with enough events."""

from typing import NamedTuple

from edgerec.data.engine import Engine
from edgerec.errors import DataError
from edgerec.recipe.data import DataSection


class Filtered(NamedTuple):
    """Rows that repeats and thresholds removed, and rounds of the k-core."""

    repeats: int
    k_core: int
    k_core_rounds: int


def filter_rows(engine: Engine, data: DataSection) -> Filtered:
    """Save the rows of ``parts`` (user_id, item_id, t, line, value, part) that are kept as ``kept``.

    Nothing in a later part decides what is kept of an earlier one. ``part`` is 0 for all rows where the split is made
    after filtering (leave-one-out, last basket); under a temporal split it is that of the row's time:

    * Of a user's repeats of an item, those of the earliest part count: the first or the last of them is kept. An
      event of validation or test whose item the user had in an earlier part is dropped, as the item would be left
      out of the recommendations.
    * Users and items with too few training events are removed, until all that are left have enough (k-core). From
      validation and test, events of removed users and items go too. A threshold of 1 removes nothing.

    Raises:
        DataError: no training event is left.
    """
    _drop_repeats(engine, data.repeats)
    engine.define("kept", "select * from once where part = 0")
    rounds = _k_core(engine, data)
    if engine.count("kept") == 0:
        raise DataError(
            f"no interaction is left of {engine.count('parts'):,} after data.min_user_events = "
            f"{data.min_user_events} and data.min_item_users = {data.min_item_users}; lower them"
        )
    conditions = [
        f"{key} in (select {key} from kept)"
        for key, least in (("user_id", data.min_user_events), ("item_id", data.min_item_users))
        if least > 1
    ]
    later = " and ".join(["part > 0", *conditions])
    if engine.rows("select max(part) from once")[0][0]:
        engine.save("kept", f"select * from kept union all select * from once where {later}")
    once = engine.count("once")
    return Filtered(engine.count("parts") - once, once - engine.count("kept"), rounds)


def _drop_repeats(engine: Engine, repeats: str) -> None:
    if repeats == "all":
        engine.define("once", "select user_id, item_id, t, line, value, part from parts")
        return
    order = "part, t, line" if repeats == "first" else "part, t desc, line desc"
    engine.save(
        "once",
        f"""
        select user_id, item_id, t, line, value, part from (
            select *, row_number() over (partition by user_id, item_id order by {order}) as place from parts
        ) as placed where place = 1
        """,
    )


def _k_core(engine: Engine, data: DataSection) -> int:
    """Remove users and items with too few events from ``kept`` until all have enough; returns the rounds it took."""
    if max(data.min_user_events, data.min_item_users) <= 1:
        return 0
    rounds, before, after = 0, -1, engine.count("kept")
    while after not in (before, 0):
        rounds += 1
        for key, least in (("item_id", data.min_item_users), ("user_id", data.min_user_events)):
            engine.save(
                "kept",
                f"""
                select user_id, item_id, t, line, value, part from (
                    select *, count(*) over (partition by {key}) as n from kept
                ) as counted where n >= {least}
                """,
            )
        before, after = after, engine.count("kept")
    return rounds
