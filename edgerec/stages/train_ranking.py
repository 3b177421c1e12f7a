"""Data set -> trained ranking model, and from there pruned."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tf_keras as keras

from edgerec.artifact import write_file
from edgerec.evaluation.scored_rows import ScoredRows
from edgerec.pruning.methods import METHODS
from edgerec.pruning.sparsity import parameters, sparsity
from edgerec.rankers import RankingModel
from edgerec.stages.prepare_ranking import RankingRows
from edgerec.stages.stage import Stage, Workspace
from edgerec.training.hooks import AverageWeights, Hook
from edgerec.training.labels import Labels, ranking_gap
from edgerec.training.loop import Fit
from edgerec.training.reranking import Reranking
from edgerec.training.schedule import Schedule


class RankingStage(Stage):
    """A stage whose artifact is a ranking model with the log of its fit and its scores of the test rows."""

    def __init__(self, workspace: Workspace, prepared: RankingRows) -> None:
        super().__init__(workspace)
        self.prepared = prepared

    @cached_property
    def model(self) -> RankingModel:
        """The model, made first if need be."""
        return RankingModel.load(self.made())

    @property
    def known(self) -> tuple[str, ...]:
        """The parts that the shipped model has learned from, whose events are histories in the test."""
        return ("train", "validation") if self.ranking_recipe.train.refit else ("train",)

    def log(self) -> dict[str, Any]:
        """What the fit returned, with ``sparsity``, ``parameters`` and the ``gap``."""
        return dict(json.loads((self.made() / "training.json").read_text()))

    def objective(
        self, model: RankingModel, network: keras.Model | None = None, parts: tuple[str, ...] = ("train",)
    ) -> Labels:
        """What the model is fitted by, on the rows of ``parts``; see ``Labels`` and ``Reranking``."""
        recipe, dataset = self.ranking_recipe, self.prepared.dataset
        if self.prepared.retrieved:
            objective = Reranking(model, dataset, recipe, self.prepared.retrieved, network)
            objective.begin()
            return objective
        return Labels(model, dataset, recipe, network, parts)

    def fit(self, objective: Labels, schedule: Schedule, hooks: Sequence[Hook], title: str) -> dict[str, Any]:
        """Fit and return the log."""
        logs, progress = self.workspace.folder / "logs" / title, self.workspace.progress
        return Fit(title, objective, schedule, self._checkpoints(title), logs, progress, hooks).run()

    def finish(self, objective: Labels, log: dict[str, Any]) -> None:
        """After a fit: weight network and retrieval, if there are both, and measure the gap for the log."""
        if isinstance(objective, Reranking):
            log["blend"] = objective.blend()
        log["gap"] = ranking_gap(objective)

    def save(self, model: RankingModel, log: dict[str, Any], titles: Sequence[str], into: Path) -> None:
        """Write the model, its log and its scores of the test rows. The checkpoints of its fits go then."""
        model.save(into)
        rows = self.prepared.test_rows
        with self.workspace.progress.steps(f"test the {self.name} model", len(rows)) as bar:
            scores = model.predict(rows, model.row_inputs(self.prepared.dataset, self.known), bar.advance)
        ScoredRows.of(self.ranking_recipe.task.kind, rows, scores).save(into)
        log = {**log, "parameters": parameters(model), "sparsity": sparsity(model)}
        write_file(into / "training.json", json.dumps(log, indent=2) + "\n")
        for title in titles:
            shutil.rmtree(self._checkpoints(title), ignore_errors=True)

    def averages(self, objective: Labels) -> list[Hook]:
        """The hook that averages the weights, if ``train.average`` asks for it."""
        decay = self.ranking_recipe.train.average
        return [AverageWeights(objective.weights, decay)] if decay else []

    def _checkpoints(self, title: str) -> Path:
        return self.workspace.folder / "checkpoints" / f"{title}-{self.key}"


class TrainRanking(RankingStage):
    """Trains the model that ``[model]`` asks for; with ``train.refit`` once more on training and validation rows."""

    name = "trained"

    def __init__(self, workspace: Workspace, prepared: RankingRows) -> None:
        super().__init__(workspace, prepared)
        self.inputs = [prepared]

    def settings(self) -> Any:
        recipe = self.ranking_recipe
        return {
            "task": recipe.task.model_dump(),
            "model": recipe.model.model_dump(exclude={"retrieval"}),
            "train": recipe.train.model_dump(),
        }

    def make(self, into: Path) -> None:
        recipe, dataset = self.ranking_recipe, self.prepared.dataset
        keras.utils.set_random_seed(recipe.train.seed)
        retrieved = self.prepared.retrieved
        model = RankingModel.of_dataset(recipe, dataset, rows=retrieved.rows("train") if retrieved else None)
        objective = self.objective(model)
        schedule = Schedule.of_training(recipe.train, len(objective.batches(1)))
        log = self.fit(objective, schedule, self.averages(objective), "train")
        self.finish(objective, log)
        if recipe.train.refit:
            keras.utils.set_random_seed(recipe.train.seed)
            model = RankingModel.of_dataset(recipe, dataset, self.known)
            objective = self.objective(model, parts=self.known)
            # The learning rate falls as it did in the first fit, so its epochs are those that were best there.
            again = replace(schedule, epochs=int(log["best_epoch"]), patience=int(log["best_epoch"]))
            log["refit"] = self.fit(objective, again, [*self.averages(objective), LastEpoch(again.epochs)], "refit")
            log["gap"] |= ranking_gap(objective)  # on training rows, of the model that is kept
        self.save(model, log, ("train", "refit"), into)


class LastEpoch(Hook):
    """Keeps the weights of the last epoch: where validation rows are trained on, they cannot choose."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def counts(self, epoch: int) -> bool:
        return epoch == self._epochs


class PruneRanking(RankingStage):
    """Prunes by the method of ``[prune]`` and fine-tunes."""

    name = "pruned"

    def __init__(self, workspace: Workspace, prepared: RankingRows, trained: TrainRanking) -> None:
        super().__init__(workspace, prepared)
        self.inputs = [prepared, trained]
        self._trained = trained

    def settings(self) -> Any:
        return {"prune": self.ranking_recipe.prune.model_dump()}

    def make(self, into: Path) -> None:
        recipe = self.ranking_recipe
        keras.utils.set_random_seed(recipe.train.seed)
        model = RankingModel.load(self._trained.made())  # its own copy: pruning changes it
        parts = self.known
        pruning = METHODS[recipe.prune.method](model, recipe.prune, self.objective(model, parts=parts))
        objective = self.objective(pruning.recommender, pruning.network, parts)
        hooks = [*pruning.hooks, *(self.averages(objective) if pruning.averaged else [])]
        if recipe.train.refit:
            hooks.append(LastEpoch(recipe.prune.epochs))
        log = self.fit(objective, Schedule.of_fine_tuning(recipe.train, recipe.prune), hooks, "prune")
        self.finish(objective, log)
        self.save(pruning.recommender, log, ("prune",), into)
