"""Quality on the test rows of a ranking run, where ranking models, bundles and baselines are measured alike."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_runner import Bundle, Ranker
from device_runner.contract import Ranking
from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import Histories, LabelledRows
from edgerec.errors import DataError
from edgerec.evaluation.device import check_bundle, check_split
from edgerec.evaluation.scored_rows import ScoredRows, by_slice
from edgerec.pipeline import RankingStages, Run
from edgerec.progress import Progress
from edgerec.rankers import RankingModel
from edgerec.rankers.on_device import inputs_of, score_rows
from edgerec.rankers.row_inputs import RowInputs
from edgerec.recipe import RankingRecipe
from edgerec.recipe.load import check_recipe
from edgerec.stages.measure_ranking import baselines_of

RECIPE = "recipe.json"


def is_ranking(dataset_folder: Path) -> bool:
    """Whether a data set is that of a ranking run."""
    return _recipe_beside(dataset_folder).get("kind") == "ranking"


def is_ranking_model(model: Path) -> bool:
    """Whether the folder of a model, or a bundle, is of a ranking model.

    Raises:
        BundleError: a file is no bundle.
    """
    if model.is_dir():
        return _json_of(model / "model.json").get("kind") == "ranking"
    return model.exists() and isinstance(Bundle.read(model).contract, Ranking)


@dataclass(frozen=True)
class RankingEvaluation:
    """What the models of a ranking run are tested on.

    Attributes:
        recipe: of the run.
        rows: the test rows.
        known: the parts whose events are histories.
        baselines: by name, what scores the rows.
    """

    recipe: RankingRecipe
    dataset: Dataset
    rows: LabelledRows
    known: tuple[str, ...]
    baselines: Mapping[str, Callable[[], np.ndarray]]

    @classmethod
    def of_dataset(cls, folder: Path) -> "RankingEvaluation":
        """That of the run whose data set is in ``folder``: what a row is, the recipe of the run says.

        Raises:
            DataError: the folder is not that of a ranking run, or the run is not up to date.
        """
        if not is_ranking(folder):
            raise DataError(
                f"{folder}: not the data set of a ranking run, as {folder.parent / RECIPE} does not say so; "
                f"make one with: edgerec run RECIPE --out {folder.parent}"
            )
        run = Run(check_recipe(_recipe_beside(folder)), folder.parent, Progress())
        assert isinstance(run.stages, RankingStages) and isinstance(run.recipe, RankingRecipe)
        if reason := run.stages.trained.prepared.reason():
            raise DataError(f"{folder}: not up to date ({reason}); make it again with: edgerec run RECIPE")
        prepared = run.stages.trained.prepared
        known = run.stages.trained.known
        return cls(run.recipe, prepared.dataset, prepared.test_rows, known, baselines_of(prepared, known))

    def measure(self, model: Path, advance: Callable[[int], None] = lambda rows: None) -> ScoredRows:
        """Scores of a baseline by its name, of the folder of a model, or of a bundle, which runs on the device's code.

        Raises:
            DataError: there is no such model, or it is of another split or catalogue.
            EdgeRecError: it is no ranking model.
        """
        return ScoredRows.of(self.recipe.task.kind, self.rows, self._scores(model, advance))

    def slices(self, scored: ScoredRows) -> dict[str, Any]:
        """The main figure by popularity of the item and length of the history."""
        histories = Histories(self.dataset, getattr(self.recipe.model, "max_history", 1), self.known)
        return by_slice(scored, self.rows, self.dataset, histories)

    def _scores(self, model: Path, advance: Callable[[int], None]) -> np.ndarray:
        if str(model) in self.baselines:
            return self.baselines[str(model)]()
        if model.is_dir():
            trained = RankingModel.load(model)
            check_split(model, trained.split_fingerprint, self.dataset)
            return trained.predict(self.rows, trained.row_inputs(self.dataset, self.known), advance)
        if not model.exists():
            raise DataError(f"{model}: no such bundle or model folder, and no baseline ({', '.join(self.baselines)})")
        with Ranker.load(model) as ranker:
            return self._scores_of_bundle(ranker, advance)

    def _scores_of_bundle(self, ranker: Ranker, advance: Callable[[int], None]) -> np.ndarray:
        check_bundle(ranker.bundle, self.dataset)
        length = max((feature.size for feature in ranker.features if feature.of == "history"), default=1)
        inputs = RowInputs(self.dataset, inputs_of(ranker), Histories(self.dataset, length, self.known))
        return score_rows(ranker, inputs, self.rows, advance)


def _recipe_beside(dataset_folder: Path) -> dict[str, Any]:
    """The recipe of the run whose data set it is; empty where it has none."""
    return _json_of(dataset_folder.resolve().parent / RECIPE)


def _json_of(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}
