"""Ranking model -> fine-tuned with few different weights, or for weights and activations of 8 bits."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import tf_keras as keras

from edgerec.rankers import RankingModel
from edgerec.recipe import Cluster, RankingQuantize
from edgerec.stages.prepare_ranking import RankingRows
from edgerec.stages.stage import Workspace
from edgerec.stages.train_ranking import LastEpoch, RankingStage
from edgerec.training.schedule import Schedule
from edgerec.training.wrapped import Wrapped, clustering, quantization_awareness


class WrappedRanking(RankingStage):
    """Fine-tunes in wrappers. The model that is saved has the weights that these stand for, in float32."""

    def __init__(self, workspace: Workspace, prepared: RankingRows, before: RankingStage) -> None:
        super().__init__(workspace, prepared)
        self.inputs = [prepared, before]
        self._before = before

    @property
    @abstractmethod
    def section(self) -> Cluster | RankingQuantize:
        """The recipe's section."""

    @abstractmethod
    def wrapped(self, model: RankingModel) -> Wrapped:
        """The model in its wrappers."""

    def settings(self) -> Any:
        return self.section.model_dump()

    def make(self, into: Path) -> None:
        recipe = self.ranking_recipe
        keras.utils.set_random_seed(recipe.train.seed)
        model = RankingModel.load(self._before.made())  # its own copy
        wrapped = self.wrapped(model)
        objective = self.objective(model, wrapped.network, self.known)
        hooks = [wrapped, *([LastEpoch(self.section.epochs)] if recipe.train.refit else [])]
        log = self.fit(objective, Schedule.of_fine_tuning(recipe.train, self.section), hooks, self.name)
        self.finish(objective, log)
        self.save(model, log, (self.name,), into)


class ClusterRanking(WrappedRanking):
    """Clusters the kernels as ``[cluster]`` says."""

    name = "clustered"

    @property
    def section(self) -> Cluster:
        return self.ranking_recipe.cluster

    def wrapped(self, model: RankingModel) -> Wrapped:
        assert self.section.clusters
        return clustering(model, self.section.clusters)


class QuantizeRanking(WrappedRanking):
    """Quantization-aware training, as ``[quantize]`` says."""

    name = "quantized"

    @property
    def section(self) -> RankingQuantize:
        return self.ranking_recipe.quantize

    def wrapped(self, model: RankingModel) -> Wrapped:
        return quantization_awareness(model)
