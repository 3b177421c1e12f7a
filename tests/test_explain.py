"""Transitions on the device: recent rows beside the state, and the event that an item was recommended for."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toys import EFFECTS, TRANSITIONS, toys

from converters.verify import verify
from device_runner import Recommender, State
from device_runner.explain import LEFT_OUT, left_out, linked, reasons
from device_runner.ranking import top_unseen

ITEMS = 6
RECENT = 2


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.load(toys()["linked"])


def expected_scores(history: list[int]) -> list[float]:
    """The scores of the toy "linked" for rows, float [ITEMS + 1], from its tables."""
    points = [sum(EFFECTS.get(row, {}).get(item, 0.0) for row in history) for item in range(ITEMS + 1)]
    sums = [sum(TRANSITIONS.get(row, {}).get(item, 0.0) for row in history[-RECENT:]) for item in range(ITEMS + 1)]
    return [a + math.log1p(b) for a, b in zip(points, sums, strict=True)]


# A process of its own, as one process cannot have both runtimes.
PROGRAM = """
import json, sys
from device_runner import Recommender
recommender = Recommender.load(sys.argv[1], sys.argv[2])
cases = json.loads(sys.argv[3])
found = [recommender.recommend(history, explain=True, **options) for history, options in cases]
print(json.dumps([[[r.item, r.score, r.because] for r in listed] for listed in found]))
"""

# Histories with further arguments, and the items, scores and reasons that they should give.
CASES: list[tuple[list[str], dict[str, object], list[tuple[str, float, str | None]]]] = [
    # i5 has 1.0 of i1 and 0.5 of i2, and i6 has 0.25 and 0.5. The transitions to i3 weigh 0.5 and 0.25.
    (["i1", "i2"], {"k": 3}, [("i5", 1.5, "i1"), ("i6", 0.75, "i2"), ("i3", math.log(1.75), "i1")]),
    # Those to i4 weigh the same: the newest counts.
    (["i1", "i2"], {"exclude": ["i3", "i5", "i6"]}, [("i4", math.log(1.5), "i2")]),
    # i1 is too old for its transitions, but not for the network.
    (["i1", "i3", "i2"], {}, [("i5", 1.5, "i1"), ("i4", math.log(2), "i3"), ("i6", -0.25, "i2")]),
    # What is not in the catalogue is no reason, and nothing raises i3.
    (["i4", "unheard of"], {"k": 3}, [("i1", 2.0, "i4"), ("i2", math.log(2), "i4"), ("i3", 0.0, None)]),
    # A user feature is no reason: i3 is there for it alone.
    (["i4"], {"k": 2, "user": {"gender": "M"}}, [("i3", 3.0, None), ("i1", 2.0, "i4")]),
    # It takes a place of the window of the transitions, but has none.
    (["i3"], {"k": 2, "user": {"gender": "F"}}, [("i4", 3 + math.log(1.75), "i3"), ("i1", 0.0, None)]),
    ([], {"k": 1, "user": {"gender": "M"}}, [("i3", 3.0, None)]),
    ([], {"k": 2}, [("i1", 0.0, None), ("i2", 0.0, None)]),
]


@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
def test_each_item_has_the_event_that_contributed_most(backend: str) -> None:
    given = json.dumps([(history, options) for history, options, _ in CASES])
    command = [sys.executable, "-c", PROGRAM, toys()["linked"], backend, given]
    done = subprocess.run(command, capture_output=True, check=True)
    for found, (_, _, expected) in zip(json.loads(done.stdout), CASES, strict=True):
        assert [(item, because) for item, _, because in found] == [(item, because) for item, _, because in expected]
        assert [score for _, score, _ in found] == pytest.approx([score for _, score, _ in expected], abs=1e-6)


def test_reasons_are_given_only_where_they_are_asked_for(recommender: Recommender) -> None:
    plain, explained = (recommender.recommend(["i1", "i2"], explain=explain) for explain in (False, True))
    assert [r.because for r in plain] == [None] * 4
    assert [(r.item, r.score) for r in plain] == [(r.item, r.score) for r in explained]
    assert recommender.recommend(["i1"], exclude=recommender.bundle.items, explain=True) == []


def test_an_item_beyond_the_graphs_list_has_its_reason_too(recommender: Recommender) -> None:
    found = recommender.recommend(["i1", "i3", "i2"], k=6, exclude_history=False, explain=True)
    assert {r.item: r.because for r in found} == {
        "i5": "i1",
        "i4": "i3",
        "i3": "i2",
        "i6": "i2",
        "i1": None,
        "i2": None,
    }


def test_models_without_transitions_leave_out_events() -> None:
    recommender = Recommender.load(toys()["plain"])
    history = [3, 9, 27]
    found = recommender.recommend([f"i{row}" for row in history], explain=True)
    whole = recommender.item_scores(history)
    without = [recommender.item_scores([row for row in history if row != left]) for left in history]
    assert {r.because for r in found} - {None}
    for entry in found:
        row = int(entry.item[1:])
        falls = [float(whole[row] - scores[row]) for scores in without]
        assert entry.because == (f"i{history[int(np.argmax(falls))]}" if max(falls) > 0 else None)


def test_the_calls_are_few_however_long_list_and_history_are() -> None:
    calls: list[list[int]] = []

    def item_scores(read: list[int]) -> np.ndarray:
        calls.append(read)
        return np.zeros(101, np.float32)

    read = [101, *range(1, 31)]
    found = reasons(np.arange(1, 101), np.ones(100, np.float32), read, 100, None, item_scores)
    assert len(calls) == LEFT_OUT
    assert calls[0] == read[:-1] and calls[-1] == read[:11] + read[12:]
    assert found == [30] * 100  # all are equal, and the newest counts
    assert reasons(np.array([5]), np.ones(1), [101], 100, None, item_scores) == [0]
    assert reasons(np.zeros(0, np.int32), np.ones(0), read, 100, None, item_scores) == []
    assert len(calls) == LEFT_OUT


def test_the_model_is_not_run_again_where_every_item_is_linked() -> None:
    links = {"items": np.array([[[7, 8], [7, 0]]]), "weights": np.array([[[0.5, 0.25], [0.25, 0.0]]])}
    found = reasons(np.array([7, 8]), np.ones(2), [3, 4], 9, lambda: links, lambda read: pytest.fail("was run"))
    assert found == [3, 3]


def test_links_of_padding_user_features_and_unused_entries_do_not_count() -> None:
    items = np.array([[[7, 0], [7, 0], [8, 0], [9, 7]]])
    weights = np.array([[[9.0, 9.0], [9.0, 9.0], [0.0, 0.0], [0.5, 0.25]]])
    links = {"items": items, "weights": weights}
    # Padding, the user feature 12, and the events 3 and 4.
    assert linked(np.array([7, 8, 9, 5]), [12, 3, 4], 9, links).tolist() == [4, 0, 4, 0]


def test_an_event_that_lowers_every_score_is_no_reason() -> None:
    scores = {(): 2.0, (3,): 1.0}
    given = np.array([1.0])
    assert left_out(np.array([1]), given, [3], 9, lambda read: np.full(10, scores[tuple(read)])).tolist() == [0]
    assert left_out(np.array([1]), given, [3], 9, lambda read: np.full(10, np.nan)).tolist() == [0]


def test_a_state_remembers_the_newest_items_without_user_features(recommender: Recommender) -> None:
    state = recommender.new_state({"gender": "M"})
    assert state.recent.tolist() == [] and not state.empty
    seen = [[1], [1, 2], [2, 3]]
    for item, recent in zip(["i1", "i2", "i3"], seen, strict=True):
        state = recommender.advance(recommender.advance(state, "unheard of"), item)
        assert state.recent.dtype == np.int32 and state.recent.tolist() == recent
    assert recommender.advance_row(state, 0).recent.tolist() == [2, 3]
    assert recommender.state_scores(state) == pytest.approx(expected_scores([8, 1, 2, 3]), abs=1e-6)
    stored = State.from_bytes(state.to_bytes())
    history = ["i1", "i2", "i3"]
    by_state = recommender.recommend_from_state(stored, exclude=history)
    whole = recommender.recommend(history, user={"gender": "M"})
    assert [(r.item, r.score) for r in by_state] == [(r.item, r.score) for r in whole]


def test_a_state_of_zeros_with_a_recent_row_is_not_empty(recommender: Recommender) -> None:
    state = recommender.advance(recommender.new_state(), "i5")
    assert not state.values.any()
    assert recommender.recommend_from_state(state).source == "model"


def test_states_of_models_without_transitions_hold_no_rows() -> None:
    recommender = Recommender.load(toys()["recurrent"])
    assert recommender.advance(recommender.new_state(), "i1").recent.tolist() == []


def test_a_stored_state_without_recent_rows_is_read_as_padding(recommender: Recommender) -> None:
    state = recommender.advance(recommender.advance(recommender.new_state(), "i1"), "i2")
    old = b"ERS1" + bytes.fromhex(state.fingerprint) + state.values.astype("<f4").tobytes()
    back = State.from_bytes(old)
    assert recommender.state_scores(back) == pytest.approx([0, 0, 0, 0, 0, 1.5, 0.75])
    after = recommender.advance(back, "i3")
    assert after.recent.tolist() == [3]
    assert recommender.state_scores(after) == pytest.approx([0, 0, 0, 0, math.log(1.75), 1.5, -0.25], abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "said"),
    [([1, 2, 3], "has 3 recent rows, this model reads 2"), ([1, 7], "has the recent row 7, the items end at 6")],
)
def test_recent_rows_that_do_not_fit_the_model_are_refused(
    recommender: Recommender, rows: list[int], said: str
) -> None:
    values = np.zeros((1, 7), np.float32)
    state = State.from_bytes(State(values, recommender.bundle.fingerprint, np.array(rows, np.int32)).to_bytes())
    for call in (recommender.recommend_from_state, recommender.state_scores):
        with pytest.raises(ValueError, match=said):
            call(state)
    with pytest.raises(ValueError, match=said):
        recommender.advance(state, "i1")


def test_recent_rows_for_a_model_that_reads_none_are_refused() -> None:
    recommender = Recommender.load(toys()["recurrent"])
    state = State(np.zeros((1, 4), np.float32), recommender.bundle.fingerprint, np.array([1], np.int32))
    with pytest.raises(ValueError, match="has 1 recent rows, this model reads 0"):
        recommender.recommend_from_state(state)


def test_both_runtimes_pass_verification_event_by_event_too(tmp_path: Path) -> None:
    histories = [[1], [4, 3], [1, 2, 3], [8, 4], [7, 1, 3, 4], [2, 2, 1, 6, 3], [8, 5, 1]]
    inputs = np.array([[0] * (5 - len(history)) + history for history in histories], np.int32)
    scores = np.array([expected_scores(history) for history in histories], np.float32)
    expected = {"scores": scores, "top": top_unseen(scores, histories)}
    found = verify(toys()["linked"], "float32", inputs, expected, tmp_path)
    assert {backend: outcome.reason for backend, outcome in found.items()} == {"litert": "", "tflite-runtime": ""}
    for outcome in found.values():
        np.testing.assert_allclose(outcome.outputs["scores"][:, 1:], scores[:, 1:], atol=1e-6)
        np.testing.assert_allclose(outcome.outputs["state_scores"][:, 1:], scores[:, 1:], atol=1e-6)
