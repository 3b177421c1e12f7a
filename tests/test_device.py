import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_runner import BackendError, Bundle, BundleError, HistoryError, Recommender
from device_runner.backends import installed_backends
from device_runner.bench import bench
from edgerec.pipeline import Run


@pytest.fixture(scope="module")
def recommender(bundle: Path) -> Recommender:
    return Recommender.load(bundle)


@pytest.fixture(scope="module")
def history(small_run: Run) -> list[str]:
    """A real household's history."""
    ids = ["", *small_run.dataset.item_table["item_id"]]
    return [ids[row] for row in small_run.dataset.targets("test").histories[0]]


def test_both_runtimes_are_tested() -> None:
    assert list(installed_backends()) == ["litert", "tflite-runtime"]


def test_it_recommends_k_unseen_items_best_first(recommender: Recommender, history: list[str]) -> None:
    found = recommender.recommend(history, k=7)
    assert len({r.item for r in found} - set(history)) == 7
    assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)
    assert (found.source, found.unknown) == ("model", 0)
    assert all(r.title for r in found)


def test_seen_items_can_come_back_when_asked(recommender: Recommender, history: list[str]) -> None:
    everything = recommender.recommend(history, k=10_000, exclude_history=False)
    assert {r.item for r in everything} == set(recommender.bundle.items[1:])


def test_exclusions_are_backfilled(recommender: Recommender, history: list[str]) -> None:
    first = [r.item for r in recommender.recommend(history, k=6)]
    second = [r.item for r in recommender.recommend(history, k=3, exclude=first[:3])]
    assert second == first[3:]


def test_k_and_exclusions_beyond_the_graph_give_the_same_order(recommender: Recommender, history: list[str]) -> None:
    contract = recommender.bundle.contract
    short = recommender.recommend(history, k=contract.top_k)
    long = recommender.recommend(history, k=contract.top_k + 5)
    assert list(long[: contract.top_k]) == list(short)
    popular = recommender.bundle.items[1 : contract.max_exclude + 30]
    banned = set(popular) | set(history)
    assert not banned & {r.item for r in recommender.recommend(history, k=10, exclude=popular)}


def test_unknown_ids_are_skipped_and_counted(recommender: Recommender, history: list[str]) -> None:
    found = recommender.recommend([*history[:3], "no such item", *history[3:], ""])
    assert found.unknown == 2
    assert list(found) == list(recommender.recommend(history))


@pytest.mark.parametrize("empty", [[], ["no such item"]])
def test_without_a_known_event_the_most_popular_come(recommender: Recommender, empty: list[str]) -> None:
    found = recommender.recommend(empty, k=4, exclude=[recommender.bundle.items[2]])
    assert [r.item for r in found] == [recommender.bundle.items[row] for row in (1, 3, 4, 5)]
    assert found.source == "popularity"
    assert found.unknown == len(empty)


def test_when_everything_is_excluded_the_list_is_empty(recommender: Recommender, history: list[str]) -> None:
    assert recommender.recommend(history, exclude=recommender.bundle.items) == []
    assert recommender.recommend([], exclude=recommender.bundle.items) == []


def test_only_the_newest_events_are_read(recommender: Recommender) -> None:
    items = recommender.bundle.items[1:60]
    length = recommender.bundle.contract.max_history
    a = recommender.item_scores(recommender.rows(items))
    b = recommender.item_scores(recommender.rows(items[-length:]))
    assert np.array_equal(a, b)


def test_k_below_one_is_refused(recommender: Recommender) -> None:
    with pytest.raises(ValueError, match="at least one"):
        recommender.recommend([], k=0)


# A process of its own: tflite-runtime refuses every file in a process that has loaded tensorflow or litert.
GOLDEN_PROGRAM = """
import json, sys
from device_runner import Recommender
recommender = Recommender.load(sys.argv[1], sys.argv[2])
out = [recommender.recommend_rows(case["history"], case["exclude"], 10) for case in recommender.bundle.golden()]
print(json.dumps([{"ids": ids.tolist(), "scores": scores.tolist()} for ids, scores in out]))
"""


@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_golden_vectors_hold_on_every_runtime(small_run: Run, scheme: str, backend: str) -> None:
    path = small_run.bundles[scheme]
    done = subprocess.run([sys.executable, "-c", GOLDEN_PROGRAM, path, backend], capture_output=True, check=True)
    outcome = json.loads(done.stdout)
    cases = Bundle.read(path).golden()
    assert len(cases) == len(outcome) == 5
    for case, found in zip(cases, outcome, strict=True):
        expected = dict(zip(case["ids"], case["scores"], strict=True))
        common = [(s, expected[i]) for i, s in zip(found["ids"], found["scores"], strict=True) if i in expected]
        assert len(common) >= (10 if scheme == "float32" else 9)
        tolerance = (0.001 if scheme == "float32" else 1) * case["tolerance"] * max(abs(s) for s in case["scores"])
        assert all(score == pytest.approx(other, abs=tolerance) for score, other in common)


def test_an_absent_or_unknown_backend_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="unknown backend 'onnx'"):
        Recommender.load(bundle, "onnx")
    monkeypatch.setattr("device_runner.backends.installed_backends", lambda: {"litert": "2"})
    with pytest.raises(BackendError, match="pip install tflite-runtime"):
        Recommender.load(bundle, "tflite-runtime")
    monkeypatch.setattr("device_runner.backends.installed_backends", dict)
    with pytest.raises(BackendError, match="no TFLite runtime is installed"):
        Recommender.load(bundle)


def test_a_flatbuffer_that_the_runtime_cannot_read_is_told(bundle: Path, tmp_path: Path) -> None:
    from converters.bundle_writer import bundle_bytes

    good = Bundle.read(bundle)
    broken = tmp_path / "broken.tflite"
    head = bundle.read_bytes()[:8]
    facts = {"runtimes": good.runtimes}
    broken.write_bytes(bundle_bytes(head + bytes(500), "x", "int8", good.contract, good.items[1:], facts=facts))
    with pytest.raises((BackendError, BundleError), match=r"broken\.tflite"):
        Recommender.load(broken)


def test_bench_refuses_histories_that_never_reach_the_model(bundle: Path) -> None:
    with pytest.raises(HistoryError, match="no history has an item of the catalogue"):
        bench(bundle, [["unknown"], []])


def test_bench_measures_the_call_the_invoke_and_a_cold_start(bundle: Path, history: list[str]) -> None:
    result = json.loads(json.dumps(bench(bundle, [history, history[:5]], runs=50)))
    for times in (result["recommend_ms"], result["invoke_ms"]):
        assert 0 < times["p50"] <= times["p90"] <= times["p95"] <= times["p99"]
    assert result["recommend_ms"]["p50"] >= result["invoke_ms"]["p50"] * 0.8
    assert all(result["cold_start_ms"][part] > 0 for part in ("import", "load", "first"))
    assert 10 < result["peak_rss_mb"] < 400
    assert set(result["device"]["before"]) == {"governor", "clock_mhz", "temperature_c", "load_1min"}
