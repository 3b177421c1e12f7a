"""Models, bundles and baselines -> figures side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import device_runner
from device_runner import Recommender
from device_runner.bench import bench
from edgerec import gate
from edgerec.artifact import stamp_of, write_file
from edgerec.baselines import baselines_for
from edgerec.data.dataset import Targets
from edgerec.data.user_feature_rows import users_of
from edgerec.evaluation.comparison import MARGIN, check_comparable
from edgerec.evaluation.fidelity import conclude, fidelity
from edgerec.evaluation.lists import list_figures
from edgerec.evaluation.ranking import Evaluation, evaluate
from edgerec.evaluation.slices import by_slice
from edgerec.evaluation.verdict import verdict
from edgerec.stages.convert import Convert
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.steps import float_bytes, step
from edgerec.stages.train import NETWORK, ModelStage

# Raised when the figures get new entries, so that a run that was measured before is measured again.
ENTRIES = 2
# The trained network without the other parts of the score.
ALONE = "keras-network-alone"


class Measure(Stage):
    """Measures everything that the report shows.

    Args:
        models: the Keras models in the order in which they are made from each other, the trained one first: it is the
            reference for fidelity.
        bundles: the files, the one that ships last.
        teacher: folder of the evaluation of the model that was learned from, a second reference for fidelity.
    """

    name = "measured"

    def __init__(
        self,
        workspace: Workspace,
        prepared: Prepare,
        models: Sequence[ModelStage],
        bundles: Sequence[Convert],
        teacher: Path | None = None,
    ) -> None:
        super().__init__(workspace)
        self.inputs = [prepared, *models, *bundles]
        self._prepared, self.models, self._bundles, self._teacher = prepared, models, bundles, teacher

    def settings(self) -> Any:
        settings = {
            "edgerec": device_runner.__version__,
            "entries": ENTRIES,
            "report": self.recipe.report.model_dump(),
        }
        return settings if self._teacher is None else {**settings, "teacher": stamp_of(self._teacher)}

    def document(self) -> dict[str, Any]:
        """The report without its gate, measured first if need be."""
        return dict(json.loads((self.made() / "figures.json").read_text()))

    def judged(self, figures: dict[str, Any]) -> dict[str, Any]:
        """What the recipe's limits say of the figures: the report's entries ``fidelity`` and ``gate``."""
        limits = self.recipe.gate
        kept = fidelity_conclusions(figures, limits.non_inferiority_margin or MARGIN)
        return {"fidelity": kept, "gate": gate.judge(limits, figures["variants"][-1], figures["verdict"]["gain"])}

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
            "training": {stage.name: stage.log() for stage in self.models},
            "baselines": [
                {"name": name, **self._quality(evaluation, targets, None)} for name, evaluation in baselines.items()
            ],
            "variants": self._variants(targets),
            "steps": self._steps(),
            "verdict": verdict(shipped.variant, Evaluation.load(shipped.folder, dataset.items), baselines).as_dict(),
            "examples": self._examples(targets),
        }
        write_file(into / "figures.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def _variants(self, targets: Targets) -> list[dict[str, Any]]:
        items = self._prepared.dataset.items
        reference = Evaluation.load(self.models[0].folder, items)
        teacher = None if self._teacher is None else Evaluation.load(self._teacher, items)
        histories = self._histories(targets)
        known = [(stage.folder, _keras_variant(_keras_name(stage), stage)) for stage in self.models]
        alone = self.models[0].folder / NETWORK
        if alone.is_dir():
            known.insert(1, (alone, _keras_variant(ALONE, self.models[0])))
        known += [(stage.folder, self._bundle_variant(stage, histories)) for stage in self._bundles]
        variants = []
        for folder, variant in known:
            evaluation = Evaluation.load(folder, items)
            figures = {**fidelity(reference, evaluation), **variant["fidelity"]}
            entry = {**variant, **self._quality(evaluation, targets, reference), "fidelity": figures}
            if teacher is not None:
                check_comparable(teacher, evaluation)
                entry["teacher_fidelity"] = fidelity(teacher, evaluation)
            variants.append(entry)
        return variants

    def _steps(self) -> list[dict[str, Any]]:
        """From the trained model to the file that ships, each step against the one before."""
        items, parts = self._prepared.dataset.items, self.recipe.convert.parts
        made = [(stage.name, stage.folder, float_bytes(stage.recommender, parts)) for stage in self.models]
        shipped = self._bundles[-1]
        sizes = json.loads((shipped.folder / "measured.json").read_text())["bytes"]
        left_out = ("total", "compressed", "vocabulary")
        in_model = {part: size for part, size in sizes.items() if part not in left_out}
        made.append((shipped.variant, shipped.folder, in_model))
        steps: list[dict[str, Any]] = []
        before: Evaluation | None = None
        for name, folder, of_parts in made:
            evaluation = Evaluation.load(folder, items)
            steps.append(step(name, of_parts, evaluation, before))
            before = evaluation
        return steps

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
            **speed_and_memory(times, times["recommend_ms"]),
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


def _keras_name(stage: ModelStage) -> str:
    """``keras`` for the trained model, ``keras-pruned`` and so on for those that are made from it."""
    return "keras" if stage.name == "trained" else f"keras-{stage.name}"


def fidelity_conclusions(figures: dict[str, Any], margin: float) -> list[dict[str, Any]]:
    """The report's entry ``fidelity``: for each reference whether the file that ships still ranks like it.

    Args:
        figures: the document of :class:`Measure`.
        margin: relative loss of NDCG@10 that counts as none.
    """
    shipped, reference = figures["variants"][-1], figures["variants"][0]["name"]
    targets = figures["dataset"]["test_targets"]
    found = [conclude(shipped["name"], reference, shipped["fidelity"], targets, margin, shipped["slices"])]
    if "teacher_fidelity" in shipped:
        found.append(conclude(shipped["name"], "the teacher", shipped["teacher_fidelity"], targets, margin))
    return [conclusion.as_dict() for conclusion in found]


def speed_and_memory(times: Mapping[str, Any], calls: Mapping[str, float]) -> dict[str, Any]:
    """The report's entries on the speed and memory of a file on this machine.

    Args:
        times: the document of ``bench`` or ``bench_ranking``.
        calls: percentiles of whole calls in it, ms.
    """
    return {
        "latency_ms": calls,
        "invoke_ms": times["invoke_ms"],
        "cold_start_ms": times["cold_start_ms"],
        "peak_rss_mb": times["peak_rss_mb"],
        "measured_on": {"backend": times["backend"], "threads": times["threads"], **times["device"]},
    }
