"""Tables -> data set."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import device_runner
from edgerec.artifact import stamp_of
from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare_into, reads_values
from edgerec.data.sources.tables import resolve_tables, source_fingerprint
from edgerec.errors import DataError
from edgerec.stages.stage import Stage

# Settings of [data] that do not affect the result. Where the tables are is part of the fingerprint of the source,
# whatever the spelling of the path.
NOT_IN_THE_RESULT = {"engine", "spark_master", "max_rejected", "path"}


class Prepare(Stage):
    """Reads, cleans and splits the tables."""

    name = "dataset"

    def settings(self) -> Any:
        recipe = self.workspace.recipe
        data = recipe.data
        kept = data.model_dump(exclude=NOT_IN_THE_RESULT)
        for table in ("items", "users"):
            if kept.get(table):
                kept[table] = {key: value for key, value in kept[table].items() if key != "path"}
        return {
            "edgerec": device_runner.__version__,
            "data": kept,
            "split": recipe.split.model_dump(),
            "tables": source_fingerprint(data),
            **({"values": True} if reads_values(recipe) else {}),
        }

    def made(self) -> Path:
        """Like :meth:`Stage.made`.

        Raises:
            DataError: the folder has another data set, which would be replaced, and the run is not forced to.
        """
        if not self.workspace.force and not self.is_current():
            self._refuse_another_data_set()
        return super().made()

    def _refuse_another_data_set(self) -> None:
        try:
            there = Dataset.load(self.folder).info
        except DataError:
            return
        name = self.workspace.recipe.data.name
        source = resolve_tables(self.workspace.recipe.data).interactions.described()
        tables = there.get("source", [])  # older data sets do not say where they are from
        known = next((table for table in tables if table["table"] == "interactions"), source)
        # Another query of the same database is a change of the recipe, another file is another data set.
        if any(source.get(key) != known.get(key) for key in ("path", "url")) or there["name"] != name:
            raise DataError(
                f"{self.workspace.folder}: belongs to the data set {there['name']}, from "
                f"{known.get('path') or known.get('url')}; name another folder with --out, or use --force to replace "
                "it and all that was made from it"
            )

    def make(self, into: Path) -> None:
        prepare_into(self.workspace.recipe, into, self.workspace.progress.say)

    @contextmanager
    def preview(self) -> Iterator[Dataset]:
        """The data set as it is, without the checks of ``dataset``. If the folder has another one, that is left alone,
        and this one is prepared in a temporary folder.
        """
        if self.is_current() or not stamp_of(self.folder):
            yield Dataset.load(self.made())
            return
        with tempfile.TemporaryDirectory() as scratch:
            prepare_into(self.workspace.recipe, Path(scratch), self.workspace.progress.say)
            yield Dataset.load(Path(scratch))

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, made first if need be.

        Raises:
            DataError: a table cannot be read, or there is nothing to train, validate or test on.
        """
        dataset = Dataset.load(self.made())
        missing = [part for part in ("validation", "test") if not len(dataset.targets(part))]
        if missing or max(map(len, dataset.training_histories())) < 2:
            kind = self.recipe.split.kind
            need = (
                "users with two or more events before the cuts, and some with events before and after each"
                if kind == "temporal"
                else "users with four or more events (two to train on, one to validate, one to test)"
            )
            raise DataError(
                f"{dataset.name}: nothing to {' and '.join(missing or ['train on'])}: a {kind} split needs {need}"
            )
        return dataset
