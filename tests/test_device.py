"""A bundle on the device: the grocery model of the zoo, and tiny models of random weights."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toys

from converters.bundle_writer import bundle_bytes, with_facts
from device_runner import BackendError, Bundle, BundleError, HistoryError, Recommender
from device_runner.backends import installed_backends
from device_runner.bench import bench, cold_start
from device_runner.contract import Ranking
from device_runner.history import read_history
from device_runner.loaded import LoadedBundle

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.load(MODEL)


@pytest.fixture(scope="module")
def history() -> list[str]:
    return read_history(ROOT / "tests" / "data" / "grocery-history.csv")


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
def test_golden_vectors_hold_on_every_runtime(small_run: Any, scheme: str, backend: str) -> None:
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


def test_an_absent_or_unknown_backend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="unknown backend 'onnx'"):
        Recommender.load(MODEL, "onnx")
    monkeypatch.setattr("device_runner.backends.available_backends", lambda: ["litert"])
    with pytest.raises(BackendError, match="pip install tflite-runtime"):
        Recommender.load(MODEL, "tflite-runtime")
    monkeypatch.setattr("device_runner.backends.available_backends", list)
    with pytest.raises(BackendError, match="no TFLite runtime is installed"):
        Recommender.load(MODEL)


def test_a_flatbuffer_that_the_runtime_cannot_read_is_told(tmp_path: Path) -> None:
    good = Bundle.read(MODEL)
    broken = tmp_path / "broken.tflite"
    head = MODEL.read_bytes()[:8]
    facts = {"runtimes": good.runtimes}
    broken.write_bytes(bundle_bytes(head + bytes(500), "x", "int8", good.contract, good.items[1:], facts=facts))
    with pytest.raises((BackendError, BundleError), match=r"broken\.tflite"):
        Recommender.load(broken)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"source": 3}, TypeError, "source is 3; give the path of a bundle"),
        ({"source": None}, TypeError, "source is None"),
        ({"source": ["a"]}, TypeError, "source is"),
        ({"threads": 0}, ValueError, "threads is 0; it may be from 1"),
        ({"threads": -1}, ValueError, "threads is -1"),
        ({"threads": 10**30}, ValueError, "threads is a very large number"),
        ({"threads": "2"}, TypeError, "threads is '2', not a whole number"),
        ({"threads": True}, TypeError, "threads is True"),
    ],
)
def test_wrong_options_of_loading_are_told(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Recommender.load(**{"source": MODEL, **options})


@pytest.mark.parametrize("user", [3, "age=3", ["age"], 0, ""])
def test_what_is_no_mapping_is_no_user(recommender: Recommender, user: Any) -> None:
    for call in (lambda: recommender.recommend([], user=user), lambda: recommender.score([], [], user)):
        with pytest.raises(TypeError, match=r"user is .*; give values by name"):
            call()


def test_an_iterator_is_a_history(recommender: Recommender, history: list[str]) -> None:
    assert recommender.recommend(iter(history), 5) == recommender.recommend(history, 5)
    assert recommender.recommend(item for item in [*history, "unheard of"]).unknown == 1
    assert recommender.score(iter(history), iter(history[:2])) == recommender.score(history, history[:2])


def test_bench_refuses_histories_that_never_reach_the_model() -> None:
    with pytest.raises(HistoryError, match="no history has an item of the catalogue"):
        bench(MODEL, [["unknown"], []])


def test_bench_measures_the_call_the_invoke_and_a_cold_start(history: list[str]) -> None:
    result = json.loads(json.dumps(bench(MODEL, [history, history[:5]], runs=50)))
    for times in (result["recommend_ms"], result["invoke_ms"]):
        assert 0 < times["p50"] <= times["p90"] <= times["p95"] <= times["p99"]
    assert result["recommend_ms"]["p50"] >= result["invoke_ms"]["p50"] * 0.8
    assert all(result["cold_start_ms"][part] > 0 for part in ("import", "load", "first"))
    assert 10 < result["peak_rss_mb"] < 400
    assert {"governor", "clock_mhz", "temperature_c", "load_1min"} <= set(result["device"]["before"])


def test_a_cold_start_that_fails_or_takes_too_long_is_told(tmp_path: Path) -> None:
    """Issue 10, item 13."""
    with pytest.raises(BackendError, match=r"litert: the cold start could not be measured: .*no such file"):
        cold_start(tmp_path / "absent.tflite", ["1029743"], "litert", 1)
    with pytest.raises(BackendError, match=r"it had not ended within 0\.01 seconds"):
        cold_start(MODEL, ["1029743"], "litert", 1, time_limit=0.01)


def test_a_recommender_refuses_a_ranking_bundle_in_one_line() -> None:
    with pytest.raises(BundleError, match=r"ranking\.tflite: a ranking model, not a retrieval model$"):
        Recommender.load(toys()["ranking"])


def test_ranking_bundles_load_too() -> None:
    loaded = LoadedBundle.load(toys()["ranking"], Ranking, "litert", 1)
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    scores = loaded.run("score", features=features)["scores"]
    np.testing.assert_allclose(scores, features @ [1.0, -2.0, 0.5], rtol=1e-5)
    with pytest.raises(BundleError, match="a retrieval model, not a ranking model"):
        LoadedBundle.load(MODEL, Ranking, "litert", 1)


OWN_ARRAYS = """
import sys
from device_runner import Recommender
recommender = Recommender.load(sys.argv[1], sys.argv[2])
first = recommender.invoke(recommender.inputs([1, 2, 3]))
copies = {name: value.copy() for name, value in first.items()}
recommender.invoke(recommender.inputs([7, 8]))
print(all((first[name] == copy).all() for name, copy in copies.items()))
"""


@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
def test_outputs_are_not_overwritten_by_the_next_call(backend: str) -> None:
    """Issue 10, item 2: what a lock relies on."""
    path = MODEL if backend == "litert" else toys()["recurrent"]  # the zoo's file is for litert
    command = [sys.executable, "-c", OWN_ARRAYS, path, backend]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"True\n"


def test_the_users_features_keep_their_place_before_a_history_that_is_too_long() -> None:
    recommender = Recommender.load(toys()["told"])
    items = recommender.bundle.items
    person = {"gender": "M", "age": 20}
    given = recommender.input_rows(recommender.rows(items[1:20]), person)
    assert given == [42, 44, 14, 15, 16, 17, 18, 19]
    alone = recommender.recommend([], k=50, user=person)
    assert alone.source == "model"
    assert {r.item for r in alone} == set(items[1:])
    assert recommender.recommend([], user={"gender": "unheard of"}).source == "popularity"
    with pytest.raises(ValueError, match="no user feature colour"):
        recommender.recommend([], user={"colour": "red"})


def test_a_table_that_is_shorter_than_the_vocabulary_is_found_at_load(tmp_path: Path) -> None:
    bundle = Bundle.read(toys()["told"])
    more = [*bundle.manifest["user_features"], {"name": "plan", "first": 46, "values": ["a"], "edges": []}]
    (tmp_path / "m.tflite").write_bytes(with_facts(bundle.path, {"user_features": more}))
    with pytest.raises(BundleError, match="the model fails on row 46, its last"):
        Recommender.load(tmp_path / "m.tflite")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"max_history": 10**10}, "the inputs of recommend are .*, the manifest says .*10000000000"),
        ({"max_exclude": 7}, "the inputs of recommend are "),
        ({"state": 5}, "the inputs of advance are .*'state': \\(1, 4\\).*, the manifest says .*'state': \\(1, 5\\)"),
        ({"recent": 2}, "the inputs of recommend_from_state are .*, the manifest says .*'recent': \\(1, 2\\)"),
        ({"top_k": 6}, "output ids is \\(1, 5\\), the manifest says \\(1, 6\\)"),
    ],
)
def test_sizes_that_the_model_does_not_have_are_found_at_load(tmp_path: Path, sizes: dict[str, int], said: str) -> None:
    bundle = Bundle.read(toys()["recurrent"])
    contract = {**bundle.contract.to_json(), **sizes}
    (tmp_path / "m.tflite").write_bytes(with_facts(bundle.path, {"contract": contract}))
    with pytest.raises(BundleError, match=said):
        Recommender.load(tmp_path / "m.tflite")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"recent": 3}, "the inputs of recommend_from_state are .*'recent': \\(1, 2\\).*, the manifest says "),
        ({"neighbours": 3}, "output items is \\(1, 2, 2\\), the manifest says \\(1, 2, 3\\)"),
        ({"neighbours": 0, "recent": 0}, "the inputs of recommend_from_state are "),
    ],
)
def test_transitions_that_the_model_does_not_have_are_found_at_load(
    tmp_path: Path, sizes: dict[str, int], said: str
) -> None:
    bundle = Bundle.read(toys()["linked"])
    (tmp_path / "m.tflite").write_bytes(with_facts(bundle.path, {"contract": {**bundle.contract.to_json(), **sizes}}))
    with pytest.raises(BundleError, match=said):
        Recommender.load(tmp_path / "m.tflite")


def test_a_model_without_the_promised_links_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.read(toys()["plain"])
    contract = {**bundle.contract.to_json(), "recent": 2, "neighbours": 2}
    (tmp_path / "m.tflite").write_bytes(with_facts(bundle.path, {"contract": contract}))
    with pytest.raises(BackendError, match=r"refuses m\.tflite: .*links"):
        Recommender.load(tmp_path / "m.tflite")


@pytest.mark.parametrize(("name", "items"), [("one", 1), ("two", 2), ("five", 5)])
@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
def test_catalogues_of_fewer_items_than_k(name: str, items: int, backend: str) -> None:
    """Issue 10, item 31: also where ``k`` is larger than the graph's list, or than the catalogue."""
    program = """
import json, sys
from device_runner import Recommender
recommender = Recommender.load(sys.argv[1], sys.argv[2])
first, *others = recommender.bundle.items[1:]
state = recommender.advance(recommender.new_state(), first)
found = [recommender.recommend([first], k) for k in (1, 2, 10)]
found += [recommender.recommend([first], k, exclude_history=False) for k in (1, 2, 10)]
found += [recommender.recommend([], k) for k in (1, 10)]
found += [recommender.recommend_from_state(state, k) for k in (1, 10)]
found += [recommender.recommend_from_state(state, exclude=recommender.bundle.items)]
print(json.dumps([[len(f), len({r.item for r in f})] for f in found]))
"""
    done = subprocess.run([sys.executable, "-c", program, toys()[name], backend], capture_output=True, check=True)
    lengths = [min(k, items - 1) for k in (1, 2, 10)] + [min(k, items) for k in (1, 2, 10, 1, 10, 1, 10)] + [0]
    assert json.loads(done.stdout) == [[length, length] for length in lengths]


@pytest.mark.parametrize("wrong", ["i1", b"i1", 1, [1], ["i1", None], [b"i1"], [["i1"]], np.array([1, 2]), ""])
def test_what_is_not_a_list_of_strings_is_refused(wrong: Any) -> None:
    """Issue 10, item 30: a string was a list of its letters, and other types excluded nothing."""
    recommender = Recommender.load(toys()["recurrent"])
    state = recommender.advance(recommender.new_state(), "i1")
    for argument, call in {
        "history": lambda: recommender.recommend(wrong),
        "exclude": lambda: recommender.recommend(["i1"], exclude=wrong),
        "items": lambda: recommender.rows(wrong),
    }.items():
        with pytest.raises(TypeError, match=f"^{argument} (is one string|has .*, but item ids are strings)"):
            call()
    with pytest.raises(TypeError, match=r"^exclude "):
        recommender.recommend_from_state(state, exclude=wrong)
    if not isinstance(wrong, str):
        with pytest.raises(TypeError, match=r"^item has .*, but item ids are strings"):
            recommender.advance(state, wrong)


def test_any_iterable_of_any_strings_will_do() -> None:
    recommender = Recommender.load(toys()["recurrent"])
    expected = list(recommender.recommend(["i1", "i2"], exclude=["i3"]))
    for history, exclude in (
        (("i1", "i2"), {"i3"}),
        (np.array(["i1", "i2"]), (one for one in ["i3"])),
        ([np.str_("i1"), "i2"], np.array(["i3"])),
    ):
        assert list(recommender.recommend(history, exclude=exclude)) == expected  # type: ignore[arg-type]
