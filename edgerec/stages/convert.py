"""Recommender -> quantized, verified bundle, measured through the device runtime."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import device_runner
from converters.bundle_writer import with_facts
from converters.convert import Converted, Vocabulary, bundle_flatbuffer, check_convertible
from converters.sizes import bundle_sizes
from converters.verify import Verification
from device_runner import Recommender
from device_runner.backends import installed_backends
from device_runner.contract import Retrieval
from device_runner.ranking import overlap
from edgerec.artifact import scratch_folder, write_file
from edgerec.data.item_counts import read_item_counts
from edgerec.data.sources.places import File
from edgerec.data.sources.tables import resolve_tables
from edgerec.errors import DataError
from edgerec.evaluation.device import evaluate_bundle
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.recommenders.prior import Prior
from edgerec.recommenders.recommender import left_pad
from edgerec.recommenders.serving import ServedRecommender
from edgerec.report.build import part_words, render_bundle_card
from edgerec.stages.exported import Exported
from edgerec.stages.item_attributes import ItemAttributes
from edgerec.stages.new_items import NewItems
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Stage, Workspace
from edgerec.stages.train import ModelStage


class ExportedModel(Exported):
    """One model as it is exported: the servable and its flatbuffers, which the stages of all schemes share."""

    def __init__(
        self, workspace: Workspace, prepared: Prepare, model: ModelStage, new: NewItems, attributes: ItemAttributes
    ) -> None:
        super().__init__()
        self.workspace, self.prepared, self.model, self.new = workspace, prepared, model, new
        self.attributes = attributes

    @cached_property
    def servable(self) -> ServedRecommender:
        """The model with item features folded into its table and new items behind the others."""
        new = self.new.table
        vectors = None if new is None else self.model.recommender.new_item_vectors(new)
        recommender = self.model.recommender.folded(vectors, self._parts())
        convert, length = self.workspace.retrieval.convert, recommender.architecture.max_history
        contract = Retrieval(
            max_history=length,
            max_exclude=convert.max_exclude or 4 * length,
            top_k=min(convert.top_k, recommender.items),
            items=recommender.items,
            state=(recommender.state_size or 0) if convert.state and recommender.parts.network else 0,
            recent=recommender.parts.recent,
            neighbours=recommender.parts.neighbours,
        )
        return ServedRecommender(recommender, contract)

    def _parts(self) -> Parts:
        """The parts of the model that ``convert.parts`` names, with the prior by ``convert.prior``."""
        convert, own = self.workspace.retrieval.convert, self.model.recommender.parts
        prior = own.prior
        if convert.prior is not None:
            if prior is None:
                raise DataError(
                    "convert.prior: the model has no prior that it could replace: model.prior is off, or validation "
                    "found no use for one"
                )
            dataset, say = self.prepared.dataset, self.workspace.progress.say
            new = [] if self.new.table is None else list(self.new.table["item_id"])
            counts = read_item_counts(Path(convert.prior), [*dataset.item_table["item_id"], *new], say)
            prior = Prior.of_counts(counts, prior.strength, None, from_file=True)
        parts = Parts(
            transitions=own.transitions if "transitions" in convert.parts else None,
            prior=prior if "prior" in convert.parts else None,
            network="network" in convert.parts,
        )
        if not (parts.network or parts.transitions or parts.prior):
            raise DataError(
                f"convert.parts: the model has none of {', '.join(convert.parts)}, so no score would be left"
            )
        return parts

    @property
    def bits(self) -> Mapping[str, int]:
        return self.workspace.retrieval.convert.bits


class Convert(Stage):
    """One bundle: a model by a scheme.

    Args:
        variant: name of the bundle in reports and file names.
    """

    def __init__(self, exports: ExportedModel, variant: str, scheme: str) -> None:
        super().__init__(exports.workspace)
        self.name = f"bundles/{variant}"
        self.inputs = [exports.prepared, exports.model]
        self.variant, self.scheme = variant, scheme
        self._exports, self._prepared, self._new = exports, exports.prepared, exports.new
        exports.stages.append(self)

    def settings(self) -> Any:
        return {
            "scheme": self.scheme,
            "convert": self.recipe.convert.model_dump(exclude={"schemes", "new_items", "prior"}),
            "report": {"histories": self.recipe.report.histories},
            "runtimes": installed_backends(),
            "new_items": self._new.fingerprint(),
            "prior": None if (prior := self.recipe.convert.prior) is None else File(Path(prior)).fingerprint(),
        }

    @property
    def bundle(self) -> Path:
        """The bundle file, made first if need be."""
        return self.made() / self._file_name

    @property
    def _file_name(self) -> str:
        return f"{self.recipe.data.name}-{self.variant}.tflite"

    def make(self, into: Path) -> None:
        servable = self._exports.servable
        check_convertible(servable, self.scheme)
        self.workspace.progress.say(f"converting {self.variant}")
        inputs = self._sample(servable.recommender)
        with scratch_folder(self.workspace.folder) as scratch:
            converted = bundle_flatbuffer(
                self._exports.flatbuffer(self.scheme, scratch), servable, self.scheme, self.recipe.data.name,
                self._vocabulary(), inputs, self._facts(servable.recommender), scratch,
            )  # fmt: skip
        path = into / self._file_name
        path.write_bytes(converted.content)
        measured = self._measure(path, converted, into)
        measured["parts"] = servable.recommender.parts.facts()
        card = self._card(servable, converted, measured, len(inputs))
        path.write_bytes(with_facts(path, {"quality": measured["quality"]}, card))
        measured["bytes"] = bundle_sizes(path, servable.tables)
        write_file(into / "measured.json", json.dumps(measured, indent=2) + "\n")

    def _card(self, servable: ServedRecommender, converted: Converted, measured: dict[str, Any], histories: int) -> str:
        """The ``MODEL_CARD.md`` inside the bundle."""
        dataset = self._prepared.dataset
        return render_bundle_card(
            name=self.recipe.data.name,
            scheme=self.scheme,
            version=device_runner.__version__,
            architecture=servable.recommender.architecture.to_json(),
            contract=servable.contract.to_json(),
            parts=[
                *(["the network"] if servable.recommender.parts.network else []),
                *part_words(servable.recommender.parts.facts()),
            ],
            user_features=[feature.name for feature in servable.recommender.user_features],
            dataset=dataset.info,
            targets=len(dataset.targets("test")),
            exclude_seen=dataset.exclude_seen,
            quality=measured["quality"],
            histories=histories,
            runtimes={name: v.to_json() for name, v in converted.verified.items() if v.passed},
        )

    def _vocabulary(self) -> Vocabulary:
        tables = [self._prepared.dataset.item_table, *([] if self._new.table is None else [self._new.table])]
        table = pd.concat(tables) if len(tables) > 1 else tables[0]
        titled = "title" in table and self.recipe.convert.titles
        titles = list(table["title"].fillna("")) if titled else None
        return Vocabulary(list(table["item_id"]), titles, self._exports.attributes.columns)

    def _sample(self, recommender: SequenceRecommender) -> np.ndarray:
        """Real histories that the file is verified on, int32 [n, L], left-padded; some end with a new item."""
        dataset = self._prepared.dataset
        targets = dataset.targets("test").sample(self.recipe.report.histories, seed=0)
        length = recommender.architecture.max_history
        padded = left_pad(recommender.inputs_of(targets, dataset), length)
        padded = np.pad(padded, ((0, 0), (length - padded.shape[1], 0)))
        if self._new.table is not None:
            ends = padded[::10, -1]
            ends[:] = dataset.items + 1 + np.arange(len(ends)) % len(self._new.table)
        return padded

    def _facts(self, recommender: SequenceRecommender) -> dict[str, Any]:
        """Entries of the manifest, in addition to those that conversion writes."""
        dataset = self._prepared.dataset
        facts: dict[str, Any] = {
            "dataset": {
                "name": dataset.name,
                "split_fingerprint": dataset.split_fingerprint,
                "item_column": resolve_tables(self.recipe.data).columns.item,
            },
            "edgerec": device_runner.__version__,
            "exclude_history": dataset.exclude_seen,
        }
        if self.recipe.convert.release:
            facts["release"] = self.recipe.convert.release
        if recommender.user_features:
            facts["user_features"] = [asdict(feature) for feature in recommender.user_features]
        if self._new.table is not None:
            facts["new_items"] = len(self._new.table)
        return facts

    def _measure(self, path: Path, converted: Converted, into: Path) -> dict[str, Any]:
        """Quality of the bundle on all test targets, through the runtime that ``load`` would choose."""
        dataset = self._prepared.dataset
        targets = dataset.targets("test")
        recommender = Recommender.load(path)
        with self.workspace.progress.steps(f"test {self.variant} on {recommender.backend}", len(targets)) as bar:
            evaluation = evaluate_bundle(recommender, targets, dataset, bar.advance)
        evaluation.save(into)
        if self._new.table is not None:
            share = float((converted.expected["top"] > dataset.items).mean())
            new = len(self._new.table)
            self.workspace.progress.say(f"{new:,} new items take {share:.1%} of the places in top-10 lists")
        return {
            "quality": evaluation.quality(),
            "evaluated_on": recommender.backend,
            "runtimes": {name: verification.to_json() for name, verification in converted.verified.items()},
            "verified_histories": min(self.recipe.report.histories, len(targets)),
            "runtime_overlap@10": _runtime_overlap(list(converted.verified.values())),
        }


def _runtime_overlap(verified: list[Verification]) -> float | None:
    """Mean top-10 overlap of the first two runtimes that passed; ``None`` with fewer."""
    passed = [verification.outputs["top"] for verification in verified if verification.passed]
    return overlap(passed[0], passed[1]) if len(passed) > 1 else None
