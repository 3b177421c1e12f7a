"""Items that came after training, as they are appended to what is exported."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from edgerec.data.feature_encoding import chosen_features
from edgerec.data.new_items import read_new_items
from edgerec.data.sources.places import File
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Workspace


class NewItems:
    """The rows of ``convert.new_items`` that are not in the catalogue, read once for all schemes."""

    def __init__(self, workspace: Workspace, prepared: Prepare) -> None:
        self._workspace = workspace
        self._prepared = prepared

    @cached_property
    def table(self) -> pd.DataFrame | None:
        """Columns ``item_id``, ``title`` if there is one, and the features; ``None`` if there are no new items.

        Raises:
            DataError: the file is absent, or lacks a column that ``model.item_features`` names.
        """
        recipe = self._workspace.retrieval
        if recipe.convert.new_items is None:
            return None
        dataset = self._prepared.dataset
        features = chosen_features(recipe.model.item_features, dataset.features("items"), "item")
        known = list(dataset.item_table["item_id"])
        new = read_new_items(recipe.data, recipe.convert.new_items, known, features, self._workspace.progress.say)
        return None if new.empty else new

    def check(self) -> None:
        """Look at the table before anything is trained, if the recipe names one.

        Raises:
            DataError: as ``table``.
        """
        _ = self.table

    def fingerprint(self) -> Any:
        """What tells that the table changed; ``None`` if the recipe names none.

        Raises:
            DataError: there is no such file.
        """
        path = self._workspace.retrieval.convert.new_items
        return None if path is None else File(Path(path)).fingerprint()
