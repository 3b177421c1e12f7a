"""States of recurrent models: they can be stored, and belong to one bundle (issue 10, item 9)."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import STATE, toys

from device_runner import BundleError, Recommender, State

OTHER = "0" * 64


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.load(toys()["recurrent"])


def after(recommender: Recommender, history: list[str], user: dict[str, object] | None = None) -> State:
    state = recommender.new_state(user)
    for item in history:
        state = recommender.advance(state, item)
    return state


def test_stepping_gives_what_the_whole_history_gives(recommender: Recommender) -> None:
    history = recommender.bundle.items[3:9]
    state = after(recommender, history)
    whole, stepped = recommender.recommend(history), recommender.recommend_from_state(state, exclude=history)
    assert [r.item for r in stepped] == [r.item for r in whole]
    np.testing.assert_allclose(recommender.state_scores(state), recommender.item_scores([3, 4, 5, 6, 7, 8]), rtol=1e-5)


def test_a_stored_state_comes_back_in_another_process(recommender: Recommender, tmp_path: Path) -> None:
    state = after(recommender, recommender.bundle.items[3:6])
    (tmp_path / "state").write_bytes(state.to_bytes())
    program = """
import sys, pathlib, json
from device_runner import Recommender, State
state = State.from_bytes(pathlib.Path(sys.argv[2]).read_bytes())
print(json.dumps([r.item for r in Recommender.load(sys.argv[1]).recommend_from_state(state)]))
"""
    command = [sys.executable, "-c", program, recommender.bundle.path, tmp_path / "state"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(done.stdout) == [r.item for r in recommender.recommend_from_state(state)]


def test_a_state_begins_with_the_user() -> None:
    recommender = Recommender.load(toys()["told"])
    person = {"gender": "F", "age": 50}
    history = recommender.bundle.items[3:7]
    by_state = recommender.recommend_from_state(after(recommender, history, person), exclude=history)
    assert [r.item for r in by_state] == [r.item for r in recommender.recommend(history, user=person)]
    assert by_state.source == "model"


def test_an_empty_state_gives_the_most_popular_items(recommender: Recommender) -> None:
    state = recommender.new_state()
    assert recommender.advance(state, "never heard of") is state
    found = recommender.recommend_from_state(state, k=3)
    assert (found.source, [r.item for r in found]) == ("popularity", ["i1", "i2", "i3"])


def test_a_state_of_another_bundle_is_refused(recommender: Recommender) -> None:
    other = Recommender.load(toys()["another"])
    state = after(other, ["i1"])
    for call in (
        lambda: recommender.advance(state, "i1"),
        lambda: recommender.advance(state, "never heard of"),
        lambda: recommender.recommend_from_state(state),
        lambda: recommender.recommend_from_state(other.new_state()),
        lambda: recommender.state_scores(state),
    ):
        with pytest.raises(ValueError, match="belongs to another bundle"):
            call()


def test_a_state_of_another_length_or_type_is_refused(recommender: Recommender) -> None:
    longer = State(np.ones((1, STATE + 1), np.float32), recommender.bundle.fingerprint)
    with pytest.raises(ValueError, match="has 5 values, this model's has 4"):
        recommender.recommend_from_state(longer)
    with pytest.raises(TypeError, match="state is ndarray, not State"):
        recommender.advance(longer.values, "i1")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_refused(recommender: Recommender, value: float) -> None:
    values = after(recommender, ["i1"]).values.copy()
    values[0, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        State(values, recommender.bundle.fingerprint)


def test_a_state_never_changes(recommender: Recommender) -> None:
    values = np.ones((1, STATE), np.float32)
    state = State(values, OTHER)
    values[:] = 2
    assert state.values.tolist() == [[1.0] * STATE]
    with pytest.raises(ValueError, match="read-only"):
        state.values[0, 0] = 3
    before = after(recommender, ["i1"])
    copy = before.to_bytes()
    recommender.advance(before, "i2")
    assert before.to_bytes() == copy


@pytest.mark.parametrize(
    ("values", "fingerprint", "said"),
    [
        (np.ones((1, 4)), OTHER, r"float64 \(1, 4\), not float32"),
        (np.ones(4, np.float32), OTHER, r"float32 \(4,\), not float32 \(1, S\)"),
        (np.ones((1, 4), np.float32), "grocery", "'grocery', not 64 hexadecimal digits"),
    ],
)
def test_a_malformed_state_is_refused(values: np.ndarray, fingerprint: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        State(values, fingerprint)


def test_stored_bytes_are_checked() -> None:
    content = State(np.arange(4, dtype=np.float32)[None], OTHER).to_bytes()
    assert len(content) == 40 + 16
    back = State.from_bytes(bytearray(content))
    assert (back.values.tolist(), back.fingerprint) == ([[0.0, 1.0, 2.0, 3.0]], OTHER)
    for damaged in (b"", content[:-1], content[:36], content[:38], content[:40], b"x" + content[1:], b"grocery"):
        with pytest.raises(ValueError, match="not a stored state"):
            State.from_bytes(damaged)
    with pytest.raises(ValueError, match="not finite"):
        State.from_bytes(content[:40] + np.full(4, np.nan, "<f4").tobytes())


def stored(magic: bytes, *parts: np.ndarray) -> bytes:
    return magic + bytes(32) + b"".join(part.tobytes() for part in parts)


def test_recent_rows_are_stored_between_fingerprint_and_values() -> None:
    state = State(np.array([[0.5, -1.0]], np.float32), OTHER, np.array([7, 300], np.int32))
    content = state.to_bytes()
    assert content == stored(b"ERS2", np.array([2, 7, 300], "<u4"), np.array([0.5, -1.0], "<f4"))
    back = State.from_bytes(content)
    assert (back.values.tolist(), back.recent.tolist()) == ([[0.5, -1.0]], [7, 300])
    with pytest.raises(ValueError, match="read-only"):
        back.recent[0] = 1


def test_states_of_before_there_were_recent_rows_can_be_read() -> None:
    back = State.from_bytes(stored(b"ERS1", np.array([0.5, -1.0], "<f4")))
    assert (back.values.tolist(), back.recent.dtype, back.recent.tolist()) == ([[0.5, -1.0]], np.int32, [])
    assert back.to_bytes()[:4] == b"ERS2"


@pytest.mark.parametrize(
    ("count", "rows", "said"),
    [
        (2**32 - 1, [1, 2], "not a stored state"),
        (5, [1, 2], "not a stored state"),
        (4, [1, 2], "not a stored state"),  # no values are left
        (2, [1, 0], "have 0, but rows of items begin at 1"),
        (2, [-3, 1], "have -3, but rows of items begin at 1"),
    ],
)
def test_recent_rows_that_cannot_be_are_refused(count: int, rows: list[int], said: str) -> None:
    parts = np.array([count], "<u4"), np.array(rows, "<i4"), np.zeros(2, "<f4")
    with pytest.raises(ValueError, match=said):
        State.from_bytes(stored(b"ERS2", *parts))


@pytest.mark.parametrize("recent", [np.array([1]), np.array([[1]], np.int32), [1.5]])
def test_recent_rows_of_another_type_or_shape_are_refused(recent: object) -> None:
    with pytest.raises(ValueError, match=r"the state's recent rows are .*, not int32 \(n,\)"):
        State(np.zeros((1, 4), np.float32), OTHER, recent)  # type: ignore[arg-type]


@given(
    rows=st.lists(st.integers(1, 2**31 - 1), max_size=9),
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=9),
    fingerprint=st.binary(min_size=32, max_size=32),
)
def test_every_state_comes_back_as_it_was(rows: list[int], values: list[float], fingerprint: bytes) -> None:
    state = State(np.array([values], np.float32), fingerprint.hex(), np.array(rows, np.int32))
    back = State.from_bytes(state.to_bytes())
    assert (back.values.tolist(), back.recent.tolist()) == ([values], rows)
    assert back.fingerprint == state.fingerprint


@given(magic=st.sampled_from([b"ERS1", b"ERS2", b""]), count=st.integers(0, 12), rest=st.binary(max_size=120))
def test_any_bytes_are_a_state_or_a_value_error(magic: bytes, count: int, rest: bytes) -> None:
    for content in (magic + rest, magic + bytes(32) + count.to_bytes(4, "little") + rest):
        try:
            state = State.from_bytes(content)
        except ValueError:
            continue
        assert content[:4] in (b"ERS1", b"ERS2")
        again = State.from_bytes(state.to_bytes())
        assert again.to_bytes() == state.to_bytes()
        assert (state.to_bytes() == content) == (content[:4] == b"ERS2")


def test_a_model_without_a_state_says_so() -> None:
    recommender = Recommender.load(toys()["plain"])
    with pytest.raises(BundleError, match="not a recurrent model"):
        recommender.new_state()
    with pytest.raises(BundleError, match="not a recurrent model"):
        recommender.recommend_from_state(State(np.zeros((1, 4), np.float32), recommender.bundle.fingerprint))
