"""Data set and retrieval bundle -> labelled rows with scores of retrieval, and what it retrieves."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

from device_runner import Recommender
from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import CODES, LabelledRows, part_seed
from edgerec.data.retrieved import Retrieved, Retriever
from edgerec.errors import EdgeRecError
from edgerec.evaluation.device import check_bundle
from edgerec.recipe.task import CANDIDATES, ImplicitTask
from edgerec.stages.prepare_ranking import PrepareRanking, RankingRows
from edgerec.stages.stage import Workspace


class Retrieve(RankingRows):
    """Scores the rows of all parts with the bundle that ``model.retrieval`` names, on the device runtime."""

    name = "retrieved"

    def __init__(self, workspace: Workspace, prepared: PrepareRanking) -> None:
        super().__init__(workspace)
        self._prepared = prepared
        self.inputs = [prepared]

    @property
    def bundle(self) -> Path:
        """The retrieval bundle."""
        return Path(str(self.ranking_recipe.model.retrieval))

    def settings(self) -> Any:
        recipe = self.ranking_recipe
        return {
            "bundle": hashlib.sha256(self._content()).hexdigest(),
            "task": recipe.task.model_dump(),
            "candidates": CANDIDATES,
            "seed": recipe.train.seed,
        }

    @property
    def dataset(self) -> Dataset:
        return self._prepared.dataset

    def check(self) -> None:
        """See that there is a bundle.

        Raises:
            EdgeRecError: it cannot be read.
        """
        self._content()

    @cached_property
    def retrieved(self) -> Retrieved:
        """The rows, made first if need be."""
        return Retrieved(self.made())

    @cached_property
    def test_rows(self) -> LabelledRows:
        return self.retrieved.rows("test")

    def make(self, into: Path) -> None:
        recipe, dataset = self.ranking_recipe, self.dataset
        assert isinstance(recipe.task, ImplicitTask)
        found = Retrieved(into)
        seeds = {"train": recipe.train.seed, "validation": part_seed("validation"), "test": part_seed("test")}
        with Recommender.load(self.bundle) as recommender:
            check_bundle(recommender.bundle, dataset)
            retriever = Retriever(recommender, dataset)
            found.save("lists", retriever.lists("validation"))
            for part, seed in seeds.items():
                steps = int((dataset.parts == CODES[part]).sum())
                with self.workspace.progress.steps(f"retrieve for {part}", steps) as bar:
                    found.save(part, retriever.rows(recipe.task, part, seed, bar.advance))

    def _content(self) -> bytes:
        try:
            return self.bundle.read_bytes()
        except OSError as error:
            raise EdgeRecError(f"model.retrieval: {self.bundle}: cannot be read: {error.strerror}") from None
