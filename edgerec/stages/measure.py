"""Models, bundles and baselines -> figures side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import device_runner
from device_runner import Recommender
from device_runner.bench import bench
from device_runner.ranking import overlap
from edgerec.artifact import write_file
from edgerec.baselines import baselines_for
from edgerec.data.dataset import Targets
from edgerec.data.user_feature_rows import users_of
from edgerec.evaluation.lists import list_figures
from edgerec.evaluation.ranking import Evaluation, drop_figures, evaluate
from edgerec.evaluation.slices import by_slice
from edgerec.evaluation.verdict import verdict
from edgerec.stages.convert import Convert
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.train import NETWORK, ModelStage

# Names of the Keras models in the report, in the order of the stages that make them.
KERAS = ("keras", "keras-pruned")
# The trained network without the other parts of the score.
ALONE = "keras-network-alone"


class Measure(Stage):
    """Measures everything that the report shows.

    Args:
        models: the Keras models, the trained one first: it is the reference for fidelity.
        bundles: the files, the one that ships last.
    """

    name = "measured"

    def __init__(
        self, workspace: Workspace, prepared: Prepare, models: Sequence[ModelStage], bundles: Sequence[Convert]
    ) -> None:
        super().__init__(workspace)
        self.inputs = [prepared, *models, *bundles]
        self._prepared, self._models, self._bundles = prepared, models, bundles

    def settings(self) -> Any:
        return {"edgerec": device_runner.__version__, "report": self.recipe.report.model_dump()}

    def document(self) -> dict[str, Any]:
        """The report without its gate, measured first if need be."""
        return dict(json.loads((self.made() / "figures.json").read_text()))

    def make(self, into: Path) -> None:
        self.workspace.progress.say("measuring")
        dataset = self._prepared.dataset
        targets = dataset.targets("test")
        baselines = {
            name: evaluate(fit(dataset).score, targets, dataset) for name, fit in baselines_for(dataset).items()
        }
        shipped = self._bundles[-1]
        document = {
            "dataset": {
                **{name: dataset.info[name] for name in ("name", "users", "items", "interactions", "split")},
                "split_fingerprint": dataset.split_fingerprint,
                "test_targets": len(targets),
                "exclude_seen": dataset.exclude_seen,
            },
            "model": self.recipe.model.model_dump(),
            "training": {stage.name: stage.log() for stage in self._models},
            "baselines": [
                {"name": name, **self._quality(evaluation, targets, None)} for name, evaluation in baselines.items()
            ],
            "variants": self._variants(targets),
            "verdict": verdict(shipped.variant, Evaluation.load(shipped.folder, dataset.items), baselines).as_dict(),
            "examples": self._examples(targets),
        }
        write_file(into / "figures.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def _variants(self, targets: Targets) -> list[dict[str, Any]]:
        items = self._prepared.dataset.items
        reference = Evaluation.load(self._models[0].folder, items)
        histories = self._histories(targets)
        known = [(stage.folder, _keras_variant(name, stage)) for name, stage in zip(KERAS, self._models, strict=False)]
        alone = self._models[0].folder / NETWORK
        if alone.is_dir():
            known.insert(1, (alone, _keras_variant(ALONE, self._models[0])))
        known += [(stage.folder, self._bundle_variant(stage, histories)) for stage in self._bundles]
        variants = []
        for folder, variant in known:
            evaluation = Evaluation.load(folder, items)
            fidelity = {**_fidelity(reference, evaluation), **variant["fidelity"]}
            variants.append({**variant, **self._quality(evaluation, targets, reference), "fidelity": fidelity})
        return variants

    def _quality(self, evaluation: Evaluation, targets: Targets, reference: Evaluation | None) -> dict[str, Any]:
        dataset = self._prepared.dataset
        return {
            "quality": evaluation.quality(),
            "lists": list_figures(evaluation, targets, dataset),
            "slices": by_slice(evaluation, targets, dataset, reference),
        }

    def _histories(self, targets: Targets) -> list[list[str]]:
        """Real histories of raw ids, for latency."""
        ids = np.array(["", *self._prepared.dataset.item_table["item_id"]], dtype=object)
        return [list(ids[rows]) for rows in targets.sample(self.recipe.report.histories, seed=0).histories]

    def _bundle_variant(self, stage: Convert, histories: list[list[str]]) -> dict[str, Any]:
        """The report's entry of a file, without its evaluation."""
        measured = json.loads((stage.folder / "measured.json").read_text())
        times = bench(stage.bundle, histories)
        agreement = measured["runtime_overlap@10"]
        return {
            "name": stage.variant,
            "file": str(stage.bundle.relative_to(self.workspace.folder)),
            "scheme": times["scheme"],
            "bytes": measured["bytes"],
            "parts": measured["parts"],
            "fidelity": {} if agreement is None else {"runtime_overlap@10": agreement},
            "latency_ms": times["recommend_ms"],
            "invoke_ms": times["invoke_ms"],
            "cold_start_ms": times["cold_start_ms"],
            "peak_rss_mb": times["peak_rss_mb"],
            "measured_on": {"backend": times["backend"], "threads": times["threads"], **times["device"]},
            "runtimes": measured["runtimes"],
            "verified_histories": measured["verified_histories"],
        }

    def _examples(self, targets: Targets) -> list[dict[str, Any]]:
        """The newest events of some users, and what the file that ships recommends to them."""
        dataset = self._prepared.dataset
        ids = ["", *dataset.item_table["item_id"]]
        titles = ["", *dataset.item_table["title"]] if "title" in dataset.item_table else ids
        recommender = Recommender.load(self._bundles[-1].bundle)
        sample = targets.sample(self.recipe.report.examples, seed=1)
        known = users_of(recommender.bundle.user_features, dataset.user_table.iloc[sample.users])
        examples = []
        for user, history, features in zip(sample.users, sample.histories, known, strict=True):
            items = [ids[row] for row in history]
            found = recommender.recommend(items, exclude_history=dataset.exclude_seen, user=features)
            examples.append(
                {
                    "user": dataset.user_ids[user],
                    "history": [{"item": ids[row], "title": titles[row]} for row in history[-10:]],
                    "recommendations": [vars(entry) for entry in found],
                }
            )
        return examples


def _keras_variant(name: str, stage: ModelStage) -> dict[str, Any]:
    """The report's entry of a Keras model, without its evaluation."""
    sparsity = stage.log()["sparsity"]["total"]
    return {"name": name, "file": None, "scheme": "keras", "fidelity": {}, "sparsity": sparsity}


def _fidelity(reference: Evaluation, evaluation: Evaluation) -> dict[str, Any]:
    return {"overlap@10": overlap(reference.top, evaluation.top), **drop_figures(reference, evaluation)}
