"""Trials: a recipe with other settings, made by the stages of the pipeline, measured on validation targets only."""

import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from device_runner.bench import bench
from device_runner.bundle import Bundle
from edgerec.artifact import fingerprint
from edgerec.data.dataset import Dataset, Part, Targets
from edgerec.evaluation.ranking import Evaluation, evaluate_model, ndcg_drop
from edgerec.pipeline import PIPELINES, Stages
from edgerec.progress import Progress
from edgerec.recipe import Recipe, check_recipe
from edgerec.stages.convert import Convert
from edgerec.stages.measure import Measure
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.train import ModelStage
from edgerec.sweep.points import Measured
from edgerec.sweep.space import Drawn, settings

# Validation targets that each trial is measured on, always the same ones.
TARGETS = 2000
# Real histories for verification, which has to tell broken from sound only, and for latency.
HISTORIES = 100


@dataclass(frozen=True)
class ValidationOnly(Dataset):
    """A data set without its test part: what stages would test on are validation targets, so that no choice of a sweep
    can depend on the test figures.
    """

    def targets(self, part: Part) -> Targets:
        if part == "validation":
            return super().targets("validation")
        return super().targets("validation").sample(TARGETS, seed=0)


class Trials:
    """Makes and measures points. Data set and trained model are those of the run, made once.

    Args:
        base: the stages of the run.
        timed: whether the latency is measured too.
    """

    def __init__(self, base: Stages, timed: bool) -> None:
        self._base, self._timed = base, timed
        self.workspace = base.prepared.workspace
        self._recipe = self.workspace.recipe
        self._known: dict[str, Measured] = {}
        self._quiet = Progress()
        self._quiet.console.quiet = True

    @property
    def name(self) -> str:
        """Of the study: what is in all trials."""
        kept = self._recipe.model_dump(mode="json", exclude={"gate", "report"})
        return fingerprint([self._base.trained.key, kept, self._timed])

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data set without its test part, made first if need be."""
        whole = self._base.prepared.dataset
        return ValidationOnly(**{field.name: getattr(whole, field.name) for field in fields(Dataset)})

    @cached_property
    def reference(self) -> Evaluation:
        """The trained float model on the targets of the trials."""
        trained, targets = self._base.trained.recommender, self.dataset.targets("test")
        with self.workspace.progress.steps("validate the trained model", len(targets)) as bar:
            return evaluate_model(trained, targets, self.dataset, bar.advance)

    def recipe_of(self, drawn: Drawn, effort: float) -> Recipe:
        """The recipe of a point, for a share of the fine-tuning epochs."""
        return self._with(settings(drawn), effort)

    def measure(self, drawn: Drawn, effort: float) -> Measured:
        """Prune, fine-tune, convert and measure a point.

        Raises:
            EdgeRecError: it cannot be made, for example because the scheme refuses the model.
        """
        began = time.monotonic()
        recipe = self._with({**settings(drawn), "report.histories": HISTORIES}, effort)
        # Named for what is made, so that a trial that was interrupted goes on where it was.
        name = fingerprint(recipe.model_dump(mode="json"))
        if name in self._known:  # the part of the epochs that it was to have is all of them
            return self._known[name]
        folder = self.workspace.folder / "sweep" / "trials" / name
        stages = PIPELINES[recipe.kind](Workspace(recipe, folder, self._quiet))
        assert isinstance(stages, Stages)
        self._share(stages)
        shipped = stages.bundles[-1]
        manifest = Bundle.read(shipped.bundle).manifest
        evaluation = Evaluation.load(shipped.folder, self.dataset.items)
        drop, ends = ndcg_drop(self.reference, evaluation)
        measured = Measured(
            bytes=manifest["flatbuffer_bytes"],
            vocabulary=shipped.bundle.stat().st_size - manifest["flatbuffer_bytes"],
            ndcg=float(evaluation.ndcg(10).mean()),
            drop=drop,
            drop_ci=ends,
            ms=self._latency(shipped.bundle) if self._timed else None,
            seconds=time.monotonic() - began,
        )
        shutil.rmtree(folder)
        self._known[name] = measured
        return measured

    def _with(self, changed: Mapping[str, Any], effort: float) -> Recipe:
        document = self._recipe.model_dump(mode="json", exclude_defaults=True)
        overrides = [f"{key}={json.dumps(value)}" for key, value in changed.items()]
        recipe = check_recipe(document, overrides)
        epochs = {
            f"{section}.epochs": max(1, math.ceil(effort * getattr(recipe, section).epochs))
            for section in ("prune", "quantize")
            if hasattr(recipe, section)
        }
        if hasattr(recipe, "quantize") and recipe.quantize.scheme is None:
            del epochs["quantize.epochs"]  # has no effect
        checked = check_recipe(document, [*overrides, *(f"{key}={value}" for key, value in epochs.items())])
        assert isinstance(checked, Recipe)
        return checked

    def _share(self, stages: Stages) -> None:
        """Let a trial read the data set and the trained model of the run, and whatever else is the same for both and
        is not measured, such as what the teacher predicts.
        """
        of_run = {stage.name: stage for stage in _before(self._base.bundles[-1])}
        self._base.trained.made()
        for stage in _before(stages.bundles[-1]):
            same = of_run.get(stage.name)
            if same is None:
                continue
            if same in (self._base.prepared, self._base.trained):
                # Also where the trial counts other neighbours: that is done after fine-tuning, again.
                stage.made_from = same.made_from
            elif isinstance(stage, ModelStage | Convert | Measure) or stage.key != same.key:
                continue
            stage.workspace = self.workspace
        stages.prepared.dataset = self.dataset

    def _latency(self, bundle: Path) -> float:
        ids = ["", *self.dataset.item_table["item_id"]]
        targets = self.dataset.targets("test").sample(HISTORIES, seed=0)
        histories = [[ids[row] for row in history] for history in targets.histories]
        return float(bench(bundle, histories)["recommend_ms"]["p50"])


def _before(stage: Stage) -> Iterator[Stage]:
    """All stages that a stage is made from, those that are made first before the others."""
    for other in stage.inputs:
        yield from _before(other)
        yield other
