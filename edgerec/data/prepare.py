"""Preparation: from an interaction table to a Dataset, in plain SQL that DuckDB and Spark both accept."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgerec.artifact import new_folder, write_file
from edgerec.data.checks import check_rows
from edgerec.data.duck_engine import DuckEngine
from edgerec.data.engine import Engine
from edgerec.data.feature_join import join_feature_table
from edgerec.data.filters import filter_rows
from edgerec.data.numbering import number_rows
from edgerec.data.rejected import Rejected
from edgerec.data.sources.parquet import ParquetTable
from edgerec.data.sources.places import Tables
from edgerec.data.sources.table import Say, Table, require_columns, shown_names
from edgerec.data.sources.tables import open_table, resolve_tables
from edgerec.data.sources.uri import UriTable
from edgerec.data.splits import cut_by_time, split_rows
from edgerec.data.summary import summarise
from edgerec.data.text_parquet import write_texts
from edgerec.errors import DataError, plain_reason
from edgerec.recipe import RankingRecipe, Recipe
from edgerec.recipe.data import DataSection

# Above this share of events whose order only the file tells, the user is warned.
MANY_TIES = 0.2


def prepare(recipe: Recipe | RankingRecipe, folder: Path, made_from: str, say: Say) -> None:
    """Make the Dataset in ``folder``, whole or not at all (see :func:`prepare_into`).

    Args:
        made_from: the fingerprint of what the Dataset is made from.
    """
    with new_folder(folder, {"fingerprint": made_from}) as new:
        prepare_into(recipe, new, say)


def prepare_into(recipe: Recipe | RankingRecipe, new: Path, say: Say) -> None:
    """Make the Dataset in ``new``, an empty folder (see :class:`edgerec.data.dataset.Dataset`).

    ``rejected.csv`` (file, line, reason, text) is in the Dataset, or beside ``new`` when preparation stops because of
    what it lists.

    Args:
        say: is told of progress, and of what looks wrong in the tables.

    Raises:
        DataError: a table cannot be read, a column is missing, too many rows are rejected, nothing is left, or the
            disk is full.
    """
    tables = resolve_tables(recipe.data)
    table = open_table(tables.interactions)
    columns = _mapped_columns(tables, table, recipe)
    with _disk_errors(new.parent), Rejected(new / "rejected.csv") as rejected:
        say(f"reading {Path(table.name).name}")
        with _running_engine(recipe.data, new / "scratch") as engine:
            _load(engine, table, columns, new / "scratch", say)
            has_times = columns["time"] is not None
            checked = check_rows(
                engine, table, has_times, recipe.data.min_value, reads_values(recipe), new / "scratch", rejected, say
            )
            _require_few_rejected(rejected, table, checked.read, recipe.data, new)
            say("filtering and splitting")
            found, removed = _filter_and_split(engine, recipe, new)
        read = {
            "rows_read": checked.read,
            "rejected": dict(rejected.reasons),
            "below_min_value": checked.below_min_value,
        }
        found |= {"rejected": rejected.count, "time_unit": checked.time_unit}
        _join_features(tables, new, rejected, say)
        info = summarise(recipe, tables, new, read | removed) | found
        _warn_of_ties(info["ties"], recipe, say)
        _write_json(new / "dataset.json", info)
    say(
        f"{info['users']:,} users, {info['items']:,} items, {info['interactions']:,} interactions, "
        f"{info['rejected']:,} rows rejected, split {info['split_fingerprint']}"
    )


def reads_values(recipe: Recipe | RankingRecipe) -> bool:
    """Whether the values of the interactions are labels, which the Dataset keeps."""
    return isinstance(recipe, RankingRecipe) and recipe.reads_values


def _filter_and_split(
    engine: Engine, recipe: Recipe | RankingRecipe, folder: Path
) -> tuple[dict[str, Any], dict[str, int]]:
    """Write the Dataset's tables in ``folder`` from the good rows.

    Returns:
        What was found, and how many rows each filter removed.
    """
    cuts = cut_by_time(engine, recipe.split)
    filtered = filter_rows(engine, recipe.data)
    split_rows(engine, recipe.split, folder / "scratch")
    cold = number_rows(engine, folder, reads_values(recipe))
    found = {"good_rows": engine.count("good"), "k_core_rounds": filtered.k_core_rounds, **cuts, **cold}
    return found, {"repeats": filtered.repeats, "k_core": filtered.k_core}


def _join_features(tables: Tables, folder: Path, rejected: Rejected, say: Say) -> None:
    items = join_feature_table(folder / "items.parquet", tables.items, "data.items", "item_id", rejected, say)
    users = join_feature_table(folder / "users.parquet", tables.users, "data.users", "user_id", rejected, say)
    _write_json(folder / "features.json", {"items": items, "users": users})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _mapped_columns(tables: Tables, table: Table, recipe: Recipe | RankingRecipe) -> dict[str, str | None]:
    """The preparation's columns -> the table's."""
    names = tables.columns
    expected = [name for name in names.model_dump().values() if name is not None]
    if recipe.data.source == "movielens" and not set(expected) <= set(table.columns):
        raise DataError(
            f"{table.name}: a MovieLens release has the columns {', '.join(expected)}; this file has "
            f'{shown_names(table.columns)}. Read it with source = "table", and name its columns in [data.columns]'
        )
    require_columns(table, {f"data.columns.{key}": name for key, name in names.model_dump().items()})
    if recipe.data.min_value is not None and names.value is None:
        raise DataError("data.min_value needs data.columns.value, the column to compare")
    if recipe.split.kind not in ("leave-one-out", "random") and names.time is None:
        raise DataError(f'split.kind = "{recipe.split.kind}" needs times: name their column with data.columns.time')
    return {"user_id": names.user, "item_id": names.item, "time": names.time, "value": names.value}


def _warn_of_ties(ties: float | None, recipe: Recipe | RankingRecipe, say: Say) -> None:
    if ties is not None and ties > MANY_TIES:
        message = (
            f"warning: {100 * ties:.0f} % of events share user and time with the event before them; "
            "their order is the file's"
        )
        if recipe.split.kind == "leave-one-out":
            message += '. split.kind = "last-basket" holds out all events of a user\'s last time instead of one of them'
        say(message)


@contextmanager
def _running_engine(data: DataSection, scratch: Path) -> Iterator[Engine]:
    """The recipe's engine, with ``scratch`` for its files while the block runs."""
    scratch.mkdir()
    try:
        engine = _engine(data, scratch)
        try:
            yield engine
        finally:
            engine.close()
    finally:
        shutil.rmtree(scratch)


def _engine(data: DataSection, scratch: Path) -> Engine:
    if data.engine == "duckdb":
        return DuckEngine(scratch)
    from edgerec.data.spark_engine import SparkEngine

    return SparkEngine(scratch, data.spark_master)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Tell in one line that the disk is full, or that a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{folder}: preparation stopped: {plain_reason(error)}") from None


def _load(engine: Engine, table: Table, columns: dict[str, str | None], scratch: Path, say: Say) -> None:
    """Let ``raw`` stand for the interactions: Parquet as it is, everything else by way of a file of texts."""
    if isinstance(table, ParquetTable | UriTable):
        if table.place(1)[1] is None:
            say(f"{table.name}: read by Spark itself: rejected rows will have no line numbers")
        engine.load("raw", table, columns)
        return
    mapped = {target: source for target, source in columns.items() if source is not None}
    path = scratch / "texts.parquet"
    write_texts(path, list(mapped), table.records(list(mapped.values()), say))
    engine.attach("raw", path, columns)


def _require_few_rejected(rejected: Rejected, table: Table, read: int, data: DataSection, folder: Path) -> None:
    if read == 0:
        raise DataError(f"{table.name}: the table has a header and no rows")
    if rejected.count <= data.max_rejected * read:
        return
    kept = folder.parent / "rejected.csv"
    rejected.move(kept)
    raise DataError(
        f"{rejected.first}; {rejected.count:,} of {read:,} rows are rejected ({rejected.count / read:.1%}, "
        f"data.max_rejected is {data.max_rejected:.1%}). All of them: {kept}"
    )
