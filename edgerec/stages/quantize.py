"""Pruned recommender -> fine-tuned for the quantization to come."""

from pathlib import Path
from typing import Any

from converters.schemes import SCHEMES
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Workspace
from edgerec.stages.teach import Teach
from edgerec.stages.train import ModelStage
from edgerec.training.cluster import Workers
from edgerec.training.hooks import AverageWeights
from edgerec.training.incremental_quantization import IncrementalQuantization
from edgerec.training.schedule import Schedule


class Quantize(ModelStage):
    """Fine-tunes with the weights that a scheme stores. The model that is saved has these weights, in float32."""

    name = "quantized"

    def __init__(self, workspace: Workspace, prepared: Prepare, model: ModelStage, teach: Teach | None) -> None:
        super().__init__(workspace, prepared, teach)
        self.inputs = [prepared, model, *([] if teach is None else [teach])]
        self._model = model

    def settings(self) -> Any:
        settings = {"quantize": self.recipe.quantize.model_dump(), "bits": self.recipe.convert.bits}
        return settings if self._teach is None else {**settings, "distill": self.recipe.distill.weight}

    def make(self, into: Path) -> None:
        train, quantize = self.recipe.train, self.recipe.quantize
        storage = SCHEMES[str(quantize.scheme)].storage
        assert storage  # the recipe has checked it
        recommender = SequenceRecommender.load(self._model.made())  # its own copy
        recommender.parts = Parts()  # the network is fitted alone
        objective = self.objective(recommender)
        rounding = IncrementalQuantization(recommender, storage, self.recipe.convert.bits)
        averaging = [AverageWeights(objective.weights, train.average)] if train.average else []
        schedule = Schedule.of_fine_tuning(train, quantize)
        log = self.fit(objective, schedule, [*averaging, rounding], "quantize", Workers.alone())
        self.save(recommender, log, "quantize", into)
