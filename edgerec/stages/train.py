"""Data set -> trained Keras recommender."""

import json
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tf_keras as keras

from edgerec.artifact import write_file
from edgerec.errors import ClusterError
from edgerec.evaluation.ranking import Evaluation, evaluate_model
from edgerec.pruning.sparsity import parameters, sparsity
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.teach import Teach
from edgerec.training.cluster import Workers, loss_of_workers
from edgerec.training.distillation import Distillation
from edgerec.training.fusion import fit_parts
from edgerec.training.gap import generalization_gap
from edgerec.training.hooks import AverageWeights, Hook
from edgerec.training.loop import Fit
from edgerec.training.objective import NextItem, Objective
from edgerec.training.schedule import Schedule

# Folder of the evaluation of the network alone, beside that of the whole model.
NETWORK = "network"


class ModelStage(Stage):
    """A stage whose artifact is a Keras recommender with the log of its fit and its evaluation on the test targets."""

    def __init__(self, workspace: Workspace, prepared: Prepare, teach: Teach | None = None) -> None:
        super().__init__(workspace)
        self.prepared, self._teach = prepared, teach

    @cached_property
    def recommender(self) -> SequenceRecommender:
        """The model, made first if need be."""
        return SequenceRecommender.load(self.made())

    def log(self) -> dict[str, Any]:
        """What the fit returned, with ``sparsity`` (shares of zeros), ``parameters`` and the network's ``gap``."""
        return dict(json.loads((self.made() / "training.json").read_text()))

    def objective(
        self,
        recommender: SequenceRecommender,
        network: keras.Model | None = None,
        workers: Workers | None = None,
    ) -> NextItem:
        """What the stage fits: the training events, with what the teacher predicts there if it has one."""
        dataset, train = self.prepared.dataset, self.recipe.train
        if self._teach is None:
            return NextItem(recommender, dataset, train, network, workers)
        weight = self.recipe.distill.weight
        return Distillation(recommender, dataset, train, self._teach.taught, weight, network, workers)

    def fit(
        self, objective: Objective, schedule: Schedule, hooks: Sequence[Hook], title: str, workers: Workers
    ) -> dict[str, Any]:
        """Fit and return the log."""
        logs = self.workspace.folder / "logs" / title
        progress = self.workspace.progress
        return Fit(title, objective, schedule, self._checkpoints(title), logs, progress, hooks, workers).run()

    def save(self, recommender: SequenceRecommender, log: dict[str, Any], title: str, into: Path) -> None:
        """Add the other parts of the score, and write the model, its log and its evaluation. The checkpoints of its fit
        are no longer needed then.
        """
        facts = {"parameters": parameters(recommender), "gap": generalization_gap(recommender, self.prepared.dataset)}
        self.workspace.progress.say("weighting the parts of the score")
        recommender.parts = fit_parts(recommender, self.prepared.dataset, self.recipe.model)
        recommender.save(into)
        self.evaluation(recommender, f"test the {self.name} model").save(into)
        log = {**log, **facts, "sparsity": sparsity(recommender), "parts": recommender.parts.facts()}
        write_file(into / "training.json", json.dumps(log, indent=2) + "\n")
        shutil.rmtree(self._checkpoints(title), ignore_errors=True)

    def evaluation(self, recommender: SequenceRecommender, title: str) -> Evaluation:
        """On the test targets; ``title`` is shown meanwhile."""
        targets = self.prepared.dataset.targets("test")
        with self.workspace.progress.steps(title, len(targets)) as bar:
            return evaluate_model(recommender, targets, self.prepared.dataset, bar.advance)

    def _checkpoints(self, title: str) -> Path:
        """Named for what is trained: another recipe in the same folder does not go on from these."""
        return self.workspace.folder / "checkpoints" / f"{title}-{self.key}"


class Train(ModelStage):
    """Trains the recommender that ``[model]`` asks for, alone or with the other workers of a cluster."""

    name = "trained"

    def __init__(self, workspace: Workspace, prepared: Prepare, teach: Teach | None = None) -> None:
        super().__init__(workspace, prepared, teach)
        self.inputs = [prepared, *([] if teach is None else [teach])]
        self._workers = Workers.alone()

    def settings(self) -> Any:
        # One worker or several: the result is the same.
        settings = {
            "model": self.recipe.model.model_dump(),
            "train": self.recipe.train.model_dump(exclude={"strategy"}),
        }
        return settings if self._teach is None else {**settings, "distill": self.recipe.distill.weight}

    def made(self) -> Path:
        """Like :meth:`Stage.made`. With ``strategy = "multiworker"`` the chief makes it and the others take part."""
        if self.recipe.train.strategy == "single" or self.is_current():
            return super().made()
        with loss_of_workers():
            self._workers = Workers.join(self.workspace.progress.say)
            self._workers.agree(self.key, "recipe and tables must be the same for all workers")
            if self._workers.is_chief:
                with self.workspace.locked():  # before the others are told, so that they have to be
                    super().made()
            else:
                self._take_part()
            self._workers.wait()  # until the artifact is in its place
            return self.folder

    def make(self, into: Path) -> None:
        self._workers.wait()  # the others read the data set, which is there now
        recommender, log = self._fit()
        alone = self.evaluation(recommender, f"test the {self.name} network")
        self.save(recommender, log, "train", into)
        if recommender.parts != Parts():
            (into / NETWORK).mkdir()
            alone.save(into / NETWORK)

    def _take_part(self) -> None:
        self._workers.wait()
        if not self.prepared.is_current():
            raise ClusterError(
                f"{self.workspace.folder}: the chief wrote no data set here; all must share the folder --out"
            )
        self._fit()

    def _fit(self) -> tuple[SequenceRecommender, dict[str, Any]]:
        train, dataset, workers = self.recipe.train, self.prepared.dataset, self._workers
        keras.utils.set_random_seed(train.seed)
        with workers.strategy.scope():
            recommender = SequenceRecommender.of_dataset(self.recipe.model, dataset)
        objective = self.objective(recommender, workers=workers)
        hooks = [AverageWeights(objective.weights, train.average)] if train.average else []
        return recommender, self.fit(
            objective, Schedule.of_training(train, len(objective.batches(1))), hooks, "train", workers
        )
