"""Trained recommender -> pruned and fine-tuned recommender."""

from pathlib import Path
from typing import Any

import tf_keras as keras

from edgerec.pruning.methods import METHODS
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Workspace
from edgerec.stages.teach import Teach
from edgerec.stages.train import ModelStage
from edgerec.training.cluster import Workers
from edgerec.training.hooks import AverageWeights
from edgerec.training.objective import NextItem
from edgerec.training.schedule import Schedule


class Prune(ModelStage):
    """Prunes by the method of ``[prune]`` and fine-tunes. The pruned model keeps its item features."""

    name = "pruned"

    def __init__(self, workspace: Workspace, prepared: Prepare, trained: ModelStage, teach: Teach | None) -> None:
        super().__init__(workspace, prepared, teach)
        self.inputs = [prepared, trained, *([] if teach is None else [teach])]
        self._trained = trained

    def settings(self) -> Any:
        settings = {"prune": self.recipe.prune.model_dump()}
        return settings if self._teach is None else {**settings, "distill": self.recipe.distill.weight}

    def make(self, into: Path) -> None:
        train, prune, dataset = self.recipe.train, self.recipe.prune, self.prepared.dataset
        recommender = SequenceRecommender.load(self._trained.made())  # its own copy: pruning changes it
        recommender.parts = Parts()  # the network is fitted alone
        keras.utils.set_random_seed(train.seed)  # for weights that begin anew
        pruning = METHODS[prune.method](recommender, prune, NextItem(recommender, dataset, train))
        objective = self.objective(pruning.recommender, pruning.network)
        hooks = list(pruning.hooks)
        if pruning.averaged and train.average:
            hooks.append(AverageWeights(objective.weights, train.average))
        schedule = Schedule.of_fine_tuning(train, prune)
        log = self.fit(objective, schedule, hooks, "prune", Workers.alone())
        self.save(pruning.recommender, log, "prune", into)
