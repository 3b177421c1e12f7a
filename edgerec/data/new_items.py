"""Items that came after training: known by their features alone."""

from collections.abc import Callable, Sequence

import pandas as pd

from edgerec.data.features import Feature, encode_features
from edgerec.data.source import ID, ITEM_COLUMNS, read_feature_table, resolve_builtin
from edgerec.errors import DataError
from edgerec.recipe import Data


def read_new_items(
    data: Data, path: str, known: Sequence[str], wanted: Sequence[Feature], say: Callable[[str], None]
) -> pd.DataFrame:
    """A table of new items, in the form of ``[data] items``: columns ``item_id``, ``title`` if there is one, features.

    Lines without an id, with one again, of ``known`` items, and without a known value of any feature are left out,
    which is told by ``say``.

    Raises:
        DataError: the file is absent, or lacks a column of ``wanted``.
    """
    items = resolve_builtin(data).items
    if items is None:
        raise DataError("convert.new_items has the form of the item table, which the recipe lacks: set [data] items")
    table = items.model_copy(update={"path": path, "url": None, "table": None, "query": None})
    features, left_out = read_feature_table(table, "data.items", ITEM_COLUMNS)
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
        f"{(~described).sum():,} without a known feature, {left_out:,} lines without an id or with one again"
    )
    return new[described].reset_index(drop=True)
