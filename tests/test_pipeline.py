import json
from pathlib import Path

import numpy as np
import pytest
from conftest import small_recipe

from converters import convert as conversion
from converters.schemes import SCHEMES
from converters.sizes import bundle_sizes
from converters.verify import verify
from device_runner import Bundle, Recommender
from edgerec.errors import DataError, GateError
from edgerec.evaluation.device import check_split, evaluate_bundle
from edgerec.pipeline import UNPRUNED, Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe
from edgerec.recommenders import SequenceRecommender


def report_of(run: Run) -> dict:
    return json.loads((run.folder / "report.json").read_text())


def test_the_report_holds_what_its_schema_promises(small_run: Run) -> None:
    report = report_of(small_run)
    assert report["schema"] == 1
    assert {"name", "users", "items", "interactions", "split_fingerprint"} <= set(report["dataset"])
    assert [b["name"] for b in report["baselines"]] == ["popularity", "recent-popularity", "markov", "windowed-counts"]
    assert [v["name"] for v in report["variants"]] == [
        "keras", "keras-pruned", UNPRUNED, "float32", "float16", "int8",
    ]  # fmt: skip
    for variant in report["variants"]:
        assert {"ndcg@10", "hr@10", "mrr", "coverage@10"} <= set(variant["quality"])
        assert {"popularity_lift", "novelty", "diversity"} == set(variant["lists"])
        for rows in variant["slices"].values():
            assert sum(row["targets"] for row in rows) == report["dataset"]["test_targets"]
        assert {"overlap@10", "ndcg_drop", "ndcg_drop_ci"} <= set(variant["fidelity"])
        if variant["file"]:
            assert {"total", "item_table", "network", "vocabulary", "compressed"} == set(variant["bytes"])
            assert {"p50", "p90", "p99"} <= set(variant["latency_ms"])
            assert {"import", "load", "first"} == set(variant["cold_start_ms"])
            assert all(outcome["passed"] for outcome in variant["runtimes"].values())
            assert (small_run.folder / variant["file"]).stat().st_size == variant["bytes"]["total"]


def test_every_file_agrees_with_keras_on_both_runtimes(small_run: Run) -> None:
    for variant in report_of(small_run)["variants"][3:]:
        least = SCHEMES[variant["scheme"]].min_overlap
        assert [r["overlap@10"] >= least for r in variant["runtimes"].values()] == [True, True]
        assert variant["fidelity"]["runtime_overlap@10"] >= (0.999 if variant["scheme"] != "int8" else 0.9)


def test_the_tied_item_table_is_stored_once(small_run: Run) -> None:
    cells = (small_run.dataset.items + 1) * 16
    for scheme, width in (("float32", 4), ("float16", 2), ("int8", 1)):
        sizes = bundle_sizes(small_run.bundles[scheme], 16)
        assert sizes["item_table"] == cells * width
        assert sizes["total"] == sizes["item_table"] + sizes["network"] + sizes["vocabulary"]


def test_a_bundles_quality_is_measured_through_the_device_runtime(small_run: Run) -> None:
    path = small_run.bundles["int8"]
    targets = small_run.dataset.targets("test")
    result = evaluate_bundle(Recommender.load(path), targets, small_run.dataset)
    assert result.quality() == pytest.approx(Bundle.read(path).manifest["quality"])
    saved = Evaluation.load(path.parent, small_run.dataset.items)
    assert np.array_equal(saved.top, result.top)
    assert np.array_equal(saved.ranks, result.ranks)


def test_running_again_does_nothing(small_run: Run, purchases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.stat().st_mtime_ns for p in small_run.folder.rglob("*") if p.is_file() and p.name != "recipe.json"}
    for stage in ("prepare", "train", "convert", "bench", "evaluate"):
        monkeypatch.setattr(f"edgerec.pipeline.{stage}", lambda *_, **__: pytest.fail("done again"))
    Run(small_recipe(purchases), small_run.folder, Progress()).report
    after = {p: p.stat().st_mtime_ns for p in small_run.folder.rglob("*") if p.is_file() and p.name != "recipe.json"}
    assert after == before


def test_a_model_of_another_split_is_not_evaluated(small_run: Run, purchases: Path, tmp_path: Path) -> None:
    other = Run(small_recipe(purchases, data={"min_item_users": 9}), tmp_path, Progress()).dataset
    with pytest.raises(DataError, match="figures of different splits cannot be compared"):
        evaluate_bundle(Recommender.load(small_run.bundles["int8"]), other.targets("test"), other)
    with pytest.raises(DataError, match="made from split"):
        check_split(small_run.trained, SequenceRecommender.load(small_run.trained).split_fingerprint, other)


@pytest.mark.slow
def test_where_repeats_are_kept_the_bundle_recommends_what_it_was_measured_on(purchases: Path, tmp_path: Path) -> None:
    """A data set with repeated purchases: seen items may come back, in the evaluation and by default on the device."""
    recipe = small_recipe(
        purchases,
        data={"repeats": "all"},
        model={"encoder": "mean"},
        train={"epochs": 1},
        prune={"enabled": False},
        convert={"schemes": ["float32"]},
    )
    run = Run(recipe, tmp_path, Progress())
    loaded = Recommender.load(run.bundles["float32"])
    targets = run.dataset.targets("test")
    history = [loaded.bundle.items[row] for row in targets.histories[0]]
    shown = [loaded.rows([entry.item])[0] for entry in loaded.recommend(history)]
    assert shown == Evaluation.load(run.bundles["float32"].parent, run.dataset.items).top[0].tolist()
    assert set(history) & {entry.item for entry in loaded.recommend(history, k=1000)}
    assert not set(history) & {entry.item for entry in loaded.recommend(history, k=1000, exclude_history=True)}


def test_too_little_to_train_on_is_told_before_any_training(tmp_path: Path) -> None:
    rows = "".join(f"u{user},i{item},{item}\n" for user in range(9) for item in range(3))
    (tmp_path / "t.csv").write_text("user_id,item_id,t\n" + rows)
    recipe = Recipe.model_validate({"data": {"path": str(tmp_path / "t.csv"), "columns": {"time": "t"}}})
    with pytest.raises(DataError, match=r"nothing to train on.*four or more events"):
        _ = Run(recipe, tmp_path / "run", Progress()).trained


def test_a_gate_that_is_not_met_names_what_fell_short(
    small_run: Run, purchases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerec.pipeline.train", lambda *_, **__: pytest.fail("trained again"))
    gate = {"max_bytes": 1000, "min_overlap": 0.1}
    kept = (small_run.folder / "report.json").read_bytes(), (small_run.folder / "report.html").read_bytes()
    with pytest.raises(GateError, match=r"int8: bytes is \d+, at most 1000 is asked$"):
        Run.check_gate(Run(small_recipe(purchases, gate=gate), small_run.folder, Progress()).report)
    (small_run.folder / "report.json").write_bytes(kept[0])
    (small_run.folder / "report.html").write_bytes(kept[1])


def test_the_page_is_self_contained(small_run: Run) -> None:
    page = (small_run.folder / "report.html").read_text()
    assert page.count("<svg") == 4
    for outside in ('src="', "url(http", "<link", "<script", 'href="http'):
        assert outside not in page
    for variant in report_of(small_run)["variants"]:
        assert variant["name"] in page


def test_verification_refuses_a_file_of_another_model(small_run: Run) -> None:
    """A file whose scores are not the model's, as a broken kernel would give, claims no runtime."""
    histories = np.zeros((20, 20), np.int32)
    histories[:, -1] = np.arange(1, 21)
    other = SequenceRecommender(small_run.recipe.model, small_run.dataset.items)
    outcome = verify(small_run.bundles["float32"], "float32", histories, other.score(list(histories)))
    assert [v.passed for v in outcome.values()] == [False, False]
    assert all("overlap with Keras" in v.reason for v in outcome.values())


def test_a_runtime_that_crashes_is_reported_and_takes_no_one_along(
    small_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import os; os.kill(os.getpid(), 11)"
    monkeypatch.setattr("converters.process.sys.executable", "python3")
    monkeypatch.setattr("converters.verify.run_module", lambda *_: conversion.run_module("timeit", program))
    histories = np.ones((1, 20), np.int32)
    outcome = verify(small_run.bundles["int8"], "int8", histories, np.zeros((1, small_run.dataset.items + 1)))
    assert {v.reason for v in outcome.values()} == {"the process was killed by signal 11"}
