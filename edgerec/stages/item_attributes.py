"""Attributes of the items that bundles hold, so that a list can be kept diverse by them."""

from functools import cached_property

import pandas as pd

from edgerec.errors import DataError
from edgerec.stages.new_items import NewItems
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Workspace


class ItemAttributes:
    """The columns of the item table that ``convert.attributes`` names, for all schemes."""

    def __init__(self, workspace: Workspace, prepared: Prepare, new: NewItems) -> None:
        self._names = workspace.retrieval.convert.attributes
        self._prepared, self._new = prepared, new

    @cached_property
    def columns(self) -> dict[str, list[list[str]]]:
        """By name, the different values of each item of the file from row 1 on, new items included; an empty list where
        they are unknown.

        Raises:
            DataError: the item table has no such column.
        """
        if not self._names:
            return {}
        dataset = self._prepared.dataset
        features = {feature.name: feature for feature in dataset.features("items")}
        for name in self._names:
            if name not in features:
                known = ", ".join(features) or "none"
                raise DataError(f"convert.attributes: the item table has no column {name!r}; it has: {known}")
        tables = [dataset.item_table, *([] if self._new.table is None else [self._new.table])]
        table = pd.concat(tables) if len(tables) > 1 else tables[0]
        return {
            name: [list(dict.fromkeys(features[name].values(cell))) for cell in table[name]] for name in self._names
        }

    def check(self) -> None:
        """Look for the columns before anything is trained.

        Raises:
            DataError: as ``columns``.
        """
        _ = self.columns
