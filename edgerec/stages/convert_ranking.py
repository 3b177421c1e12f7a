"""Ranking model -> quantized, verified bundle, measured through the device runtime."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import device_runner
from converters.bundle_writer import with_facts
from converters.convert import Converted, Vocabulary, check_convertible
from converters.convert_ranking import bundle_ranking_flatbuffer
from converters.sizes import bundle_sizes
from device_runner import Ranker
from device_runner.backends import installed_backends
from edgerec.artifact import scratch_folder, without_nan, write_file
from edgerec.data.labelled_rows import LabelledRows, labelled_rows
from edgerec.data.sources.tables import resolve_tables
from edgerec.evaluation.scored_rows import ScoredRows
from edgerec.rankers.on_device import score_rows
from edgerec.rankers.row_inputs import RowInputs
from edgerec.rankers.serving import ServedRanker, ranking_features
from edgerec.report.ranking import render_ranking_bundle_card
from edgerec.stages.exported import Exported
from edgerec.stages.prepare_ranking import RankingRows
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.train_ranking import RankingStage

# Requests of training rows on which the ranges of activations are measured.
CALIBRATION = 100


class ExportedRanker(Exported):
    """One ranking model as it is exported, which the stages of all schemes share."""

    def __init__(self, workspace: Workspace, prepared: RankingRows, made: RankingStage) -> None:
        super().__init__()
        self.workspace, self.prepared, self.made = workspace, prepared, made

    @cached_property
    def servable(self) -> ServedRanker:
        """The model with its signature."""
        return ServedRanker(self.made.model, self.made.ranking_recipe.convert.candidates)

    @cached_property
    def rows(self) -> RowInputs:
        """Makes the inputs of test rows."""
        return self.made.model.row_inputs(self.prepared.dataset, self.made.known)

    @property
    def bits(self) -> Mapping[str, int]:
        return self.made.ranking_recipe.convert.bits

    @property
    def calibration(self) -> Mapping[str, np.ndarray]:
        """Requests of training rows, with candidates that are items of training rows, or were retrieved for them."""
        recipe = self.made.ranking_recipe
        if retrieved := self.prepared.retrieved:
            return self.lists(retrieved.rows("train").sample(CALIBRATION, seed=0))
        rows = labelled_rows(self.prepared.dataset, recipe.task, ("train",), recipe.train.seed)
        return self.requests(rows.sample(CALIBRATION, seed=0), rows.items)

    def requests(self, sample: LabelledRows, pool: np.ndarray) -> dict[str, np.ndarray]:
        """Requests of the users, moments and histories of rows, each with the row's item and random others as
        candidates: each input of the signature by name, [groups, …].

        Args:
            pool: item rows that candidates are drawn from, int [m].
        """
        rng = np.random.default_rng(0)
        return _stacked([self._candidates(sample, number, pool, rng) for number in range(sample.groups)])

    def lists(self, rows: LabelledRows) -> dict[str, np.ndarray]:
        """Requests of the groups of rows, whose items are the candidates."""
        rows = rows.resized(self.servable.contract.candidates)
        return _stacked([self.rows.of(rows.subset(np.array([number]))) for number in range(rows.groups)])

    def _candidates(
        self, sample: LabelledRows, number: int, pool: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        first, size = number * sample.group, self.servable.contract.candidates
        items = np.resize(rng.permutation(pool), size).astype(np.int32)
        items[items == sample.items[first]] = items[0]
        items[0] = sample.items[first]
        same = np.repeat(np.array([first]), size)
        request = LabelledRows(sample.events[same], sample.users[same], items, np.zeros(size, np.float32), group=size)
        return self.rows.of(request)


class ConvertRanking(Stage):
    """One bundle: a ranking model by a scheme."""

    def __init__(self, exports: ExportedRanker, variant: str, scheme: str) -> None:
        super().__init__(exports.workspace)
        self.name = f"bundles/{variant}"
        self.inputs = [exports.prepared, exports.made]
        self.variant, self.scheme = variant, scheme
        self._exports, self._prepared = exports, exports.prepared
        exports.stages.append(self)

    def settings(self) -> Any:
        recipe = self.ranking_recipe
        return {
            "scheme": self.scheme,
            "convert": recipe.convert.model_dump(exclude={"schemes"}),
            "report": {"histories": recipe.report.histories},
            "runtimes": installed_backends(),
        }

    @property
    def bundle(self) -> Path:
        """The bundle file, made first if need be."""
        return self.made() / self._file_name

    @property
    def _file_name(self) -> str:
        return f"{self.ranking_recipe.data.name}-{self.variant}.tflite"

    def make(self, into: Path) -> None:
        recipe, servable = self.ranking_recipe, self._exports.servable
        check_convertible(servable, self.scheme)
        self.workspace.progress.say(f"converting {self.variant}")
        features = ranking_features(servable.model, self._exports.rows.items)
        cases = self._cases()
        with scratch_folder(self.workspace.folder) as scratch:
            converted = bundle_ranking_flatbuffer(
                self._exports.flatbuffer(self.scheme, scratch), servable, self.scheme, recipe.data.name,
                self._vocabulary(), features, cases, self._facts(), scratch,
            )  # fmt: skip
        path = into / self._file_name
        path.write_bytes(converted.content)
        measured = self._measure(path, converted, cases, into)
        card = render_ranking_bundle_card(
            name=recipe.data.name, scheme=self.scheme, version=device_runner.__version__,
            model=recipe.model.model_dump(), contract=servable.contract.to_json(), dataset=self._prepared.dataset.info,
            label=recipe.task.kind, features=features.described, quality=measured["quality"],
            rows=len(self._prepared.test_rows), cases=len(cases["item"]),
            runtimes={name: v.to_json() for name, v in converted.verified.items() if v.passed},
        )  # fmt: skip
        path.write_bytes(with_facts(path, {"quality": measured["quality"]}, card))
        measured["bytes"] = bundle_sizes(path, servable.tables)
        write_file(into / "measured.json", json.dumps(measured, indent=2) + "\n")

    def _vocabulary(self) -> Vocabulary:
        table = self._prepared.dataset.item_table
        titled = "title" in table and self.ranking_recipe.convert.titles
        return Vocabulary(list(table["item_id"]), list(table["title"].fillna("")) if titled else None)

    def _facts(self) -> dict[str, Any]:
        dataset, recipe = self._prepared.dataset, self.ranking_recipe
        return {
            "dataset": {
                "name": dataset.name,
                "split_fingerprint": dataset.split_fingerprint,
                "item_column": resolve_tables(recipe.data).columns.item,
            },
            "edgerec": device_runner.__version__,
            "label": recipe.task.kind,
        }

    def _cases(self) -> dict[str, np.ndarray]:
        """Real requests that the file is verified on: users, moments and histories of test rows, each with the row's
        item and random others as candidates; or, with a retrieval model, of lists of validation that it retrieved.
        """
        count = self.ranking_recipe.report.histories
        if retrieved := self._prepared.retrieved:
            return self._exports.lists(retrieved.rows("lists").sample(count, seed=0))
        sample = self._prepared.test_rows.sample(count, seed=0)
        return self._exports.requests(sample, np.arange(self._prepared.dataset.items + 1))

    def _measure(self, path: Path, converted: Converted, cases: dict[str, np.ndarray], into: Path) -> dict[str, Any]:
        """Quality of the bundle on all test rows, through the runtime that ``load`` would choose."""
        rows, ranker = self._prepared.test_rows, Ranker.load(path)
        with self.workspace.progress.steps(f"test {self.variant} on {ranker.backend}", len(rows)) as bar:
            scores = score_rows(ranker, self._exports.rows, rows, bar.advance)
        evaluation = ScoredRows.of(self.ranking_recipe.task.kind, rows, scores)
        evaluation.save(into)
        ranker.close()
        return {
            "quality": without_nan(evaluation.quality()),
            "evaluated_on": ranker.backend,
            "runtimes": {name: verification.to_json() for name, verification in converted.verified.items()},
            "verified_requests": len(cases["item"]),
        }


def _stacked(requests: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([request[name] for request in requests]) for name in requests[0]}
