"""The pipelines: which stages a kind of recipe has, in the order in which data flows."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

import device_runner
from edgerec.artifact import stamp_of, sweep, write_file
from edgerec.data.dataset import Dataset
from edgerec.progress import Progress
from edgerec.recipe import RankingRecipe, Recipe, dump_recipe
from edgerec.recipe.distill import OWN
from edgerec.report.build import pages_of, render_plots, write_report
from edgerec.stages.convert import Convert, ExportedModel
from edgerec.stages.convert_ranking import ConvertRanking, ExportedRanker
from edgerec.stages.item_attributes import ItemAttributes
from edgerec.stages.measure import Measure
from edgerec.stages.measure_ranking import MeasureRanking
from edgerec.stages.new_items import NewItems
from edgerec.stages.prepare import Prepare
from edgerec.stages.prepare_ranking import PrepareRanking
from edgerec.stages.prune import Prune
from edgerec.stages.quantize import Quantize
from edgerec.stages.retrieve import Retrieve
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.teach import Teach
from edgerec.stages.train import ModelStage, Train
from edgerec.stages.train_ranking import PruneRanking, RankingStage, TrainRanking
from edgerec.stages.wrapped_ranking import ClusterRanking, QuantizeRanking

# The float32 bundle of the model before pruning, kept to show the effect of pruning.
UNPRUNED = "unpruned-float32"


@dataclass(frozen=True)
class Stages:
    """The stages of a recipe. ``pruned`` is ``trained`` where pruning is off, and ``quantized`` is ``pruned`` without
    quantization-aware fine-tuning; the last of ``bundles`` ships.
    """

    prepared: Prepare
    new_items: NewItems
    attributes: ItemAttributes
    trained: ModelStage
    pruned: ModelStage
    quantized: ModelStage
    bundles: list[Convert]
    measured: Measure

    def check(self) -> None:
        """Look at what is only needed at the end, before anything is trained.

        Raises:
            DataError: a table cannot be used.
        """
        self.new_items.check()
        self.attributes.check()


def retrieval(workspace: Workspace) -> Stages:
    """From a table of interactions to bundles that recommend the next item."""
    recipe = workspace.recipe
    assert isinstance(recipe, Recipe)
    prepared = Prepare(workspace)
    other = Teach(workspace, prepared) if recipe.distill.teacher not in (None, OWN) else None
    trained = Train(workspace, prepared, other)
    teach = Teach(workspace, prepared, trained) if recipe.distill.teacher == OWN else other
    pruned = Prune(workspace, prepared, trained, teach) if recipe.prune.enabled else trained
    quantized = Quantize(workspace, prepared, pruned, teach) if recipe.quantize.scheme else pruned
    new = NewItems(workspace, prepared)
    attributes = ItemAttributes(workspace, prepared, new)
    exported = ExportedModel(workspace, prepared, quantized, new, attributes)
    bundles = [Convert(exported, scheme, scheme) for scheme in recipe.convert.schemes]
    if quantized is not trained:
        bundles.insert(0, Convert(ExportedModel(workspace, prepared, trained, new, attributes), UNPRUNED, "float32"))
    models = list(dict.fromkeys([trained, pruned, quantized]))
    measured = Measure(workspace, prepared, models, bundles, None if other is None else other.evaluated)
    return Stages(prepared, new, attributes, trained, pruned, quantized, bundles, measured)


@dataclass(frozen=True)
class RankingStages:
    """The stages of a ranking recipe. Of ``pruned``, ``clustered`` and ``quantized`` a stage that is off is the one
    before it; the last of ``bundles`` ships.
    """

    prepared: PrepareRanking
    trained: RankingStage
    pruned: RankingStage
    clustered: RankingStage
    quantized: RankingStage
    bundles: list[ConvertRanking]
    measured: MeasureRanking

    def check(self) -> None:
        """Look at what is only needed later, before anything is prepared.

        Raises:
            EdgeRecError: the retrieval bundle cannot be read.
        """
        if isinstance(self.trained.prepared, Retrieve):
            self.trained.prepared.check()


def ranking(workspace: Workspace) -> RankingStages:
    """From tables of users, items and labelled interactions to bundles that score candidates."""
    recipe = workspace.recipe
    assert isinstance(recipe, RankingRecipe)
    prepared = PrepareRanking(workspace)
    rows = Retrieve(workspace, prepared) if recipe.model.retrieval else prepared
    trained = TrainRanking(workspace, rows)
    pruned = PruneRanking(workspace, rows, trained) if recipe.prune.enabled else trained
    clustered = ClusterRanking(workspace, rows, pruned) if recipe.cluster.clusters else pruned
    quantized = QuantizeRanking(workspace, rows, clustered) if recipe.quantize.scheme else clustered
    exported = ExportedRanker(workspace, rows, quantized)
    bundles = [ConvertRanking(exported, scheme, scheme) for scheme in recipe.convert.schemes]
    if quantized is not trained:
        bundles.insert(0, ConvertRanking(ExportedRanker(workspace, rows, trained), UNPRUNED, "float32"))
    models = list(dict.fromkeys([trained, pruned, clustered, quantized]))
    measured = MeasureRanking(workspace, rows, models, bundles)
    return RankingStages(prepared, trained, pruned, clustered, quantized, bundles, measured)


PIPELINES: dict[str, Callable[[Workspace], Stages | RankingStages]] = {"retrieval": retrieval, "ranking": ranking}


class Run:
    """A recipe and the folder of its artifacts. What is asked for is made on demand, and nothing is made twice.

    The folder gets ``dataset/``, ``trained/``, ``pruned/``, one folder per bundle under ``bundles/``, ``measured/``,
    then ``report.json``, ``report.html`` and ``MODEL_CARD.md`` with ``curves.svg``; ``logs/`` is for TensorBoard.
    """

    def __init__(self, recipe: Recipe | RankingRecipe, folder: Path, progress: Progress, force: bool = False) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        self.stages = PIPELINES[recipe.kind](Workspace(recipe, folder, progress, force))

    @property
    def dataset(self) -> Dataset:
        """The prepared data set."""
        return self.stages.prepared.dataset

    @property
    def trained(self) -> Path:
        """Folder of the trained Keras model."""
        return self.stages.trained.made()

    @property
    def pruned(self) -> Path:
        """Folder of the pruned Keras model; the trained one when pruning is off."""
        return self.stages.pruned.made()

    @property
    def bundles(self) -> dict[str, Path]:
        """The bundle files by variant, the one that ships last."""
        self.stages.check()
        return {stage.variant: stage.bundle for stage in self.stages.bundles}

    @property
    def bundle(self) -> Path:
        """The file that ships: the bundle of the last scheme."""
        return self.stages.bundles[-1].bundle

    @cached_property
    def report(self) -> dict[str, Any]:
        """The report (schema version 1), written to the folder with its pages if these are missing or out of date."""
        with self.stages.measured.workspace.locked():
            return self._report()

    def _report(self) -> dict[str, Any]:
        self.stages.check()
        for stage in self._ordered():  # also what was removed after it had been measured
            stage.made()
        figures = self.stages.measured.document()
        judged = self.stages.measured.judged(figures)
        report = {"schema": 1, "version": device_runner.__version__, **figures, **judged}
        if self._is_written(report):
            self.progress.say("everything is up to date")
        else:
            write_report(report, self.folder)
        write_file(self.folder / "recipe.json", dump_recipe(self.recipe) + "\n")
        self._remove_leftovers()
        return report

    @property
    def variants(self) -> pd.DataFrame:
        """One row for each model and bundle of the report: its file, bytes, quality, fidelity and latency (ms)."""
        return pd.json_normalize([_flat(variant) for variant in self.report["variants"]]).set_index("name")

    @property
    def baselines(self) -> pd.DataFrame:
        """One row for each baseline of the report: its quality."""
        return pd.json_normalize([_flat(baseline) for baseline in self.report["baselines"]]).set_index("name")

    @property
    def plots(self) -> dict[str, str]:
        """The plots of the report by name, as SVG text."""
        return render_plots(self.report)

    def plan(self) -> list[tuple[str, str]]:
        """The stages in order with the reason why each would be made, ``""`` if it is current. Makes nothing."""
        return [(stage.name, stage.reason()) for stage in self._ordered()]

    def _ordered(self) -> list[Stage]:
        """All stages that the report needs, each after its inputs."""
        ordered: dict[Stage, None] = {}

        def visit(stage: Stage) -> None:
            for before in stage.inputs:
                visit(before)
            ordered[stage] = None

        visit(self.stages.measured)
        return list(ordered)

    def _is_written(self, report: dict[str, Any]) -> bool:
        try:
            written = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(written == report) and all((self.folder / name).is_file() for name in pages_of(report))

    def _remove_leftovers(self) -> None:
        """Remove bundles of schemes that the recipe no longer has, and what killed processes left."""
        names = {stage.variant for stage in self.stages.bundles}
        for folder in (self.folder / "bundles").iterdir():
            if folder.name not in names and stamp_of(folder):  # nothing but what a stage has made
                self.progress.say(f"removing {folder}: the recipe no longer has it")
                shutil.rmtree(folder)
        sweep(self.folder)
        sweep(self.folder / "bundles")


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the report without the parts that do not fit into a table."""
    return {name: value for name, value in entry.items() if name not in ("slices", "runtimes", "measured_on")}
