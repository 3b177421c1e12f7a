"""Item and user features: joined to the ids that were kept, and learned from the training rows."""

from pathlib import Path
from typing import Any

import pandas as pd

from edgerec.data.feature_encoding import Feature, fit_feature, guess_kind
from edgerec.data.rejected import Rejected
from edgerec.data.sources.feature_table import ID, read_feature_table
from edgerec.data.sources.places import FeatureSource
from edgerec.data.sources.table import Say, shown_names
from edgerec.errors import DataError
from edgerec.recipe.data import FeatureTable


def join_feature_table(
    path: Path, source: FeatureSource | None, section: str, key: str, rejected: Rejected, say: Say
) -> list[dict[str, Any]]:
    """Add the columns of an item or user table to the ids in ``path``, and learn its features from those of them that
    have training events. Rows that cannot be used go to ``rejected``.

    Returns:
        The features' parameters, ready for JSON.

    Raises:
        DataError: the table cannot be read, or the recipe names a column that it lacks.
    """
    if source is None:
        return []
    ids = pd.read_parquet(path)
    before = rejected.count
    table = read_feature_table(source, section, ids.columns, rejected, say)
    features = _feature_names(table, source.settings, section)
    joined = ids.merge(table, how="left", left_on=key, right_on=ID, validate="one_to_one")
    matched, left_out = int(joined[ID].notna().sum()), rejected.count - before
    if left_out or matched < len(joined):
        say(f"{section}: {matched:,} of {len(joined):,} ids found; {left_out:,} rows of the table rejected")
    joined = joined.drop(columns=[ID])
    if "title" in joined:
        joined["title"] = joined["title"].fillna("")
    joined.to_parquet(path, index=False)
    # Every item has a training event. Users without one are left out: nothing can be learned from them.
    known = joined[joined["trained"]] if "trained" in joined else joined
    learned = [_learned(known[name], source.settings) for name in features]
    if empty := [feature.name for feature in learned if feature.missing == 1]:
        say(f"warning: {section}: no training row has a value in {shown_names(empty)}; name it in {section}.ignore")
    return [feature.to_json() for feature in learned]


def _feature_names(table: pd.DataFrame, settings: FeatureTable, section: str) -> list[str]:
    names = [name for name in table.columns if name not in {ID, "title", *settings.ignore}]
    unknown = sorted({*settings.multi, *(settings.numeric or ()), *settings.ignore} - set(table.columns))
    if unknown:
        raise DataError(f"{section}: no column {', '.join(unknown)}; the table has {', '.join(names)}")
    return names


def _learned(column: pd.Series, settings: FeatureTable) -> Feature:
    name = str(column.name)
    if name in settings.multi:
        return fit_feature(name, "multi", column, settings.multi[name])
    if settings.numeric is None:
        return fit_feature(name, guess_kind(column), column)
    return fit_feature(name, "numeric" if name in settings.numeric else "categorical", column)
