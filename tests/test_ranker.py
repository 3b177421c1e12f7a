"""Ranking on the device: raw values of an app in, scores out, and two stages in one call."""

import copy
import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from toy_ranker import CANDIDATES, CASE, CONTRACT, FEATURES, ITEM_VALUES, ITEMS, bundled, expected_scores, golden
from toy_ranker import toy_rankers as made
from toys import toys

from converters.bundle_writer import with_facts
from device_runner import BackendError, BundleError, Ranker, Recommender, TwoStage
from device_runner.attributes import attributes_to_json
from device_runner.bench.compare import compare_reports
from device_runner.bundle import Bundle
from device_runner.child_process import child_environment
from device_runner.cli import main
from device_runner.contract import Ranking
from device_runner.features import Feature
from device_runner.ranking_golden import check_ranking_golden


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker.load(made()["float32"])


def changed(**parts: object) -> dict[str, Any]:
    """``CASE`` with some arguments of ``score`` set otherwise."""
    return {**copy.deepcopy(CASE), **parts}


def first_price(ranker: Ranker, **parts: object) -> float:
    """What the model is told of the price of the first candidate."""
    return float(ranker.arrays(**changed(**parts))[0]["item_price"][0])


def test_raw_values_become_the_models_inputs(ranker: Ranker) -> None:
    (inputs,) = ranker.arrays(**CASE)
    assert {name: (value.dtype.name, value.shape) for name, value in inputs.items()} == {
        "user_age": ("float32", (1,)), "user_gender": ("int32", (1,)), "user_likes": ("int32", (1, 2)),
        "context_hour": ("int32", (1,)), "context_days": ("float32", (1,)),
        "item_price": ("float32", (CANDIDATES,)), "item_brand": ("int32", (CANDIDATES,)),
        "item_genre": ("int32", (CANDIDATES, 2)), "item": ("int32", (CANDIDATES,)),
        "history": ("int32", (1, 4)), "history_values": ("float32", (1, 4)),
        "retrieval_score": ("float32", (CANDIDATES,)),
    }  # fmt: skip
    assert inputs["item"].tolist() == [5, 6, 6, 0, 0, 0, 0]
    np.testing.assert_array_equal(inputs["item_price"], np.array([np.nan, 1.8, 9.5, *[np.nan] * 4], np.float32))
    assert inputs["item_brand"].tolist() == [2, 0, 0, 0, 0, 0, 0]
    assert inputs["item_genre"].tolist() == [[0, 0], [1, 0], [2, 3], *[[0, 0]] * 4]
    assert inputs["user_likes"].tolist() == [[2, 0]] and inputs["context_hour"].tolist() == [3]
    # An unknown event is skipped with its value.
    assert inputs["history"].tolist() == [[0, 3, 7, 1]]
    np.testing.assert_array_equal(inputs["history_values"], np.array([[np.nan, 4, np.nan, 2]], np.float32))
    np.testing.assert_array_equal(inputs["retrieval_score"], np.full(CANDIDATES, np.nan, np.float32))


def test_scores_are_those_of_the_model(ranker: Ranker) -> None:
    (inputs,) = ranker.arrays(**CASE)
    np.testing.assert_allclose(ranker.score(**CASE), expected_scores(inputs)[:5], rtol=1e-5)
    scores = ranker.score(**CASE)
    assert scores[3] == scores[4] and len(set(scores)) == 4  # an unknown item is one of which nothing is known


GOLDEN_PROGRAM = """
import sys
from device_runner import Ranker
from device_runner.ranking_golden import check_ranking_golden
print(check_ranking_golden(Ranker.load(sys.argv[1], sys.argv[2])))
"""


@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_golden_vectors_of_raw_values_hold_on_every_runtime(scheme: str, backend: str, tmp_path: Path) -> None:
    bundle = Bundle.read(made()[scheme])
    cases = golden([float(score) for score in expected_scores(Ranker.load(made()[scheme]).arrays(**CASE)[0])[:5]])
    (tmp_path / "m.tflite").write_bytes(bundled(bundle.model, scheme, golden=cases))
    command = [sys.executable, "-W", "ignore", "-c", GOLDEN_PROGRAM, str(tmp_path / "m.tflite"), backend]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"scores": [1.0] * 5}, "golden vector 1 of 1 gives scores that are off by"),
        ({"scores": [1.0] * 4}, "off by inf"),
        ({"scores": None}, "is malformed"),
        ({"user": {"colour": "red"}}, "is malformed"),
        ({"user": 5}, "is malformed"),
        ({"candidates": [5]}, "is malformed"),
    ],
)
def test_golden_vectors_that_do_not_hold_are_told(ranker: Ranker, case: dict[str, Any], said: str) -> None:
    cases = [{**golden(ranker.score(**CASE))[0], **case}]
    other = Ranker.load(bundled(ranker.bundle.model, "float32", golden=cases))
    with pytest.raises(BundleError, match=said):
        check_ranking_golden(other)


def test_golden_vectors_of_a_conversion_have_scores_of_the_retrieval_model(tmp_path: Path) -> None:
    from converters.convert_ranking import RankingFeatures, ranking_golden_cases

    numbers = {"user_age": (30.0, 9.0), "context_days": (5.0, 2.0), "history_values": (3.0, 2.0)}
    described = [entry for entry in FEATURES if entry["input"] != "item"]
    features = RankingFeatures(described, ITEM_VALUES, {**numbers, "retrieval_score": (2.0, 0.5)})
    cases = ranking_golden_cases(made()["float32"], "litert", ITEMS, features)
    assert all(isinstance(one, str) or not one for one in cases[0]["candidates"])
    scores = [one["retrieval_score"] for case in cases[1:] for one in case["candidates"] if one]
    assert len(scores) == 4 * (CANDIDATES - 1) and 1.5 < np.mean(scores) < 2.5
    model = Bundle.read(made()["float32"]).model
    assert check_ranking_golden(Ranker.load(bundled(model, "float32", golden=cases))) == 5
    del cases[1]["candidates"][0]["retrieval_score"]
    with pytest.raises(BundleError, match="golden vector 2 of 5 gives scores that are off by"):
        check_ranking_golden(Ranker.load(bundled(model, "float32", golden=cases)))


@pytest.mark.parametrize("count", [0, 1, CANDIDATES - 1, CANDIDATES, CANDIDATES + 1, 10_000])
def test_any_number_of_candidates_is_scored_one_like_the_other(ranker: Ranker, count: int) -> None:
    one_by_one = {item: ranker.score(**changed(candidates=[item]))[0] for item in ITEMS}
    candidates = [ITEMS[place % len(ITEMS)] for place in range(count)]
    scores = ranker.score(**changed(candidates=candidates))
    np.testing.assert_allclose(scores, [one_by_one[item] for item in candidates], rtol=1e-5, atol=1e-6)
    assert len(scores) == count
    assert len(ranker.arrays(**changed(candidates=candidates))) == -(-count // CANDIDATES)


def test_candidates_may_be_any_sequence(ranker: Ranker) -> None:
    expected = ranker.score({}, ["i1", "i2"])
    assert ranker.score({}, ("i1", "i2")) == expected == ranker.score({}, np.array(["i1", "i2"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("nothing", [None, math.nan, np.float32("nan")])
def test_missing_is_missing_however_it_is_said(ranker: Ranker, nothing: object) -> None:
    absent = ranker.score({}, [{"item": "i5"}])
    assert ranker.score({"age": nothing, "gender": nothing, "likes": nothing}, ["i5"], {"hour": nothing}) == absent
    assert ranker.score({"gender": "unheard of", "likes": ["also"]}, ["i5"], {"hour": 3}) == absent
    told = {"item": "i6", "price": nothing, "brand": nothing, "genre": nothing, "retrieval_score": nothing}
    assert math.isnan(first_price(ranker, candidates=[told]))
    assert ranker.score({}, [told]) != ranker.score({}, ["i6"])
    assert all(map(math.isfinite, [*absent, *ranker.score({}, [told])]))


def test_texts_and_whole_numbers_are_categories_alike(ranker: Ranker) -> None:
    for hour in ("18", " 18 ", 18, np.int64(18)):
        assert ranker.arrays({}, ["i1"], {"hour": hour})[0]["context_hour"].tolist() == [3]


def test_more_categories_than_places_are_cut_and_repeated_ones_count_once(ranker: Ranker) -> None:
    candidate = {"item": "i1", "genre": ["Crime", "unknown", "Crime", "Drama", "Comedy"]}
    assert ranker.arrays({}, [candidate])[0]["item_genre"][0].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("parts", "error", "said"),
    [
        ({"user": {"age": "31"}}, TypeError, "user feature 'age' is '31', not a number"),
        ({"user": {"age": True}}, TypeError, "'age' is True, not a number"),
        ({"user": {"age": [31]}}, TypeError, "'age' is \\[31\\], not a number"),
        ({"user": {"age": math.inf}}, ValueError, "'age' is inf: no finite number"),
        ({"user": {"age": 10**400}}, ValueError, "no finite number"),
        ({"user": {"age": 1e39}}, ValueError, "no finite number"),
        ({"user": {"gender": 1.5}}, TypeError, "'gender' is 1.5; a category is a text"),
        ({"user": {"gender": b"F"}}, TypeError, "a category is a text"),
        ({"user": {"gender": True}}, TypeError, "a category is a text"),
        ({"user": {"likes": "Crime"}}, TypeError, "'likes' is 'Crime'; give a list of categories"),
        ({"user": {"likes": [["Crime"]]}}, TypeError, "a category is a text"),
        ({"user": {"colour": "red"}}, ValueError, "no user feature 'colour'; it has: age, gender, likes"),
        ({"user": {"price": 1}}, ValueError, "no user feature 'price'"),
        ({"user": None}, TypeError, "user is None; give values by name"),
        ({"user": ["age"]}, TypeError, "give values by name"),
        ({"context": {"minute": 5}}, ValueError, "no context feature 'minute'; it has: hour, days"),
        ({"context": {"days": -math.inf}}, ValueError, "no finite number"),
        ({"candidates": "i1"}, TypeError, "candidates is 'i1'; pass a list"),
        ({"candidates": {"item": "i1"}}, TypeError, "pass a list"),
        ({"candidates": [1]}, TypeError, "candidates has 1, but item ids are strings"),
        ({"candidates": [None]}, TypeError, "but item ids are strings"),
        ({"candidates": [{"item": 1}]}, TypeError, "but item ids are strings"),
        (
            {"candidates": ["i1", {"item": "i2", "price": "9"}]},
            TypeError,
            "'price' of candidate 2 is '9', not a number",
        ),
        ({"candidates": [{"item": "i2", "price": math.inf}]}, ValueError, "'price' of candidate 1 is inf"),
        ({"candidates": [{"item": "i2", "size": 1}]}, ValueError, "no item feature 'size'; it has: item, price, brand"),
        ({"candidates": [{"item": "i2", "retrieval_score": "1"}]}, TypeError, "not a number"),
        ({"history": "i1"}, TypeError, "history is one string"),
        ({"history": [1]}, TypeError, "history has 1"),
        ({"history_values": [1.0]}, ValueError, "history_values has 1 values for 4 events"),
        ({"history_values": [1.0, "2", None, 1]}, TypeError, "'history_values' of event 2 is '2'"),
        ({"history_values": [1.0, math.inf, None, 1]}, ValueError, "of event 2 is inf"),
        ({"retrieval_scores": [1.0]}, ValueError, "retrieval_scores has 1 scores for 5 candidates"),
        ({"user": {"age": 10**5000}}, ValueError, "'age' is a very large number: no finite number"),
        ({"user": {"age": "x" * 10**6}}, TypeError, "'age' is 'xxx.*[.]{3}, not a number"),
        ({"user": {"age": [[0] * 10**5] * 10}}, TypeError, "'age' is \\[\\[0, 0.*[.]{3}, not a number"),
        ({"user": {"line\nfeed": 1}}, ValueError, "no user feature 'line.*nfeed'"),
        ({"user": 3}, TypeError, "user is 3; give values by name"),
        ({"context": None}, TypeError, "context is None; give values by name"),
        ({"candidates": None}, TypeError, "candidates is None; pass a list"),
        ({"candidates": 5}, TypeError, "candidates is 5; pass a list"),
        ({"candidates": b"i1"}, TypeError, "candidates is b'i1'; pass a list"),
        ({"candidates": [[]]}, TypeError, "but item ids are strings"),
        (
            {"candidates": [{"item": "i2", "genre": "Drama"}]},
            TypeError,
            "'genre' of candidate 1 is 'Drama'; give a list",
        ),
        ({"history": None}, TypeError, "history has None"),
        ({"history_values": 5}, TypeError, "history_values is 5; pass a list of numbers"),
        ({"history_values": "12"}, TypeError, "history_values is '12'; pass a list of numbers"),
        ({"history_values": []}, ValueError, "history_values has 0 values for 4 events"),
        ({"retrieval_scores": {"i1": 1.0}}, TypeError, "pass a list of numbers"),
        ({"retrieval_scores": [1.0, 2.0, math.inf, None, 0]}, ValueError, "'retrieval_score' of candidate 3 is inf"),
    ],
)
def test_bad_values_get_one_clear_error(
    ranker: Ranker, parts: dict[str, object], error: type[Exception], said: str
) -> None:
    before = ranker.score(**CASE)
    with pytest.raises(error, match=said) as caught:
        ranker.score(**changed(**parts))
    assert type(caught.value) is error and "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert ranker.score(**CASE) == before


def test_iterators_are_read_once_and_give_the_same(ranker: Ranker) -> None:
    given = {name: iter(CASE[name]) for name in ("candidates", "history", "history_values")}
    assert ranker.score(**changed(**given)) == ranker.score(**CASE)
    assert ranker.score({}, (item for item in ITEMS[:9]), retrieval_scores=iter([1.0] * 9)) == ranker.score(
        {}, ITEMS[:9], retrieval_scores=[1.0] * 9
    )


def test_memory_grows_by_less_than_a_kilobyte_a_candidate(ranker: Ranker) -> None:
    candidates = [ITEMS[place % len(ITEMS)] for place in range(50_000)]
    ranker.score({}, candidates[:10])
    tracemalloc.start()
    assert len(ranker.score({"age": 31}, candidates)) == 50_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000 * 1000, peak


def test_only_the_newest_known_events_are_read(ranker: Ranker) -> None:
    events = [f"i{row}" for row in range(1, 11)]
    (inputs,) = ranker.arrays({}, ["i1"], history=[*events, "unknown"], history_values=[*range(10), 99])
    assert inputs["history"].tolist() == [[7, 8, 9, 10]] and inputs["history_values"].tolist() == [[6, 7, 8, 9]]
    (inputs,) = ranker.arrays({}, ["i1"], history=events)
    assert np.isnan(inputs["history_values"]).all()


def test_scores_of_the_retrieval_model_go_with_the_candidates(ranker: Ranker) -> None:
    candidates = ["i1", {"item": "i2", "retrieval_score": 3.0}, "i3"]
    (inputs,) = ranker.arrays({}, candidates, retrieval_scores=[1.0, 2.0, None])  # type: ignore[arg-type]
    np.testing.assert_array_equal(inputs["retrieval_score"][:3], np.array([1, 3, np.nan], np.float32))


@pytest.mark.parametrize("values", [[], [1.5, None, 3, math.nan], [np.float32(1.5), np.int64(2), None]])
def test_many_numbers_are_read_as_one_is(values: list[object]) -> None:
    feature = Feature("retrieval_score", "retrieval_score", "retrieval", "number")
    one_by_one = np.array([feature.code(value) for value in values], np.float32)
    np.testing.assert_array_equal(feature.numbers(values, "candidate"), one_by_one, strict=True)
    for bad, error in (
        (math.inf, ValueError),
        (10**400, ValueError),
        (1e39, ValueError),
        (True, TypeError),
        ("1", TypeError),
    ):
        with pytest.raises(error, match=f"the retrieval feature 'retrieval_score' of candidate {len(values) + 1} is"):
            feature.numbers([*values, bad], "candidate")


def broken(change: Any) -> list[dict[str, Any]]:
    """``FEATURES`` with something changed in place."""
    entries = copy.deepcopy(FEATURES)
    change(entries)
    return entries


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"features": None, "item_values": None}, "has no features.json"),
        ({"features": FEATURES[1:]}, "describes the inputs"),
        ({"features": broken(lambda e: e.append(e[0]))}, "describes the inputs|a feature twice"),
        ({"features": broken(lambda e: e[0].update(type="category"))}, "describes the inputs"),
        ({"features": broken(lambda e: e[0].update(type="date"))}, "the malformed feature 'age'"),
        ({"features": broken(lambda e: e[0].update(of="shop"))}, "the malformed feature 'age'"),
        ({"features": broken(lambda e: e[0].update(size=2))}, "the malformed feature 'age'"),
        ({"features": broken(lambda e: e[1].update(values=["F", "F"]))}, "a value of 'gender' twice"),
        ({"features": broken(lambda e: e[1].update(values=[1]))}, "no list of texts as the values of 'gender'"),
        ({"features": broken(lambda e: e[2].update(size=-1))}, "a size of -1"),
        ({"features": broken(lambda e: e[1].update(name="age"))}, "a feature twice"),
        ({"features": broken(lambda e: e[10].update(size=5))}, "history_values of another size"),
        ({"features": broken(lambda e: e[9].update(of="user"))}, "describes the input history as something else"),
        ({"features": broken(lambda e: e[5].update(name="history"))}, "the reserved name history"),
        ({"features": broken(lambda e: e[1].update(values=["F", "M", "X"]))}, "fails on its last item and categories"),
        ({"features": broken(lambda e: e[2].update(size=3))}, "the inputs of score are"),
        ({"item_values": {"colour": [None] * 40}}, "values of colour, which the model does not read"),
        ({"item_values": {"price": [1.0] * 39}}, "39 values|one value of 'price' for each"),
        ({"item_values": {"price": ["1"] * 40}}, "malformed value of 'price'"),
        ({"item_values": {"price": [[1.0]] * 40}}, "malformed value of 'price'"),
        ({"item_values": {"brand": [3] * 40}}, "malformed value of 'brand'"),
        ({"item_values": {"brand": [-1] * 40}}, "malformed value of 'brand'"),
        ({"item_values": {"brand": [[1, 2]] * 40}}, "malformed value of 'brand'"),
        ({"item_values": {"genre": [[4]] * 40}}, "malformed value of 'genre'"),
        ({"items": [*ITEMS, "one more"], "item_values": None}, "fails on its last item and categories"),
        ({"contract": Ranking(8, CONTRACT.inputs)}, "manifest says"),
    ],
)
def test_bundles_whose_parts_do_not_fit_are_refused(ranker: Ranker, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Ranker.load(bundled(ranker.bundle.model, "float32", **parts))


def test_a_model_may_read_neither_items_nor_a_history() -> None:
    """The plain toy has one input that is a matrix of numbers, which no feature describes."""
    with pytest.raises(BundleError, match=r"ranking\.tflite: has no features\.json"):
        Ranker.load(toys()["ranking"])
    with pytest.raises(BundleError, match="a retrieval model, not a ranking model"):
        Ranker.load(toys()["plain"])


def test_item_values_that_are_absent_are_missing(ranker: Ranker) -> None:
    bare = Ranker.load(bundled(ranker.bundle.model, "float32", item_values={"brand": ITEM_VALUES["brand"]}))
    (inputs,) = bare.arrays({}, ["i6", {"item": "i6", "price": 2.0}])
    assert math.isnan(inputs["item_price"][0]) and inputs["item_price"][1] == 2
    assert inputs["item_brand"][:2].tolist() == [0, 0] and not inputs["item_genre"].any()


def test_a_closed_ranker_says_so() -> None:
    with Ranker.load(made()["float32"]) as ranker:
        assert ranker.score({}, ["i1"])
    with pytest.raises(RuntimeError, match="the bundle was closed"):
        ranker.score({}, ["i1"])


@pytest.fixture(scope="module")
def two_stage() -> TwoStage:
    bundle = Bundle.read(toys()["recurrent"])
    shelves = attributes_to_json({"shelf": [[f"s{row % 4}"] for row in range(40)]})
    with_shelves = with_attributes(bundle, shelves)
    return TwoStage(Recommender.load(with_shelves), Ranker.load(made()["float32"]), candidates=12)


def with_attributes(bundle: Bundle, attributes: dict[str, Any]) -> bytes:
    from converters.bundle_writer import bundle_bytes

    facts = {"runtimes": bundle.runtimes}
    return bundle_bytes(
        bundle.model, bundle.name, "float32", bundle.contract, bundle.items[1:], facts=facts, attributes=attributes
    )


def test_two_stages_order_what_was_retrieved(two_stage: TwoStage) -> None:
    history, user, context = ["i3", "i7"], {"age": 20.0, "gender": "M"}, {"hour": "12"}
    found = two_stage.recommend(history, 5, user=user, context=context, history_values=[5.0, 1.0])
    retrieved = two_stage.recommender.recommend(history, 12)
    items, own = [entry.item for entry in retrieved], [entry.score for entry in retrieved]
    scores = two_stage.ranker.score(user, items, context, history, [5.0, 1.0], own)
    order = sorted(range(12), key=lambda place: (-scores[place], place))[:5]
    assert [(entry.item, entry.score) for entry in found] == [(items[place], scores[place]) for place in order]
    assert [entry.item for entry in found] != items[:5]
    assert (found.source, found.unknown) == ("model", 0)
    assert len(two_stage.recommend(history, 20)) == 20  # more than are retrieved otherwise


def test_rules_hold_in_two_stages(two_stage: TwoStage) -> None:
    history = ["i3", "i7", "no such item"]
    found = two_stage.recommend(history, 4, exclude=iter(["i1", "i2"]), at_most={"shelf": 1})
    shelves = [int(entry.item[1:]) % 4 for entry in found]
    assert sorted(shelves) == [0, 1, 2, 3] and not {"i1", "i2", "i3", "i7"} & {entry.item for entry in found}
    assert found.unknown == 1
    allowed = two_stage.recommend(history, 4, allow=iter(["i9", "i10", "i3"]))
    assert {entry.item for entry in allowed} == {"i9", "i10"}
    again = two_stage.recommend(history, 4, allow=["i9", "i3"], exclude_history=False)
    assert {entry.item for entry in again} == {"i9", "i3"}


def test_two_stages_retrieve_more_where_a_rule_needs_it() -> None:
    bundle = Bundle.read(toys()["recurrent"])
    recommender = Recommender.load(toys()["recurrent"])
    best = [entry.item for entry in recommender.recommend(["i3"], 40)]
    shelves = attributes_to_json(
        {"shelf": [["front" if f"i{row}" in best[:10] else f"s{row}"] for row in range(1, 41)]}
    )
    both = TwoStage(Recommender.load(with_attributes(bundle, shelves)), Ranker.load(made()["float32"]), candidates=5)
    found = both.recommend(["i3"], 3, at_most={"shelf": 1})
    assert len(found) == 3 and len({entry.item for entry in found} & set(best[:10])) == 1
    assert both.report["calls"] == 1  # of more than one round


def test_two_stages_run_on_what_both_files_were_verified_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def claiming(bundle: Path, *runtimes: str, not_on: tuple[str, ...] = ()) -> Path:
        path = tmp_path / f"{bundle.stem}-{len(list(tmp_path.iterdir()))}.tflite"
        claims = {name: {"version": "2", **({"not_on": [*not_on]} if not_on else {})} for name in runtimes}
        path.write_bytes(with_facts(bundle, {"runtimes": claims}))
        return path

    monkeypatch.setattr("device_runner.backends.available_backends", lambda: ["tflite-runtime", "litert"])
    monkeypatch.setattr("device_runner.backends.cpu_features", lambda: ["asimddp"])
    plain, ranking = toys()["recurrent"], made()["float32"]
    both = claiming(plain, "tflite-runtime", "litert")
    with TwoStage.load(both, claiming(ranking, "litert")) as found:
        assert (found.recommender.backend, found.ranker.backend) == ("litert", "litert")
    with pytest.raises(
        BackendError, match="these files together are verified on no runtime, installed: tflite-runtime"
    ):
        TwoStage.load(claiming(plain, "tflite-runtime"), claiming(ranking, "litert"))
    with pytest.raises(BackendError, match=r"tflite-runtime may crash on these files together, as .* has asimddp"):
        TwoStage.load(claiming(plain, "tflite-runtime"), claiming(ranking, "tflite-runtime", not_on=("asimddp",)))


def test_without_a_history_what_is_popular_is_ordered(two_stage: TwoStage) -> None:
    found = two_stage.recommend([], 3, user={"age": 50})
    popular = ITEMS[:12]
    scores = two_stage.ranker.score({"age": 50}, popular)
    assert found.source == "popularity"
    assert [entry.item for entry in found] == [popular[place] for place in np.argsort(-np.array(scores))[:3]]


def test_each_model_is_given_what_it_reads_of_the_user() -> None:
    with TwoStage.load(toys()["told"], made()["float32"], candidates=40) as both:
        young, old = (both.recommend([], 5, user={"gender": "F", "age": age}) for age in (10, 60))
        assert list(young) != list(old) and young.source == "model"
        with pytest.raises(ValueError, match="neither model has a user feature colour; they have: age, gender, likes"):
            both.recommend([], user={"colour": "red"})
        with pytest.raises(ValueError, match="at least one"):
            both.recommend(["i1"], 0)
        with pytest.raises(TypeError, match="exclude is one string"):
            both.recommend(["i1"], exclude="i2")
        with pytest.raises(TypeError, match="'age' is 'old', not a number"):
            both.recommend(["i1"], user={"age": "old"})
    with pytest.raises(RuntimeError, match="closed"):
        both.recommend(["i1"])
    with pytest.raises(ValueError, match="at least one item"):
        TwoStage(both.recommender, both.ranker, candidates=0)


def test_a_ranker_of_another_catalogue_is_refused(ranker: Ranker) -> None:
    other = bundled(ranker.bundle.model, "float32", items=[f"other {row}" for row in range(1, 41)])
    with pytest.raises(BundleError, match="knows none of the items"):
        TwoStage.load(toys()["recurrent"], other)


def test_two_stages_read_iterators_and_refuse_wrong_types(two_stage: TwoStage) -> None:
    history, values = ["i3", "i7"], [5.0, 1.0]
    expected = two_stage.recommend(history, 4, history_values=values)
    assert two_stage.recommend(iter(history), 4, history_values=iter(values)) == expected
    with pytest.raises(TypeError, match="user is 3; give values by name"):
        two_stage.recommend(history, user=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="history_values is 5; pass a list"):
        two_stage.recommend(history, history_values=5)  # type: ignore[arg-type]


def test_the_report_has_the_times_of_both_stages() -> None:
    with TwoStage.load(toys()["recurrent"], made()["int8"], candidates=20) as both:
        assert both.report == {"calls": 0, "candidates": 20, "retrieve_ms": {}, "rank_ms": {}, "total_ms": {}}
        for _ in range(5):
            both.recommend(["i1", "i2"])
        report = json.loads(json.dumps(both.report))
    assert (report["calls"], report["candidates"]) == (5, 20)
    parts = [report[name]["p50"] for name in ("retrieve_ms", "rank_ms", "total_ms")]
    assert 0 < parts[0] < parts[2] and 0 < parts[1] < parts[2]


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_score_ranks_on_the_command_line(ranker: Ranker, tmp_path: Path) -> None:
    model = made()["float32"]
    (tmp_path / "h.csv").write_text("item_id\ni3\ni7\n")
    (tmp_path / "c.csv").write_text("item_id,price,genre\ni6,9.5,Comedy|Crime\ni7,,\n")
    (tmp_path / "c.json").write_text('["i6", {"item": "i6", "price": 9.5, "genre": ["Comedy", "Crime"]}, {}]')
    told = ["--user", "age=31", "--user", "likes=Crime|Drama", "--context", "hour=18", "--history", tmp_path / "h.csv"]
    user, context, history = {"age": 31, "likes": ["Crime", "Drama"]}, {"hour": "18"}, ["i3", "i7"]
    changed_price = {"item": "i6", "price": 9.5, "genre": ["Comedy", "Crime"]}
    for more, candidates in (
        (["i5", "i6"], ["i5", "i6"]),
        (["--candidates", tmp_path / "c.csv"], [changed_price, "i7"]),
        (["i1", "--candidates", tmp_path / "c.json"], ["i1", "i6", changed_price, {}]),
    ):
        document = json.loads(call("score", model, *told, *more, "--json"))
        expected = ranker.score(user, candidates, context, history)  # type: ignore[arg-type]
        assert [entry["score"] for entry in document["scores"]] == pytest.approx(expected)
    lines = call("score", model, *told, "i5", "i6").splitlines()
    assert [line.split()[1] for line in lines] == ["i5", "i6"]
    assert "gender=X is not known to the model; it knows one of F, M." in call(
        "score", model, "--user", "gender=X", "i1"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name items to score, or a file with --candidates"),
        (["i1", "--user", "age=old"], 2, "age=old: give a number"),
        (["i1", "--user", "age=inf"], 2, "age=inf: give a number"),
        (["i1", "--user", "colour=red"], 2, "the model has no feature 'colour'; it has: age, gender, likes"),
        (["i1", "--context", "hour"], 2, "'hour' is not NAME=VALUE"),
        (["--candidates", "absent.csv"], 1, "absent.csv: no such file"),
        (["--candidates", "{folder}/column.csv"], 1, "line 1: no column item_id or item among sku"),
        (
            ["--candidates", "{folder}/feature.csv"],
            1,
            "the model has no item feature weight; it has: price, brand, genre",
        ),
        (["--candidates", "{folder}/number.csv"], 1, "record 2: price=cheap: give a number"),
        (["--candidates", "{folder}/cells.csv"], 1, "record 2: 1 cells, the header has 2"),
        (["--candidates", "{folder}/object.json"], 1, "give a list of item ids"),
        (["--candidates", "{folder}/text.json"], 1, "'price' of candidate 1 is 'cheap', not a number"),
        (["--candidates", "{folder}/broken.json"], 1, "not JSON"),
    ],
)
def test_what_cannot_be_scored_is_told_in_one_line(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    for name, text in {
        "column.csv": "sku\ni1\n", "feature.csv": "item_id,weight\ni1,2\n", "number.csv": "item_id,price\ni1,cheap\n",
        "cells.csv": "item_id,price\ni1\n", "object.json": '{"item": "i1"}', "broken.json": "[",
        "text.json": '[{"item": "i1", "price": "cheap"}]',
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    given = [argument.format(folder=tmp_path) for argument in arguments]
    output = call("score", made()["float32"], *given, code=code)
    assert said in " ".join(output.replace("│", " ").split()) and "Traceback" not in output


def test_score_of_a_retrieval_bundle_needs_a_history(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni3\n")
    model = toys()["plain"]
    assert "give one with --history" in call("score", model, "i1", code=2)
    told = ["--history", tmp_path / "h.csv"]
    assert "leave out --context" in call("score", model, "i1", *told, "--context", "hour=18", code=2)
    document = json.loads(call("score", model, "i1", "unknown", *told, "--json"))
    expected = Recommender.load(model).score(["i3"], ["i1"])
    assert [entry["score"] for entry in document["scores"]] == [pytest.approx(expected[0]), None]
    assert "not in the catalogue" in call("score", model, "unknown", *told)


def test_inspect_lists_the_features_of_a_ranking_bundle(tmp_path: Path) -> None:
    shown = call("inspect", made()["float32"])
    for said in (
        "7 candidates at once", "a rating", "40 items", "age: a number", "the score of the recommender",
        "likes: any of Drama, Crime, up to 2", "hour: one of 8, 12, 18", "price: a number",
        "the last 4 events, with their values",
    ):  # fmt: skip
        assert said in shown
    (tmp_path / "m.tflite").write_bytes(with_facts(made()["float32"], {"quality": {"auc": 0.7}}))
    assert Ranker.load(tmp_path / "m.tflite").score(**CASE) == Ranker.load(made()["float32"]).score(**CASE)


def test_score_reads_the_values_of_a_history_file(ranker: Ranker, tmp_path: Path) -> None:
    model, history = made()["float32"], ["i3", "i7", "i1"]
    (tmp_path / "h.csv").write_text("item_id,value\ni3,4\ni7,\ni1,2.5\n")
    (tmp_path / "h.json").write_text('{"history": [{"item": "i3", "rating": 4}, "i7", {"item": "i1", "rating": 2.5}]}')
    (tmp_path / "plain.csv").write_text("item_id\ni3\ni7\ni1\n")
    for name, values in (("h.csv", [4.0, None, 2.5]), ("h.json", [4.0, None, 2.5]), ("plain.csv", None)):
        document = json.loads(call("score", model, "--history", tmp_path / name, "i5", "i6", "--json"))
        expected = ranker.score({}, ["i5", "i6"], {}, history, values)
        assert [entry["score"] for entry in document["scores"]] == pytest.approx(expected)
    for text, said in (
        ("4\u0663x", "line 2: the value"),
        ("inf", "'inf' is not a number"),
        ("1e39", "no finite number"),
    ):
        (tmp_path / "bad.csv").write_text(f"item_id,value\ni3,{text}\n", encoding="utf-8")
        assert said in call("score", model, "--history", tmp_path / "bad.csv", "i5", code=1)
    (tmp_path / "bad.json").write_text('[{"item": "i3", "value": true}]')
    assert "entry 1: the value 'True'" in call("score", model, "--history", tmp_path / "bad.json", "i5", code=1)


def test_recommend_in_two_stages_on_the_command_line(two_stage: TwoStage, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(toys()["recurrent"].read_bytes())
    (tmp_path / "h.csv").write_text("item_id,value\ni3,5\ni7,1\nno such item,\n")
    told = ["--user", "age=20", "--user", "gender=M", "--context", "hour=12", "--retrieve", 12, "-k", 4]
    command = [
        "recommend",
        tmp_path / "m.tflite",
        "--ranker",
        made()["float32"],
        "--history",
        tmp_path / "h.csv",
        *told,
    ]
    document = json.loads(call(*command, "--runs", 3, "--json"))
    history = ["i3", "i7", "no such item"]
    user, values = {"age": 20, "gender": "M"}, [5.0, 1.0, None]
    expected = two_stage.recommend(history, 4, user=user, context={"hour": "12"}, history_values=values)
    assert [entry["item"] for entry in document["recommendations"]] == [entry.item for entry in expected]
    assert (document["ranker"], document["events"], document["unknown"]) == ("toy-ranker", 3, 1)
    times = document["times"]
    assert times["calls"] == 3 and times["candidates"] == 12
    assert 0 < times["rank_ms"]["p50"] < times["total_ms"]["p50"]
    shown = CliRunner().invoke(main, list(map(str, command)))
    assert "retrieve" in shown.stderr and "ms (one call, 12 candidates" in shown.stderr
    assert [line.split()[2] for line in shown.stdout.splitlines()] == [entry.item for entry in expected]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--user", "colour=red"], 2, "neither model has a user feature 'colour'; they have: age, gender, likes"),
        (["--user", "age=old"], 2, "age=old: give a number"),
        (["--user", "age=1e39"], 1, "no finite number"),
        (["--context", "minute=1"], 2, "the model has no feature 'minute'; it has: hour, days"),
        (["--explain"], 2, "leave out --explain or --ranker"),
        (["--retrieve", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_two_stages_cannot_do_is_told_in_one_line(more: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni3\n")
    command = ["recommend", toys()["recurrent"], "--ranker", made()["float32"], "--history", tmp_path / "h.csv", *more]
    output = call(*command, code=code)
    assert said in " ".join(output.replace("│", " ").split()) and "Traceback" not in output


def test_the_moment_is_for_rankers(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni3\n")
    command = ["recommend", toys()["recurrent"], "--history", tmp_path / "h.csv", "--context", "hour=18"]
    assert "leave out --context" in call(*command, code=2)
    for option, value in (("--runs", 3), ("--retrieve", 100)):
        said = call(*command[:4], option, value, code=2)
        assert f"{option} is for two stages: leave it out, or give a --ranker" in " ".join(
            said.replace("│", " ").split()
        )
    assert "--retrieve is for two stages" in call("serve", toys()["recurrent"], "--retrieve", 9, code=2)


@pytest.fixture(scope="module")
def shipped(ranker: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy with a golden vector, as a converter writes it."""
    path = tmp_path_factory.mktemp("shipped") / "ranker.tflite"
    path.write_bytes(bundled(ranker.bundle.model, "float32", golden=golden(ranker.score(**CASE))))
    return path


def test_bench_times_calls_of_four_sizes(shipped: Path, tmp_path: Path) -> None:
    options = ["--runs", 20, "--processes", 1]
    shown = call("bench", shipped, *options, "--html", tmp_path / "page.html")
    assert all(f"score {count}" in shown for count in (1, 10, 100, 1000)) and "candidates a second" in shown
    page = (tmp_path / "page.html").read_text()
    assert "score(1000)" in page and "100 candidates (p50)" in page and "on 1 request" in page
    report = json.loads(call("bench", shipped, *options, "--json"))
    assert (report["kind"], report["candidates"], report["requests"]) == ("ranking", CANDIDATES, 1)
    assert list(report["score_ms"]) == ["1", "10", "100", "1000"]
    for times in (*report["score_ms"].values(), report["invoke_ms"]):
        assert 0 < times["p50"] <= times["p95"] <= times["p99"]
    # The model takes 7 candidates at once: 1000 of them are 143 calls of it.
    assert report["score_ms"]["1000"]["p50"] > 20 * report["invoke_ms"]["p50"]
    assert report["cold_start_ms"]["process"] > report["cold_start_ms"]["load"] > 0 and report["peak_rss_mb"] > 10
    assert report["bytes"]["item_table"] >= 41 * 4 * 4
    (tmp_path / "before.json").write_text(json.dumps(report))
    slower = json.loads(json.dumps(report))
    slower["score_ms"]["100"]["p50"] *= 2
    changes = {change.figure for change in compare_reports(report, slower, 0.5) if change.worse}
    assert changes == {"score 100 p50 (ms)"}
    (tmp_path / "h.csv").write_text("item_id\ni3\n")
    other = call(
        "bench",
        toys()["plain"],
        *options,
        "--history",
        tmp_path / "h.csv",
        "--compare",
        tmp_path / "before.json",
        code=1,
    )
    assert "of a ranking model, this is a retrieval model" in other


def test_doctor_runs_the_golden_vectors_of_a_ranking_model(shipped: Path, ranker: Ranker, tmp_path: Path) -> None:
    found = call("doctor", shipped)
    assert "litert: 1 golden vectors agree" in found and "tflite-runtime: 1 golden vectors agree" in found
    wrong = bundled(ranker.bundle.model, "float32", golden=golden([1.0] * 5))
    (tmp_path / "wrong.tflite").write_bytes(wrong)
    assert "gives scores that are off by" in call("doctor", tmp_path / "wrong.tflite", code=1)


def test_inspect_prints_the_features_for_programs(shipped: Path) -> None:
    document = json.loads(call("inspect", shipped, "--json"))
    assert document["features"] == FEATURES and document["contract"]["kind"] == "ranking"
