"""Item and user tables: read whole, as text."""

import string
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from edgerec.data.rejected import Rejected
from edgerec.data.sources.movielens import tidied
from edgerec.data.sources.places import FeatureSource
from edgerec.data.sources.table import Problem, Say, Table, require_columns
from edgerec.data.sources.tables import open_table
from edgerec.errors import DataError

# The id's column in a feature table that was read; no table's own column is called so.
ID = "(id)"


def read_feature_table(
    source: FeatureSource, section: str, taken: Collection[str], rejected: Rejected, say: Say
) -> pd.DataFrame:
    """An item or user table as text, one row an id: the columns ``ID``, ``title`` (if the recipe names one) and the
    features.

    The recipe's ``title`` is a column, or a template such as ``"{product_type} ({brand})"``. Values of features that
    the recipe lists as ``missing`` are NA. Rows that cannot be read, rows without an id, and rows with a duplicate id
    go to ``rejected``.

    Args:
        section: of the recipe, for messages: ``data.items``.
        taken: column names that the Dataset uses itself; a feature with such a name becomes ``feature_NAME``.

    Raises:
        DataError: the table cannot be read, lacks a column, or the title is not a template.
    """
    settings = source.settings
    table = open_table(source.place)
    fields = _template_fields(settings.title or "", section)
    wanted: dict[str, str | None] = {f"{section}.id": settings.id}
    wanted.update({f"{section}.title": name for name in fields or filter(None, [settings.title])})
    require_columns(table, wanted)
    frame = pd.DataFrame(_rows(table, settings.id, rejected, say), columns=table.columns, dtype="string")
    frame = tidied(Path(table.name), frame.replace("", pd.NA))
    features = frame.drop(columns=[settings.id])
    features = features.mask(features.apply(lambda column: column.str.strip().isin(settings.missing)))
    if settings.title is not None:
        titles = _titles(frame, settings.title, fields)
        features = features.drop(columns=[settings.title], errors="ignore")
        features = features.rename(columns={"title": "feature_title"}).assign(title=titles)
    features = features.rename(columns={name: f"feature_{name}" for name in taken})
    return features.assign(**{ID: frame[settings.id]})


def _rows(table: Table, key: str, rejected: Rejected, say: Say) -> Iterator[list[str | None]]:
    """The good records; the others go to ``rejected``."""
    place = table.columns.index(key)
    seen: set[str] = set()
    for line, values, problem in table.records(table.columns, say):
        id_ = values[place]
        if problem is None and (id_ is None or not id_.strip()):
            problem = Problem("no id", _joined(values))
        elif problem is None and id_ in seen:
            problem = Problem("duplicate id", _joined(values))
        if problem is not None:
            rejected.add(*table.place(line), *problem)
            continue
        seen.add(str(id_))
        yield list(values)


def _joined(values: Collection[str | None]) -> str:
    return ",".join(value or "" for value in values)


def _titles(frame: pd.DataFrame, title: str, fields: list[str]) -> list[str]:
    if not fields:
        return list(frame[title].fillna(""))
    # Titles are for people: where a part is missing, the brackets around it go too.
    lines = frame[fields].fillna("").to_dict("records")
    return [
        " ".join(title.format_map({str(k): v for k, v in line.items()}).replace("()", "").split()) for line in lines
    ]


def _template_fields(title: str, section: str) -> list[str]:
    try:
        parts = list(string.Formatter().parse(title))
    except ValueError as error:
        raise DataError(f"{section}.title: {title!r} is not a template: {error}") from None
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise DataError(f"{section}.title: {title!r}: a template takes plain {{column}} only")
    return [name for _, name, _, _ in parts if name]
