"""Items that came after training, known by their features alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from edgerec.data.dataset import ITEM_COLUMNS
from edgerec.data.feature_encoding import Feature, encode_features
from edgerec.data.rejected import Rejected
from edgerec.data.sources.feature_table import ID, read_feature_table
from edgerec.data.sources.places import FeatureSource, File
from edgerec.data.sources.tables import resolve_tables
from edgerec.errors import DataError
from edgerec.recipe.data import Data


def read_new_items(
    data: Data, path: str, known: Sequence[str], wanted: Sequence[Feature], say: Callable[[str], None]
) -> pd.DataFrame:
    """A table of new items, in the form of ``[data] items``: columns ``item_id``, ``title`` if there is one, features.

    Left out, and counted by ``say``, are rows that cannot be read, rows without an id, or with a duplicate id,
    ``known`` items, and items without a known value of any feature.

    Raises:
        DataError: the file is absent, or lacks a column of ``wanted``.
    """
    items = resolve_tables(data).items
    if items is None:
        raise DataError("convert.new_items has the form of the item table, which the recipe lacks: set [data] items")
    with TemporaryDirectory() as scratch, Rejected(Path(scratch) / "rejected.csv") as rejected:
        source = FeatureSource(File(Path(path), items.settings.delimiter), items.settings)
        features = read_feature_table(source, "data.items", ITEM_COLUMNS, rejected, say)
    if absent := [feature.name for feature in wanted if feature.name not in features]:
        raise DataError(
            f"convert.new_items: {path} has no column {', '.join(absent)}, which model.item_features names; it has: "
            f"{', '.join(map(str, features.columns.drop(ID)))}"
        )
    features = features.rename(columns={ID: "item_id"})
    new = features[~features["item_id"].isin(set(known))].reset_index(drop=True)
    encoded = encode_features(wanted, new)
    described = encoded.codes.any(1) | encoded.numbers.any(1)
    say(
        f"convert.new_items: {described.sum():,} new; {len(features) - len(new):,} are in the catalogue already, "
        f"{(~described).sum():,} have no known feature, {rejected.count:,} rows are left out"
        + (f" (the first: {rejected.first})" if rejected.first else "")
    )
    return new[described].reset_index(drop=True)
