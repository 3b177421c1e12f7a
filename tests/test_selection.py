"""Lists with rules: allow-lists, exclusions of any length and caps that keep them diverse, against a brute force."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import toys

from converters.bundle_writer import bundle_bytes
from device_runner import Bundle, BundleError, Recommendations, Recommender
from device_runner.attributes import attributes_from_json, attributes_to_json
from device_runner.ranking import best_rows

ITEMS = [f"i{row}" for row in range(1, 41)]
# By item: one colour each (none for each seventh), and up to two tags.
COLOURS = {
    item: [] if row % 7 == 0 else ["red", "green", "blue"][row * row % 3 :][:1] for row, item in enumerate(ITEMS)
}
TAGS = {item: sorted({f"t{row % 4}", f"t{row % 5}"}) for row, item in enumerate(ITEMS)}
ATTRIBUTES = {"colour": COLOURS, "tag": TAGS}


def with_attributes(path: Path, attributes: dict[str, Any]) -> bytes:
    """The bundle at ``path`` with attributes of its items."""
    bundle = Bundle.read(path)
    return bundle_bytes(
        bundle.model, bundle.name, bundle.scheme, bundle.contract, bundle.items[1:], attributes=attributes,
        facts={"runtimes": bundle.runtimes, "dataset": bundle.manifest["dataset"]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    columns = {name: list(values.values()) for name, values in ATTRIBUTES.items()}
    return Recommender.load(with_attributes(toys()["recurrent"], attributes_to_json(columns)))


def brute_force(
    scores: Mapping[str, float],
    k: int,
    out: Collection[str],
    allow: Collection[str] | None,
    at_most: Mapping[str, int],
) -> list[str]:
    """Go down the whole ranking and leave out what breaks a rule."""
    found: list[str] = []
    counts = {name: Counter[str]() for name in at_most}
    for item in sorted(ITEMS, key=lambda item: (-scores[item], ITEMS.index(item))):
        values = {name: ATTRIBUTES[name][item] for name in at_most}
        if item in out or (allow is not None and item not in allow):
            continue
        if any(counts[name][value] >= at_most[name] for name in at_most for value in values[name]):
            continue
        for name in at_most:
            counts[name].update(values[name])
        found.append(item)
    return found[:k]


some_items = st.lists(st.sampled_from(ITEMS), max_size=45)


@settings(max_examples=150, deadline=None)
@given(
    history=st.lists(st.sampled_from(ITEMS), max_size=12),
    k=st.integers(1, 45),
    exclude=some_items,
    allow=st.none() | some_items,
    at_most=st.dictionaries(st.sampled_from(list(ATTRIBUTES)), st.integers(1, 5)),
    exclude_history=st.booleans(),
)
def test_every_list_is_the_head_of_the_ranking_by_the_rules(
    recommender: Recommender,
    history: list[str],
    k: int,
    exclude: list[str],
    allow: list[str] | None,
    at_most: dict[str, int],
    exclude_history: bool,
) -> None:
    found = recommender.recommend(history, k, exclude, exclude_history, allow=allow, at_most=at_most)
    ranking = dict(zip(ITEMS, recommender.score(history, ITEMS), strict=True))
    out = {*exclude, *(history if exclude_history else [])}
    assert [entry.item for entry in found] == brute_force(ranking, k, out, allow, at_most)
    assert [entry.score for entry in found] == [ranking[entry.item] for entry in found]
    # The same rules after a stored state, whose scores are the same up to rounding.
    state = recommender.new_state()
    for item in history[-recommender.contract.max_history :]:
        state = recommender.advance(state, item)
    by_state = recommender.recommend_from_state(state, k, list(out), allow, at_most)
    state_ranking = (
        ranking if state.empty else dict(zip(ITEMS, recommender.state_scores(state)[1:].tolist(), strict=True))
    )
    assert [entry.item for entry in by_state] == brute_force(state_ranking, k, out, allow, at_most)


@settings(max_examples=100, deadline=None)
@given(
    scores=st.lists(
        st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]) | st.floats(-3, 3, width=32), min_size=1, max_size=80
    ),
    k=st.integers(1, 90),
)
def test_best_rows_are_those_of_a_stable_sort(scores: list[float], k: int) -> None:
    values = np.array(scores, np.float32)
    expected = sorted(np.flatnonzero(values > -np.inf).tolist(), key=lambda row: (-values[row], row))[:k]
    assert best_rows(values, k).tolist() == expected


def test_unknown_ids_of_an_allow_list_are_ignored(recommender: Recommender) -> None:
    assert [entry.item for entry in recommender.recommend(["i1"], allow=["i9", "no such item"])] == ["i9"]
    assert recommender.recommend(["i1"], allow=["no such item"]) == []
    assert recommender.recommend(["i1"], allow=[]) == [] == recommender.recommend([], allow=[])
    assert recommender.recommend(["i1"], allow=["i1"]) == []  # the history is excluded too


@pytest.mark.parametrize("allow", ["i1", [1], ["i1", None]])
def test_what_is_not_a_list_of_ids_is_refused(recommender: Recommender, allow: Any) -> None:
    with pytest.raises(TypeError, match=r"^allow (is one string|has .*, but item ids are strings)"):
        recommender.recommend(["i1"], allow=allow)
    with pytest.raises(TypeError, match=r"^candidates (is one string|has .*, but item ids are strings)"):
        recommender.score(["i1"], allow)


@pytest.mark.parametrize(
    ("at_most", "error", "said"),
    [
        ({"size": 3}, ValueError, "no attribute 'size' of its items; it has: colour, tag"),
        ({"colour": 0}, ValueError, "at least one"),
        ({"colour": 1.5}, TypeError, "not a whole number"),
        ({"colour": True}, TypeError, "not a whole number"),
        (3, TypeError, "by attribute"),
    ],
)
def test_impossible_caps_are_refused(recommender: Recommender, at_most: Any, error: type[Exception], said: str) -> None:
    calls: list[Callable[[], Recommendations]] = [
        lambda: recommender.recommend(["i1"], at_most=at_most),
        lambda: recommender.recommend([], at_most=at_most),
        lambda: recommender.similar("i1", at_most=at_most),
        lambda: recommender.recommend_from_state(recommender.new_state(), at_most=at_most),
    ]
    for call in calls:
        with pytest.raises(error, match=said):
            call()


def test_caps_of_a_bundle_without_attributes_are_refused() -> None:
    with pytest.raises(ValueError, match="no attribute 'category' of its items; it has: none"):
        Recommender.load(toys()["plain"]).recommend(["i1"], at_most={"category": 3})


def test_a_capped_list_goes_on_beyond_the_list_of_the_graph(recommender: Recommender) -> None:
    """The graph returns five items; seven with one of each tag need a longer look."""
    found = recommender.recommend(["i1", "i2"], k=4, at_most={"tag": 1})
    assert max(Counter(tag for entry in found for tag in TAGS[entry.item]).values()) == 1
    ranking = [entry.item for entry in recommender.recommend(["i1", "i2"], k=40)]
    assert ranking.index(found[-1].item) >= recommender.contract.top_k


def test_reasons_are_given_for_lists_with_rules() -> None:
    recommender = Recommender.load(toys()["linked"])
    free = {entry.item: entry.because for entry in recommender.recommend(["i1", "i2"], explain=True)}
    ruled = recommender.recommend(["i1", "i2"], explain=True, allow=["i3", "i6"])
    assert {entry.item for entry in ruled} == {"i3", "i6"}
    assert all(entry.because == free[entry.item] for entry in ruled) and any(entry.because for entry in ruled)


def test_scores_of_candidates_are_in_their_order(recommender: Recommender) -> None:
    scores = recommender.score(["i1", "i2"], ["i9", "no such item", "i3", "i9"])
    all_scores = recommender.item_scores([1, 2])
    assert [scores[0], scores[2], scores[3]] == [all_scores[9], all_scores[3], all_scores[9]]
    assert math.isnan(scores[1])
    assert recommender.score([], ["i2", "i1"]) == [0, 0]  # nothing is known, so the model has no opinion
    assert recommender.score(["i1"], []) == []
    told = Recommender.load(toys()["told"])
    assert told.score([], ["i1"], {"gender": "F"}) != told.score([], ["i1"], {"gender": "M"})


def test_similar_items_are_those_that_the_item_raises_most() -> None:
    """By hand, of the toy "linked": i1 raises i5, i3, i4 and i6; other items raise some of them more."""
    recommender = Recommender.load(toys()["linked"])
    scores = np.array([recommender.item_scores([row]) for row in range(1, 7)])
    lift = scores[0] - scores.mean(0)
    expected = sorted(range(2, 7), key=lambda row: (-lift[row], row))
    found = recommender.similar("i1", k=10)
    assert [entry.item for entry in found] == [f"i{row}" for row in expected]
    np.testing.assert_allclose([entry.score for entry in found], lift[expected], atol=1e-6)
    assert found[0].item == "i5"
    assert [entry.item for entry in recommender.similar("i1", k=1, exclude=["i5"])] == [found[1].item]
    assert [entry.item for entry in recommender.similar("i1", allow=["i2", "i1"])] == ["i2"]


def test_what_is_popular_is_not_similar_to_everything() -> None:
    recommender = Recommender.load(Path(__file__).parent.parent / "models" / "grocery" / "model.tflite")
    bundle = recommender.bundle
    asked = bundle.items[30:1000:40]
    first = Counter(recommender.similar(item, k=1)[0].item for item in asked)
    assert max(first.values()) <= len(asked) / 5
    plain = Counter(recommender.recommend([item], k=1)[0].item for item in asked)
    assert max(plain.values()) > max(first.values())


def test_nothing_is_similar_to_an_unknown_item(recommender: Recommender) -> None:
    with pytest.raises(ValueError, match="'no such item' is not in the catalogue"):
        recommender.similar("no such item")
    with pytest.raises(ValueError, match="at least one"):
        recommender.similar("i1", k=0)
    assert Recommender.load(toys()["one"]).similar("i1") == []


def test_attributes_are_written_as_they_are_read(tmp_path: Path) -> None:
    document = attributes_to_json({"tag": [["b", "a"], [], ["a"]]})
    assert document == {"tag": {"values": ["b", "a"], "rows": [[0, 1], [], [1]]}}
    attribute = attributes_from_json(document, 3)["tag"]
    assert [attribute.of(row) for row in range(4)] == [[], [0, 1], [], [1]]
    assert attribute.to_json() == document["tag"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([], "is not an object"),
        ({"tag": None}, "no list of texts as the values of 'tag'"),
        ({"tag": {"values": [1], "rows": [[]] * 40}}, "no list of texts"),
        ({"tag": {"values": ["a", "a"], "rows": [[]] * 40}}, "a value of 'tag' twice"),
        ({"tag": {"values": ["a"], "rows": [[]] * 39}}, "39 rows of 'tag' for 40 items"),
        ({"tag": {"values": ["a"], "rows": [0] * 40}}, "no list of lists"),
        ({"tag": {"values": ["a"], "rows": [[1]] * 40}}, "a place outside the values"),
        ({"tag": {"values": ["a"], "rows": [[-1]] * 40}}, "a place outside the values"),
        ({"tag": {"values": ["a"], "rows": [[False]] * 40}}, "a place outside the values"),
        ({"tag": {"values": ["a"], "rows": [[0, 0]] * 40}}, "the same value of 'tag' twice"),
    ],
)
def test_malformed_attributes_are_refused(entry: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        attributes_from_json(entry, 40)
    if entry:
        with pytest.raises(BundleError, match="attributes"):
            Bundle.read(with_attributes(toys()["recurrent"], entry))


def test_a_bundle_with_attributes_has_format_3(recommender: Recommender) -> None:
    assert recommender.bundle.manifest["format"] == 3
    assert Bundle.read(toys()["recurrent"]).manifest["format"] == 1
