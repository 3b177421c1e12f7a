"""The pipeline: each stage an artifact in the run's folder, made only when missing or out of date."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tf_keras as keras

import device_runner
from converters.bundle_writer import with_facts
from converters.convert import Converted, Vocabulary, convert
from converters.serving import save_serving_model
from converters.sizes import bundle_sizes
from converters.verify import Verification, top_rows_excluding
from device_runner import Recommender
from device_runner.backends import installed_backends
from device_runner.bench import bench
from device_runner.bundle import Contract
from device_runner.ranking import overlap
from edgerec.artifact import file_fingerprint, fingerprint, is_current, new_folder, write_file
from edgerec.baselines import BASELINES
from edgerec.cluster import Workers, loss_of_workers
from edgerec.data.dataset import Dataset, Targets
from edgerec.data.features import chosen_features
from edgerec.data.new_items import read_new_items
from edgerec.data.prepare import prepare
from edgerec.data.source import source_fingerprint
from edgerec.data.user_features import users_of
from edgerec.errors import ClusterError, DataError, GateError
from edgerec.evaluation.device import evaluate_bundle
from edgerec.evaluation.lists import list_figures
from edgerec.evaluation.ranking import Evaluation, evaluate, evaluate_model, ndcg_drop
from edgerec.evaluation.slices import by_slice
from edgerec.progress import Progress
from edgerec.pruning.magnitude import MagnitudePruner, sparsity
from edgerec.recipe import Recipe, dump_recipe
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.recommender import left_pad
from edgerec.report.build import PAGES, write_report
from edgerec.training import batches_of, train

# The float bundle of the model before pruning, made to show what pruning changes.
UNPRUNED = "unpruned-float32"
# Names of the Keras models in the report: the trained one, and the pruned one if there is one.
KERAS = ("keras", "keras-pruned")


@dataclass(frozen=True)
class Run:
    """A recipe and the folder of its artifacts.

    ``dataset/``, ``trained/``, ``pruned/`` and one folder a bundle under ``bundles/``, then ``report.json``,
    ``report.html`` and the card; ``logs/`` is for TensorBoard. Every method makes what it needs first.
    """

    recipe: Recipe
    folder: Path
    progress: Progress

    @cached_property
    def dataset(self) -> Dataset:
        folder = self.folder / "dataset"
        if not is_current(folder, self._dataset_key):
            prepare(self.recipe, folder, self._dataset_key, self.progress.say)
        dataset = Dataset.load(folder)
        missing = [part for part in ("validation", "test") if not len(dataset.targets(part))]
        if missing or max(map(len, dataset.training_histories())) < 2:
            need = (
                "users with four or more events (two to train on, one to validate, one to test)"
                if self.recipe.split.kind == "leave-one-out"
                else "users with two or more events before the cuts, and some with events before and after each"
            )
            raise DataError(
                f"{dataset.name}: nothing to {' and '.join(missing or ['train on'])}: a "
                f"{self.recipe.split.kind} split needs {need}"
            )
        return dataset

    @cached_property
    def trained(self) -> Path:
        """Folder of the trained Keras model."""
        folder = self.folder / "trained"
        if not is_current(folder, self._trained_key):
            if self.recipe.train.strategy == "multiworker":
                with loss_of_workers():
                    self._train(folder, Workers.join(self.progress.say))
            else:
                self._train(folder, Workers.alone())
        return folder

    @cached_property
    def pruned(self) -> Path:
        """Folder of the pruned Keras model; the trained one when pruning is off."""
        if not self.recipe.prune.enabled:
            return self.trained
        folder = self.folder / "pruned"
        if not is_current(folder, self._pruned_key):
            recommender = SequenceRecommender.load(self.trained).folded()
            self._fit(recommender, folder, self._pruned_key, "prune", Workers.alone())
        return folder

    @cached_property
    def new_items(self) -> pd.DataFrame | None:
        """The items that are appended to what is exported, if any."""
        path = self.recipe.convert.new_items
        if path is None:
            return None
        known = list(self.dataset.item_table["item_id"])
        features = chosen_features(self.recipe.model.item_features, self.dataset.features("items"), "item")
        new = read_new_items(self.recipe.data, path, known, features, self.progress.say)
        return None if new.empty else new

    @cached_property
    def new_vectors(self) -> np.ndarray | None:
        """Their vectors, float32 [M, d]: the pruned model has no features any more, so the trained one tells."""
        new = self.new_items
        return None if new is None else SequenceRecommender.load(self.trained).new_item_vectors(new)

    @cached_property
    def bundles(self) -> dict[str, Path]:
        """The bundle files by variant: every scheme of the recipe, and the unpruned model in float32."""
        appended = None if self.new_items is None else file_fingerprint(Path(str(self.recipe.convert.new_items)))
        variants: dict[str, tuple[str, Path, str]] = {
            scheme: (scheme, self.pruned, self._pruned_key) for scheme in self.recipe.convert.schemes
        }
        if self.recipe.prune.enabled:
            variants = {UNPRUNED: ("float32", self.trained, self._trained_key), **variants}
        made = {}
        for variant, (scheme, model, model_key) in variants.items():
            folder = self.folder / "bundles" / variant
            key = fingerprint(
                [model_key, scheme, self.recipe.convert.model_dump(exclude={"schemes"}), self.recipe.report.histories,
                 installed_backends(), appended]
            )  # fmt: skip
            if not is_current(folder, key):
                self._convert(scheme, model, variant, folder, key)
            made[variant] = folder / self._bundle_name(variant)
        return made

    def report(self) -> dict[str, Any]:
        """Write ``report.json``, ``report.html``, and ``MODEL_CARD.md`` with ``curves.svg``; return the report."""
        path = self.folder / "report.json"
        bundles = self.bundles
        hashes = [hashlib.sha256(bundle.read_bytes()).hexdigest() for bundle in bundles.values()]
        key = fingerprint(
            [hashes, device_runner.__version__, self.recipe.report.model_dump(), self.recipe.gate.model_dump()]
        )
        old = json.loads(path.read_text()) if path.is_file() else {}
        if old.get("made_from") == key and all((self.folder / name).is_file() for name in PAGES):
            report = old
            self.progress.say("everything is up to date")
        else:
            report = {"schema": 1, "version": device_runner.__version__, "made_from": key, **self._measure(bundles)}
            write_report(report, self.folder)
        write_file(self.folder / "recipe.json", dump_recipe(self.recipe) + "\n")
        return dict(report)

    @staticmethod
    def check_gate(report: dict[str, Any]) -> None:
        """Raise ``GateError`` when the last scheme's file falls short of ``[gate]``."""
        if report["gate"]["failed"]:
            raise GateError("gate not met: " + "; ".join(report["gate"]["failed"]))

    @cached_property
    def _dataset_key(self) -> str:
        data = self.recipe.data
        return fingerprint(
            [device_runner.__version__, data.model_dump(), self.recipe.split.model_dump(), source_fingerprint(data)]
        )

    @cached_property
    def _trained_key(self) -> str:
        # One worker or several: the result is the same.
        train = self.recipe.train.model_dump(exclude={"strategy"})
        return fingerprint([self._dataset_key, self.recipe.model.model_dump(), train])

    @cached_property
    def _pruned_key(self) -> str:
        if not self.recipe.prune.enabled:
            return self._trained_key
        return fingerprint([self._trained_key, self.recipe.prune.model_dump()])

    def _bundle_name(self, variant: str) -> str:
        return f"{self.recipe.data.name}-{variant}.tflite"

    def _train(self, folder: Path, workers: Workers) -> None:
        workers.agree(self._trained_key, "recipe and tables must be the same for all workers")
        if workers.is_chief:
            _ = self.dataset  # the others read what it has prepared
        workers.wait()
        if not is_current(self.folder / "dataset", self._dataset_key):
            raise ClusterError(f"{self.folder}: the chief wrote no data set here; all must share the folder --out")
        dataset = self.dataset
        keras.utils.set_random_seed(self.recipe.train.seed)
        with workers.strategy.scope():
            recommender = SequenceRecommender.of_dataset(self.recipe.model, dataset)
        self._fit(recommender, folder, self._trained_key, "train", workers)
        workers.wait()

    def _fit(self, recommender: SequenceRecommender, folder: Path, key: str, title: str, workers: Workers) -> None:
        config = self.recipe.train
        pruner = None
        if title == "prune":
            prune = self.recipe.prune
            config = config.model_copy(
                update={"epochs": prune.epochs, "patience": prune.epochs, "learning_rate": prune.learning_rate}
            )
            pruner = MagnitudePruner(recommender, prune, len(batches_of(recommender, self.dataset, config)(1)))
        # Named for what is trained: another recipe in the same folder does not go on from these.
        checkpoints = self.folder / "checkpoints" / f"{title}-{key}"
        logs = self.folder / "logs" / title
        log = train(recommender, self.dataset, config, checkpoints, logs, self.progress, title, pruner, workers)
        if not workers.is_chief:
            return
        with new_folder(folder, key) as new:
            recommender.save(new)
            log["sparsity"] = sparsity(recommender)
            targets = self.dataset.targets("test")
            with self.progress.steps(f"test {title}ed model", len(targets)) as bar:
                save_evaluation(new, evaluate_model(recommender, targets, self.dataset, bar.advance))
            write_file(new / "training.json", json.dumps(log, indent=2) + "\n")
        shutil.rmtree(checkpoints)

    def _convert(self, scheme: str, model: Path, variant: str, folder: Path, key: str) -> None:
        self.progress.say(f"converting {variant}")
        dataset, recommender = self.dataset, SequenceRecommender.load(model).folded(self.new_vectors)
        appended = self.new_items
        table = dataset.item_table if appended is None else pd.concat([dataset.item_table, appended])
        contract = Contract(
            max_history=recommender.config.max_history,
            max_exclude=self.recipe.convert.max_exclude or 4 * recommender.config.max_history,
            top_k=min(self.recipe.convert.top_k, recommender.items),
            items=recommender.items,
            state=recommender.state_size or 0,
        )
        targets = dataset.targets("test")
        sample = targets.sample(self.recipe.report.histories, seed=0)
        padded = left_pad(recommender.read(sample, dataset), contract.max_history)
        padded = np.pad(padded, ((0, 0), (contract.max_history - padded.shape[1], 0)))
        if appended is not None:  # some histories end with one of them
            ends = padded[::10, -1]
            ends[:] = dataset.items + 1 + np.arange(len(ends)) % len(appended)
        vocabulary = Vocabulary(list(table["item_id"]), list(table["title"].fillna("")) if "title" in table else None)
        with new_folder(folder, key) as new:
            saved_model = new / "saved_model"
            save_serving_model(recommender, contract, saved_model)
            facts: dict[str, Any] = {
                "dataset": {"name": dataset.name, "split_fingerprint": dataset.split_fingerprint},
                "edgerec": device_runner.__version__,
                "exclude_history": dataset.exclude_seen,
            }
            if recommender.user_features:
                facts["user_features"] = [asdict(feature) for feature in recommender.user_features]
            if appended is not None:
                facts["new_items"] = len(appended)
            reference = recommender.score(list(padded))
            if appended is not None:
                share = float((top_rows_excluding(reference, padded) > dataset.items).mean())
                self.progress.say(f"{len(appended):,} new items take {share:.1%} of the places of top-10 lists")
            converted = convert(
                saved_model, scheme, contract, self.recipe.data.name, vocabulary, padded, reference, facts
            )
            path = new / self._bundle_name(variant)
            path.write_bytes(converted.content)
            measured = self._evaluate_bundle(path, targets, converted, variant, new)
            path.write_bytes(with_facts(path, {"quality": measured["quality"]}))
            measured["bytes"] = bundle_sizes(path, recommender.config.dim)
            write_file(new / "measured.json", json.dumps(measured, indent=2) + "\n")
            shutil.rmtree(saved_model)

    def _evaluate_bundle(
        self, path: Path, targets: Targets, converted: Converted, variant: str, folder: Path
    ) -> dict[str, Any]:
        """Quality of a bundle on the whole test set, through the runtime that ``load`` would choose."""
        recommender = Recommender.load(path)
        with self.progress.steps(f"test {variant} on {recommender.backend}", len(targets)) as bar:
            evaluation = evaluate_bundle(recommender, targets, self.dataset, bar.advance)
        save_evaluation(folder, evaluation)
        return {
            "quality": evaluation.quality(),
            "evaluated_on": recommender.backend,
            "runtimes": {name: _outcome(v) for name, v in converted.verified.items()},
            "verified_histories": min(self.recipe.report.histories, len(targets)),
            "runtime_overlap@10": _runtime_overlap(converted.verified),
        }

    def _measure(self, bundles: dict[str, Path]) -> dict[str, Any]:
        """The report's content but for schema and key."""
        dataset = self.dataset
        targets = dataset.targets("test")
        self.progress.say("measuring")
        baselines = {name: evaluate(fit(dataset).score, targets, dataset) for name, fit in BASELINES.items()}
        reference = load_evaluation(self.trained, dataset.items)
        ids = np.array(["", *dataset.item_table["item_id"]], dtype=object)
        histories = [list(ids[h]) for h in targets.sample(self.recipe.report.histories, seed=0).histories]
        stages = dict.fromkeys([self.trained, self.pruned])
        measured = [(folder, _keras_variant(name, folder)) for name, folder in zip(KERAS, stages, strict=False)]
        measured += [(path.parent, self._bundle_variant(name, path, histories)) for name, path in bundles.items()]
        for folder, variant in measured:
            evaluation = load_evaluation(folder, dataset.items)
            variant["quality"] = evaluation.quality()
            variant["fidelity"] = {**_fidelity(reference, evaluation), **variant["fidelity"]}
            variant["lists"] = list_figures(evaluation, targets, dataset)
            variant["slices"] = by_slice(evaluation, targets, dataset, reference)
        variants = [variant for _, variant in measured]
        return {
            "dataset": {
                **{k: dataset.info[k] for k in ("name", "users", "items", "interactions", "split")},
                "split_fingerprint": dataset.split_fingerprint,
                "test_targets": len(targets),
                "exclude_seen": dataset.exclude_seen,
            },
            "model": self.recipe.model.model_dump(),
            "training": {stage.name: json.loads((stage / "training.json").read_text()) for stage in stages},
            "baselines": [
                {
                    "name": name,
                    "quality": evaluation.quality(),
                    "lists": list_figures(evaluation, targets, dataset),
                    "slices": by_slice(evaluation, targets, dataset),
                }
                for name, evaluation in baselines.items()
            ],
            "variants": variants,
            "examples": self._examples(bundles, targets),
            "gate": self._gate(variants[-1]),
        }

    def _bundle_variant(self, variant: str, path: Path, histories: list[list[str]]) -> dict[str, Any]:
        """What is known of a file beside its evaluation."""
        measured = json.loads((path.parent / "measured.json").read_text())
        times = bench(path, histories)
        agreement = measured["runtime_overlap@10"]
        return {
            "name": variant,
            "file": str(path.relative_to(self.folder)),
            "scheme": times["scheme"],
            "bytes": measured["bytes"],
            "fidelity": {} if agreement is None else {"runtime_overlap@10": agreement},
            "latency_ms": times["recommend_ms"],
            "invoke_ms": times["invoke_ms"],
            "cold_start_ms": times["cold_start_ms"],
            "peak_rss_mb": times["peak_rss_mb"],
            "measured_on": {"backend": times["backend"], "threads": times["threads"], **times["device"]},
            "runtimes": measured["runtimes"],
            "verified_histories": measured["verified_histories"],
        }

    def _examples(self, bundles: dict[str, Path], targets: Targets) -> list[dict[str, Any]]:
        """What some users get from the last bundle, with the newest of their history, for people to look at."""
        table = self.dataset.item_table
        ids = ["", *table["item_id"]]
        titles = ["", *table["title"]] if "title" in table else ids
        users = self.dataset.user_ids
        recommender = Recommender.load(list(bundles.values())[-1])
        sample = targets.sample(self.recipe.report.examples, seed=1)
        examples = []
        told = users_of(recommender.bundle.user_features, self.dataset.user_table.iloc[sample.users])
        for user, history, known in zip(sample.users, sample.histories, told, strict=True):
            items = [ids[row] for row in history]
            found = recommender.recommend(items, exclude_history=self.dataset.exclude_seen, user=known)
            examples.append(
                {
                    "user": users[user],
                    "history": [{"item": ids[row], "title": titles[row]} for row in history[-10:]],
                    "recommendations": [vars(entry) for entry in found],
                }
            )
        return examples

    def _gate(self, variant: dict[str, Any]) -> dict[str, Any]:
        gate = self.recipe.gate
        fidelity = variant["fidelity"]
        checks = [
            ("NDCG@10 drop", fidelity["ndcg_drop"], gate.max_ndcg_drop, 1),
            ("top-10 overlap", fidelity["overlap@10"], gate.min_overlap, -1),
            ("bytes", variant["bytes"]["total"], gate.max_bytes, 1),
            ("p95 ms", variant["latency_ms"]["p95"], gate.max_p95_ms, 1),
        ]
        failed = [
            f"{variant['name']}: {what} is {value:.6g}, {'at most' if sign > 0 else 'at least'} {limit:g} is asked"
            for what, value, limit, sign in checks
            if limit is not None and sign * value > sign * limit
        ]
        return {"variant": variant["name"], "limits": gate.model_dump(exclude_none=True), "failed": failed}


def _keras_variant(name: str, folder: Path) -> dict[str, Any]:
    """What is known of a Keras model beside its evaluation."""
    log = json.loads((folder / "training.json").read_text())
    return {"name": name, "file": None, "scheme": "keras", "fidelity": {}, "sparsity": log["sparsity"]["total"]}


def save_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Keep ranks and top lists, so that any two artifacts can be compared pair by pair."""
    np.savez_compressed(folder / "evaluation.npz", ranks=evaluation.ranks, top=evaluation.top)


def load_evaluation(folder: Path, items: int) -> Evaluation:
    with np.load(folder / "evaluation.npz") as saved:
        return Evaluation(saved["ranks"], saved["top"], items)


def _fidelity(reference: Evaluation, evaluation: Evaluation) -> dict[str, Any]:
    drop, interval = ndcg_drop(reference, evaluation)
    return {
        "overlap@10": overlap(reference.top, evaluation.top),
        "ndcg_drop": drop,
        "ndcg_drop_ci": list(interval),
    }


def _outcome(verification: Verification) -> dict[str, Any]:
    return {
        "version": verification.version,
        "passed": verification.passed,
        "overlap@10": verification.overlap,
        "max_difference": verification.max_difference if np.isfinite(verification.max_difference) else None,
        "reason": verification.reason,
    }


def _runtime_overlap(verified: dict[str, Verification]) -> float | None:
    """Mean top-10 overlap of the first two runtimes that passed, ``None`` with fewer."""
    passed = [v for v in verified.values() if v.passed]
    return overlap(passed[0].top, passed[1].top) if len(passed) > 1 else None
