import json
from pathlib import Path

import numpy as np
import pytest
from conftest import small_recipe

from converters.schemes import SCHEMES
from converters.servable import Table
from converters.sizes import bundle_sizes
from device_runner import Bundle, Recommender
from edgerec import gate
from edgerec.errors import DataError, GateError
from edgerec.evaluation.device import check_split, evaluate_bundle
from edgerec.evaluation.ranking import Evaluation
from edgerec.pipeline import UNPRUNED, Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe
from edgerec.recipe.gate import Gate
from edgerec.recommenders import SequenceRecommender
from edgerec.stages.convert import Convert
from edgerec.stages.measure import Measure
from edgerec.stages.prepare import Prepare
from edgerec.stages.prune import Prune
from edgerec.stages.stage import Stage
from edgerec.stages.train import Train


def report_of(run: Run) -> dict:
    return json.loads((run.folder / "report.json").read_text())


def test_the_report_holds_what_its_schema_promises(small_run: Run) -> None:
    report = report_of(small_run)
    assert report["schema"] == 1
    assert {"name", "users", "items", "interactions", "split_fingerprint"} <= set(report["dataset"])
    assert [b["name"] for b in report["baselines"]] == ["popularity", "recent-popularity", "markov", "windowed-counts"]
    assert [v["name"] for v in report["variants"]] == [
        "keras", "keras-network-alone", "keras-pruned", UNPRUNED, "float32", "float16", "int8",
    ]  # fmt: skip
    for variant in report["variants"]:
        assert {"ndcg@10", "hr@10", "mrr", "coverage@10"} <= set(variant["quality"])
        assert {"popularity_lift", "novelty", "diversity"} == set(variant["lists"])
        for rows in variant["slices"].values():
            assert sum(row["targets"] for row in rows) == report["dataset"]["test_targets"]
        assert {"overlap@10", "rbo@10", "ndcg_drop", "ndcg_drop_ci"} <= set(variant["fidelity"])
        if variant["file"]:
            parts = {"total", "item_table", "network", "transitions", "vocabulary", "compressed"}
            assert parts == set(variant["bytes"]) - {"prior"}  # validation decides whether there is one
            assert {"p50", "p90", "p99"} <= set(variant["latency_ms"])
            assert {"process", "python", "packages", "import", "load", "first"} == set(variant["cold_start_ms"])
            assert all(outcome["passed"] for outcome in variant["runtimes"].values())
            assert (small_run.folder / variant["file"]).stat().st_size == variant["bytes"]["total"]


def test_every_file_agrees_with_keras_on_both_runtimes(small_run: Run) -> None:
    for variant in report_of(small_run)["variants"][4:]:
        least = SCHEMES[variant["scheme"]].least["overlap@10"]
        assert [r["overlap@10"] >= least for r in variant["runtimes"].values()] == [True, True]
        assert variant["fidelity"]["runtime_overlap@10"] >= (0.999 if variant["scheme"] != "int8" else 0.9)


def test_the_tied_item_table_is_stored_once(small_run: Run) -> None:
    cells = (small_run.dataset.items + 1) * 16
    for scheme, width in (("float32", 4), ("float16", 2), ("int8", 1)):
        sizes = bundle_sizes(small_run.bundles[scheme], [Table("item_table", (small_run.dataset.items + 1, 16))])
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


def again(
    run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch, *made: type[Stage], **sections: object
) -> Run:
    """A run with other settings in the folder of a finished one, where only the stages ``made`` may make anything."""
    for stage in {Prepare, Train, Prune, Convert, Measure} - set(made):
        monkeypatch.setattr(stage, "make", lambda *_: pytest.fail("made again"))
    return Run(small_recipe(purchases, **sections), run_copy, Progress())


def test_running_again_does_nothing(run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.stat().st_mtime_ns for p in run_copy.rglob("*") if p.is_file() and p.name != "recipe.json"}
    assert again(run_copy, purchases, monkeypatch).report
    after = {p: p.stat().st_mtime_ns for p in run_copy.rglob("*") if p.is_file() and p.name != "recipe.json"}
    assert after.keys() - before.keys() <= {run_copy / ".lock"}
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"max_rejected": 0.5}},
        {"data": {"engine": "spark", "spark_master": "local[1]"}},
        {"gate": {"max_bytes": 10_000_000}},
        {"train": {"strategy": "multiworker"}},
    ],
    ids=lambda sections: "-".join(key for section in sections.values() for key in section),
)
def test_settings_that_change_no_result_make_nothing_again(
    run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, dict[str, object]]
) -> None:
    assert again(run_copy, purchases, monkeypatch, **sections).report["gate"]["failed"] == []


def test_the_plan_says_what_would_be_made_and_why(
    run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {reason for _, reason in again(run_copy, purchases, monkeypatch).plan()} == {""}
    plan = dict(again(run_copy, purchases, monkeypatch, prune={"sparsity": 0.25}).plan())
    assert plan["dataset"] == plan["trained"] == plan["bundles/unpruned-float32"] == ""
    assert plan["pruned"] == "prune.sparsity: 0.5 -> 0.25"
    assert plan["bundles/int8"] == "pruned is made again"
    assert dict(again(run_copy / "other", purchases, monkeypatch).plan())["dataset"] == "it is not there"


def test_a_scheme_that_the_recipe_no_longer_has_leaves_no_bundle(
    run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 10, item 23."""
    run = again(run_copy, purchases, monkeypatch, Measure, convert={"schemes": ["int8"]})
    assert [variant["name"] for variant in run.report["variants"]] == [
        "keras", "keras-network-alone", "keras-pruned", UNPRUNED, "int8",
    ]  # fmt: skip
    assert sorted(path.name for path in (run_copy / "bundles").iterdir()) == ["int8", UNPRUNED]


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
    rows = "".join(f"u{user},i{(user + item) % 5},{item}\n" for user in range(9) for item in range(3))
    (tmp_path / "t.csv").write_text("user_id,item_id,t\n" + rows)
    recipe = Recipe.model_validate({"data": {"path": str(tmp_path / "t.csv"), "columns": {"time": "t"}}})
    with pytest.raises(DataError, match=r"nothing to train on.*four or more events"):
        _ = Run(recipe, tmp_path / "run", Progress()).trained


def test_a_gate_that_is_not_met_names_what_fell_short(
    run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = again(run_copy, purchases, monkeypatch, gate={"max_bytes": 1000, "min_overlap": 0.1})
    with pytest.raises(GateError, match=r"gate not met: int8: size is [\d,]+ bytes, above the limit of 1,000 bytes$"):
        gate.check(run.report)


def test_a_limit_on_a_loss_that_cannot_be_measured_is_not_kept() -> None:
    """Issue 10, item 6: the gate passed where the reference had no hit."""
    variant = {
        "name": "int8",
        "fidelity": {"ndcg_drop": None, "overlap@10": 0.9},
        "bytes": {"total": 5},
        "latency_ms": {"p95": 1.0},
    }
    (said,) = gate.judge(Gate(max_ndcg_drop=0.5, max_bytes=6), variant, None)["failed"]
    assert "not measurable" in said
    assert gate.judge(Gate(max_bytes=6), variant, None)["failed"] == []


def test_a_model_that_does_not_beat_the_baselines_can_stop_the_build(
    run_copy: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 10, item 14: only a table row showed that the model loses."""
    run = again(run_copy, purchases, monkeypatch, gate={"min_gain_over_baselines": 10.0})
    verdict = run.report["verdict"]
    assert verdict["baseline"] in {baseline["name"] for baseline in run.report["baselines"]}
    assert verdict["sentence"] in (run_copy / "MODEL_CARD.md").read_text()
    with pytest.raises(GateError, match=r"over the best baseline is [-+][\d.]+%, below the limit of \+1000\.00%"):
        gate.check(run.report)


def test_the_page_is_self_contained(small_run: Run) -> None:
    page = (small_run.folder / "report.html").read_text()
    assert page.count("<svg") == 5
    for outside in ('src="', "url(http", "<link", "<script", 'href="http'):
        assert outside not in page
    for variant in report_of(small_run)["variants"]:
        assert variant["name"] in page


QUICK = {
    "model": {"encoder": "mean", "dim": 4, "max_history": 5},
    "train": {"epochs": 1},
    "prune": {"enabled": False},
    "convert": {"schemes": ["float32", "int8"]},
    "report": {"histories": 20},
}


@pytest.mark.slow
@pytest.mark.parametrize("items", [2, 5])
def test_catalogues_smaller_than_a_list_go_all_the_way(tmp_path: Path, items: int) -> None:
    """Issue 10, item 33: conversion failed with "no runtime gives the Keras model's results"."""
    rows = "".join(f"u{user},i{(user + t) % items},{t}\n" for user in range(30) for t in range(6))
    (tmp_path / "t.csv").write_text("user_id,item_id,t\n" + rows)
    data = {"path": str(tmp_path / "t.csv"), "columns": {"time": "t"}, "repeats": "all"}
    run = Run(Recipe.model_validate({"data": data, **QUICK}), tmp_path / "run", Progress())
    report = run.report
    assert report["dataset"]["items"] == items
    for variant in (v for v in report["variants"] if v["file"]):
        assert all(outcome["passed"] for outcome in variant["runtimes"].values())
    assert len(Recommender.load(run.bundle).recommend(["i0"], exclude_history=False)) == items


@pytest.mark.slow
def test_the_last_basket_is_held_out_whole(purchases: Path, tmp_path: Path) -> None:
    """Issue 10, item 16: where products of a basket share its time, one of them was held out by the file's order."""
    run = Run(small_recipe(purchases, split={"kind": "last-basket"}, **QUICK), tmp_path, Progress())
    report = run.report
    targets = run.dataset.targets("test")
    assert targets.baskets is not None and np.mean([len(basket) for basket in targets.baskets]) > 2
    quality = report["variants"][-1]["quality"]
    assert 0 <= quality["recall@10"] <= quality["hr@10"] <= 1
    evaluation = Evaluation.load(run.bundle.parent, run.dataset.items)
    assert evaluation.basket_ranks is not None
    assert quality["recall@10"] == pytest.approx(evaluation.recall(10).mean())
    assert "recall" in (tmp_path / "report.html").read_text().lower()
