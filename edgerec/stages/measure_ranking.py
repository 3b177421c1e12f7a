"""Ranking models, bundles and baselines -> figures side by side."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import device_runner
from device_runner import TwoStage
from device_runner.bench import bench_ranking
from device_runner.bench.measure_ranking import USUAL
from edgerec.artifact import without_nan, write_file
from edgerec.baselines.labels import LabelBaseline, label_baselines, retrieval_alone
from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import Histories, labelled_rows
from edgerec.errors import DataError
from edgerec.evaluation.scored_rows import ScoredRows, by_slice, fidelity, loss
from edgerec.evaluation.two_stage import measure_two_stage
from edgerec.gate import judge_ranking
from edgerec.stages.convert_ranking import ConvertRanking
from edgerec.stages.measure import speed_and_memory
from edgerec.stages.prepare_ranking import RankingRows
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.train_ranking import RankingStage

ENTRIES = 4


class MeasureRanking(Stage):
    """Measures everything that the report of a ranking run shows. The trained model is the reference for fidelity."""

    name = "measured"

    def __init__(
        self,
        workspace: Workspace,
        prepared: RankingRows,
        models: Sequence[RankingStage],
        bundles: Sequence[ConvertRanking],
    ) -> None:
        super().__init__(workspace)
        self.inputs = [prepared, *models, *bundles]
        self._prepared, self.models, self._bundles = prepared, models, bundles

    def settings(self) -> Any:
        return {"edgerec": device_runner.__version__, "entries": ENTRIES}

    def document(self) -> dict[str, Any]:
        """The report without its gate, measured first if need be."""
        return dict(json.loads((self.made() / "figures.json").read_text()))

    def judged(self, figures: dict[str, Any]) -> dict[str, Any]:
        """What the recipe's limits say of the figures: the report's entry ``gate``."""
        return {"gate": judge_ranking(self.ranking_recipe.gate, figures["variants"][-1], figures["gain"])}

    def make(self, into: Path) -> None:
        self.workspace.progress.say("measuring")
        dataset, recipe, rows = self._prepared.dataset, self.ranking_recipe, self._prepared.test_rows
        known, retrieved = self.models[0].known, self._prepared.retrieved
        label = recipe.task.kind
        baselines = {
            name: ScoredRows.of(label, rows, scores()) for name, scores in baselines_of(self._prepared, known).items()
        }
        histories = Histories(dataset, getattr(recipe.model, "max_history", 1), known)
        reference = ScoredRows.load(self.models[0].folder)
        if np.isnan(reference.main_figure()):
            raise DataError("all test rows have one label, so no model can be measured on them; change task or split")
        lists = reference.lists()
        entries: list[tuple[ScoredRows, dict[str, Any]]] = []
        for stage in self.models:
            name = "keras" if stage.name == "trained" else f"keras-{stage.name}"
            facts = {"name": name, "file": None, "scheme": "keras", "sparsity": stage.log()["sparsity"]["total"]}
            entries.append((ScoredRows.load(stage.folder), facts))
        for bundle in self._bundles:
            measured = json.loads((bundle.folder / "measured.json").read_text())
            file = str(bundle.bundle.relative_to(self.workspace.folder))
            kept = {key: measured[key] for key in ("bytes", "runtimes", "verified_requests")}
            facts = {"name": bundle.variant, "file": file, "scheme": bundle.scheme, **kept}
            times = bench_ranking(bundle.bundle)
            facts |= speed_and_memory(times, times["score_ms"][str(USUAL)])
            entries.append((ScoredRows.load(bundle.folder), facts))
        variants = [
            {
                **facts,
                "quality": scored.quality(),
                "interval": list(scored.main_interval()),
                "fidelity": fidelity(reference, scored, lists),
                "slices": by_slice(scored, rows, dataset, histories),
            }
            for scored, facts in entries
        ]
        shipped, main = entries[-1][0], reference.main
        best = (max if main.higher_is_better else min)(baselines, key=lambda name: baselines[name].main_figure())
        lost, (low, high) = loss(baselines[best], shipped)
        document = {
            "kind": "ranking",
            "task": recipe.task.model_dump(),
            "main": main.name,
            "dataset": {
                **{name: dataset.info[name] for name in ("name", "users", "items", "interactions", "split")},
                "split_fingerprint": dataset.split_fingerprint,
                "test_rows": len(rows),
            },
            "model": recipe.model.model_dump(),
            "training": {stage.name: stage.log() for stage in self.models},
            "baselines": [
                {"name": name, "quality": scored.quality(), "interval": list(scored.main_interval())}
                for name, scored in baselines.items()
            ],
            "best_baseline": best,
            "gain": -lost,
            "gain_ci": [-high, -low],
            "variants": variants,
            **({"two_stage": self._two_stage(dataset)} if retrieved else {}),
        }
        write_file(into / "figures.json", json.dumps(without_nan(document), indent=2, ensure_ascii=False) + "\n")

    def _two_stage(self, dataset: Dataset) -> dict[str, Any]:
        """The file that ships behind the retrieval bundle, against that alone."""
        with (
            TwoStage.load(Path(str(self.ranking_recipe.model.retrieval)), self._bundles[-1].bundle) as both,
            self.workspace.progress.steps("two stages", len(dataset.targets("test"))) as bar,
        ):
            return measure_two_stage(both.recommender, both.ranker, dataset, "test", bar.advance)


def baselines_of(prepared: RankingRows, known: tuple[str, ...]) -> dict[str, Callable[[], np.ndarray]]:
    """By name of the baseline, what scores the test rows: float32 [n].

    Args:
        known: the parts that models learn from.
    """
    dataset, recipe, rows = prepared.dataset, prepared.ranking_recipe, prepared.test_rows
    retrieved, sizes = prepared.retrieved, (dataset.users, dataset.items + 1)

    def scores(fit: LabelBaseline) -> np.ndarray:
        train = retrieved.rows("train") if retrieved else labelled_rows(dataset, recipe.task, known, recipe.train.seed)
        return fit(train, rows, sizes)

    found: dict[str, Callable[[], np.ndarray]] = {
        name: partial(scores, fit) for name, fit in label_baselines(recipe.task.kind).items()
    }
    if retrieved:
        # Where all positives and most negatives are retrieved, their share says little of how popular an item is.
        found["positive-share"] = found.pop("popularity")
        found["retrieval"] = lambda: retrieval_alone(retrieved.rows("validation"), rows)
    return found
