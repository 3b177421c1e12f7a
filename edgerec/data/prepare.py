"""Preparation: from an interaction table to a Dataset, in plain SQL that DuckDB and Spark both accept."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from edgerec.artifact import new_folder, write_file
from edgerec.data.dataset import split_fingerprint
from edgerec.data.engine import DuckEngine, Engine
from edgerec.data.features import fit_feature, guess_kind
from edgerec.data.source import ID, ITEM_COLUMNS, open_source, read_feature_table, require_columns, resolve_builtin
from edgerec.errors import DataError
from edgerec.recipe import Data, Recipe, Split

Say = Callable[[str], None]

INTEGER = "^[+-]?[0-9]{1,18}$"
DECIMAL = "^[+-]?[0-9]{1,12}([.][0-9]+)?$"
ISO_8601 = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
NUMBER = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"


def prepare(recipe: Recipe, folder: Path, made_from: str, say: Say) -> None:
    """Make the Dataset in ``folder`` (contract: design of the data; see :class:`edgerec.data.dataset.Dataset`).

    ``rejected.csv`` (file, line, reason, text) lies in the Dataset, or beside ``folder`` when preparation stops
    because of what it lists.

    Raises:
        DataError: a table cannot be read, a column is missing, too many rows are rejected, nothing is left.
    """
    data = resolve_builtin(recipe.data)
    table = open_source(data)
    columns = {
        "user_id": data.columns.user,
        "item_id": data.columns.item,
        "time": data.columns.time,
        "value": data.columns.value,
    }
    keys = ("user", "item", "time", "value")
    require_columns(table, {f"data.columns.{k}": name for k, name in zip(keys, columns.values(), strict=True)})
    if data.min_value is not None and data.columns.value is None:
        raise DataError("data.min_value needs data.columns.value, the column to compare")

    with new_folder(folder, made_from) as new:
        scratch = new / "scratch"
        scratch.mkdir()
        engine = _engine(data, scratch)
        try:
            say(f"reading {table.path.name}")
            unreadable = engine.read("raw", table, columns)
            rejected, time_unit = _check(engine, unreadable, data, folder, new, table.path)
            say("filtering and splitting")
            counts = _filter(engine, data)
            split_counts = _split(engine, recipe.split, new)
        finally:
            engine.close()
            shutil.rmtree(scratch)
        info = _describe(
            recipe, data, new, say, {"rejected": rejected, "time_unit": time_unit, **counts, **split_counts}
        )
        write_file(new / "dataset.json", json.dumps(info, indent=2, ensure_ascii=False) + "\n")
    say(
        f"{info['users']:,} users, {info['items']:,} items, {info['interactions']:,} interactions, "
        f"{rejected:,} rows rejected, split {info['split_fingerprint']}"
    )


def _engine(data: Data, scratch: Path) -> Engine:
    if data.engine == "duckdb":
        return DuckEngine(scratch)
    from edgerec.data.spark import SparkEngine

    return SparkEngine(scratch, data.spark_master)


def _check(
    engine: Engine, unreadable: list[tuple[int, str, str]], data: Data, folder: Path, new: Path, source: Path
) -> tuple[int, str | None]:
    """Save as ``good`` (user_id, item_id, t, ord) the rows that hold; write the others to ``rejected.csv``.

    Returns:
        How many were rejected, and the unit of ``t`` (see ``_time_unit``).
    """
    time_ok, time_value, kind, micros = _time_sql(engine)
    value_ok = f"regexp_extract(value, '{NUMBER}', 0) <> ''"
    engine.save(
        "checked",
        f"""
        select ord, user_id, item_id, {time_value} as t,
               case when {value_ok} then cast(value as double) end as value,
               case when user_id is null or user_id = '' then 'no user id'
                    when item_id is null or item_id = '' then 'no item id'
                    when {"false" if data.columns.time is None else f"time is null or not ({time_ok})"}
                         then 'time is not {kind}'
                    when {"false" if data.min_value is None else f"value is null or not ({value_ok})"}
                         then 'value is not a number'
               end as reason,
               time, value as value_text
        from raw
        """,
    )
    wrong = engine.rows(
        "select ord, reason, user_id, item_id, time, value_text from checked where reason is not null order by ord"
    )
    lines = [(str(source), line, reason, text) for line, reason, text in unreadable]
    lines += [
        (str(source), line, reason, ",".join(str(v) for v in shown if v is not None))
        for (_, reason, *shown), line in zip(wrong, _lines_of([w[0] for w in wrong], unreadable), strict=True)
    ]
    lines.sort(key=lambda entry: entry[1])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "line", "reason", "text"), *lines])
    total = engine.count("raw") + len(unreadable)
    if total == 0:
        raise DataError(f"{source}: the table has a header and no rows")
    if len(lines) > data.max_rejected * total:
        kept = folder.parent / "rejected.csv"
        write_file(kept, text.getvalue())
        _, line, reason, _ = lines[0]
        raise DataError(
            f"{source}: line {line}: {reason}; {len(lines):,} of {total:,} rows are rejected "
            f"({len(lines) / total:.1%}, data.max_rejected is {data.max_rejected:.1%}). All of them: {kept}"
        )
    write_file(new / "rejected.csv", text.getvalue())
    least = "true" if data.min_value is None else f"value >= {data.min_value!r}"
    engine.save("good", f"select user_id, item_id, t, ord from checked where reason is null and {least}")
    return len(lines), "us" if micros else _time_unit(engine)


def _time_unit(engine: Engine) -> str | None:
    """``s``, ``ms`` or ``us`` since 1970 by the size of whole numbers; ``None`` for a mere position."""
    newest = engine.rows("select max(t) from good")[0][0] or 0
    for unit, per_second in (("s", 1), ("ms", 1_000), ("us", 1_000_000)):
        # Between 1980 and 2100.
        if 315_532_800 * per_second <= newest < 4_102_444_800 * per_second:
            return unit
    return None


def _time_sql(engine: Engine) -> tuple[str, str, str, bool]:
    """How this table writes time: SQL that tells a valid text, SQL of its int64 value, words for the error, and whether
    the values are microseconds.
    """
    fitting = ", ".join(
        f"count(case when regexp_extract(time, '{pattern}', 0) <> '' then 1 end)"
        for pattern in (INTEGER, DECIMAL, ISO_8601)
    )
    integers, decimals, dates = engine.rows(f"select {fitting} from raw")[0]
    if dates > max(integers, decimals):
        value = engine.time_micros("time")
        return (
            f"{value} is not null and regexp_extract(time, '{ISO_8601}', 0) <> ''",
            value,
            "a date like the others",
            True,
        )
    if decimals > integers:
        valid = f"regexp_extract(time, '{DECIMAL}', 0) <> ''"
        return (
            valid,
            f"case when {valid} then cast(cast(time as decimal(38, 6)) * 1000000 as bigint) end",
            "a number",
            True,
        )
    valid = f"regexp_extract(time, '{INTEGER}', 0) <> ''"
    return valid, f"case when {valid} then cast(time as bigint) end", "a whole number", False


def _lines_of(records: list[int], unreadable: list[tuple[int, str, str]]) -> list[int]:
    """File lines of readable records: the header and the unreadable lines before each come on top."""
    lines, skipped = [], 0
    for record in records:
        while skipped < len(unreadable) and unreadable[skipped][0] <= record + 1 + skipped:
            skipped += 1
        lines.append(record + 1 + skipped)
    return lines


def _filter(engine: Engine, data: Data) -> dict[str, Any]:
    """Save as ``kept`` what is left after repeats and the iterative k-core."""
    if data.repeats == "all":
        engine.save("kept", "select user_id, item_id, t, ord from good")
    else:
        order = "t, ord" if data.repeats == "first" else "t desc, ord desc"
        engine.save(
            "kept",
            f"""
            select user_id, item_id, t, ord from (
                select *, row_number() over (partition by user_id, item_id order by {order}) as place from good
            ) as placed where place = 1
            """,
        )
    rounds, before, after = 0, -1, engine.count("kept")
    while after != before and after > 0 and max(data.min_user_events, data.min_item_users) > 1:
        rounds += 1
        for key, least in (("item_id", data.min_item_users), ("user_id", data.min_user_events)):
            engine.save(
                "kept",
                f"""
                select user_id, item_id, t, ord from (
                    select *, count(*) over (partition by {key}) as n from kept
                ) as counted where n >= {least}
                """,
            )
        before, after = after, engine.count("kept")
    if after == 0:
        raise DataError(
            f"no interaction is left of {engine.count('good'):,} after data.min_user_events = "
            f"{data.min_user_events} and data.min_item_users = {data.min_item_users}; lower them"
        )
    return {"good_rows": engine.count("good"), "k_core_rounds": rounds}


def _split(engine: Engine, split: Split, folder: Path) -> dict[str, Any]:
    """Mark the parts, number items and users, and write the Dataset's three tables.

    ``leave-one-out``: a user's last event is the test, the one before it validation; users with fewer than three
    events only train. ``temporal``: all events at or after a time are the test, and so before it for validation; the
    times are where the given shares of all interactions lie behind. Rows 1..N by descending training popularity (ties
    by id), users by id.
    """
    counts: dict[str, Any] = {}
    if split.kind == "leave-one-out":
        engine.save(
            "split",
            """
            select user_id, item_id, t, ord,
                   case when n >= 3 and from_end = 1 then 2 when n >= 3 and from_end = 2 then 1 else 0 end as part
            from (
                select *, row_number() over (partition by user_id order by t desc, ord desc) as from_end,
                       count(*) over (partition by user_id) as n
                from kept
            ) as placed
            """,
        )
    else:
        validation, test = _cuts(engine, split)
        counts = {"validation_from": validation, "test_from": test}
        engine.save(
            "split",
            f"""
            select user_id, item_id, t, ord,
                   case when t >= {test} then 2 when t >= {validation} then 1 else 0 end as part
            from kept
            """,
        )
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
    engine.write(f"select {', '.join(ITEM_COLUMNS)} from items order by item_row", folder / "items.parquet")
    engine.write(
        "select user_row, user_id, interactions, trained from users order by user_row", folder / "users.parquet"
    )
    engine.write(
        """
        select u.user_row, coalesce(i.item_row, 0) as item_row, s.t, cast(s.part as tinyint) as part
        from split as s join users as u on s.user_id = u.user_id left join items as i on s.item_id = i.item_id
        order by u.user_row, s.t, s.ord
        """,
        folder / "interactions.parquet",
    )
    counts["cold_items"] = engine.rows(
        """
        select count(distinct s.item_id) from split as s left join items as i on s.item_id = i.item_id
        where i.item_id is null
        """
    )[0][0]
    counts["cold_users"] = engine.rows(
        "select count(*) from (select user_id from split group by user_id having min(part) > 0) as late"
    )[0][0]
    return counts


def _cuts(engine: Engine, split: Split) -> tuple[int, int]:
    """Times from which on events are validation and test.

    Raises:
        DataError: no time column, or too few different times to cut at.
    """
    total = engine.count("kept")
    places = [int(total * (1 - split.test - split.validation)) + 1, int(total * (1 - split.test)) + 1]
    rows = engine.rows(
        "select n, t from (select t, row_number() over (order by t) as n from kept) as timed "
        f"where n in (1, {places[0]}, {places[1]}) order by n"
    )
    times = [t for _, t in rows if t is not None]
    if len(times) < 3 or not times[0] < times[1] < times[2]:
        raise DataError(
            "the temporal split finds no two times to cut at: give data.columns.time, with more than a few different "
            'times, or use split.kind = "leave-one-out"'
        )
    return int(times[1]), int(times[2])


def _describe(recipe: Recipe, data: Data, folder: Path, say: Say, counts: dict[str, Any]) -> dict[str, Any]:
    """Join the feature tables to the kept ids, and sum the Dataset up."""
    items, item_features = _join_features(folder / "items.parquet", data.items, "data.items", "item_id", say)
    users, user_features = _join_features(folder / "users.parquet", data.users, "data.users", "user_id", say)
    learned = {"items": item_features, "users": user_features}
    write_file(folder / "features.json", json.dumps(learned, indent=1, ensure_ascii=False) + "\n")
    events = pq.read_table(folder / "interactions.parquet")
    arrays = [events[name].to_numpy() for name in ("user_row", "item_row", "part")]
    return {
        "name": data.name,
        "users": len(users),
        "items": len(items),
        "interactions": len(events),
        "cold_interactions": int((arrays[1] == 0).sum()),
        "repeats": data.repeats,
        "split": recipe.split.kind,
        "split_fingerprint": split_fingerprint(list(users["user_id"]), list(items["item_id"]), arrays),
        "has_titles": "title" in items,
        **counts,
    }


def _join_features(
    path: Path, table: Any, section: str, key: str, say: Say
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Join a feature table to the ids in ``path``, and learn its features from the ids that are trained on."""
    frame = pd.read_parquet(path)
    if table is None:
        return frame, []
    features, left_out = read_feature_table(table, section, frame.columns)
    joined = frame.merge(features, how="left", left_on=key, right_on=ID, validate="one_to_one")
    matched = int(joined[ID].notna().sum())
    if left_out or matched < len(joined):
        say(f"{section}: {matched:,} of {len(joined):,} ids found; {left_out:,} lines without an id or with one again")
    joined = joined.drop(columns=[ID])
    if "title" in joined:
        joined["title"] = joined["title"].fillna("")
    joined.to_parquet(path, index=False)
    names = [name for name in features.columns if name not in {ID, "title", *table.ignore}]
    unknown = sorted({*table.multi, *(table.numeric or ()), *table.ignore} - set(features.columns))
    if unknown:
        raise DataError(f"{section}: no column {', '.join(unknown)}; the table has {', '.join(names)}")
    # Every item has a training interaction; of the users, those with none teach nothing.
    known = joined[joined["trained"]] if "trained" in joined else joined
    learned = []
    for name in names:
        if name in table.multi:
            feature = fit_feature(name, "multi", known[name], table.multi[name])
        else:
            numeric = name in table.numeric if table.numeric is not None else guess_kind(known[name]) == "numeric"
            feature = fit_feature(name, "numeric" if numeric else "categorical", known[name])
        learned.append(feature.to_json())
    return joined, learned
