"""Verification: broken conversions of every kind claim no runtime (issue 10, item 5)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converters.schemes import SCHEMES
from converters.verify import verify
from device_runner import Bundle
from device_runner.contract import Ranking, Retrieval
from device_runner.ranking import top_rows

ITEMS = 30
CONTRACT = Retrieval(max_history=6, max_exclude=12, top_k=10, items=ITEMS)


def outputs(scores: np.ndarray) -> dict[str, np.ndarray]:
    return {"scores": scores, "top": top_rows(np.where(np.arange(ITEMS + 1) == 0, -np.inf, scores), 10)}


@pytest.fixture
def expected() -> dict[str, np.ndarray]:
    """Scores of 50 histories."""
    return outputs(np.random.default_rng(0).normal(0, 2, (50, ITEMS + 1)).astype(np.float32))


def one_broken_history(scores: np.ndarray) -> np.ndarray:
    broken = scores.copy()
    broken[7] = np.roll(broken[7], 5)
    return broken


def not_finite(scores: np.ndarray) -> np.ndarray:
    broken = scores.copy()
    broken[3, 4] = np.nan
    return broken


BROKEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "wrong scores in the right order": lambda scores: scores * 0.25,
    "shifted scores in the right order": lambda scores: scores + 3,
    "one broken history": one_broken_history,
    "not finite": not_finite,
    "all zero": np.zeros_like,
    "another model's": lambda scores: scores[::-1].copy(),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", BROKEN)
def test_every_scheme_catches_broken_scores(scheme: str, kind: str, expected: dict[str, np.ndarray]) -> None:
    broken = outputs(BROKEN[kind](expected["scores"]))
    assert SCHEMES[scheme].shortfall(CONTRACT.agreement(expected, broken))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_accepts_equal_scores(scheme: str, expected: dict[str, np.ndarray]) -> None:
    assert SCHEMES[scheme].shortfall(CONTRACT.agreement(expected, expected)) == ""


def test_int8_accepts_rounded_scores(expected: dict[str, np.ndarray]) -> None:
    step = 2 * np.abs(expected["scores"]).max() / 255
    rounded = outputs((np.round(expected["scores"] / step) * step).astype(np.float32))
    assert SCHEMES["int8"].shortfall(CONTRACT.agreement(expected, rounded)) == ""
    assert SCHEMES["float32"].shortfall(CONTRACT.agreement(expected, rounded))


@pytest.mark.parametrize("items", [1, 2, 5, 9])
def test_catalogues_smaller_than_a_list_agree_with_themselves(items: int) -> None:
    """Issue 10, item 33."""
    scores = np.random.default_rng(0).normal(size=(4, items + 1)).astype(np.float32)
    top = np.pad(top_rows(np.where(np.arange(items + 1) == 0, -np.inf, scores), 10), ((0, 0), (0, 9)))[:, :10]
    same = {"scores": scores, "top": top}
    assert Retrieval(6, 12, items, items).agreement(same, same)["worst_overlap@10"] == 1


def test_rankings_agree_by_order_and_scores() -> None:
    contract = Ranking(candidates=4, inputs={"age": "float32"})
    expected = {"scores": np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]], np.float32)}
    assert contract.agreement(expected, expected) == {"kendall_tau": 1, "worst_kendall_tau": 1, "score_error": 0}
    swapped = {"scores": np.array([[1.0, 2, 3, 4], [1, 2, 3, 4]], np.float32)}
    found = contract.agreement(expected, swapped)
    assert (found["kendall_tau"], found["worst_kendall_tau"]) == (0, -1)
    assert SCHEMES["int8"].shortfall(found)
    halved = contract.agreement(expected, {"scores": expected["scores"] / 2})
    assert halved["kendall_tau"] == 1 and halved["score_error"] > 0.5


def test_a_file_of_another_model_claims_no_runtime(random_bundle: Callable[..., Path], tmp_path: Path) -> None:
    path = random_bundle()
    inputs = np.zeros((20, 6), np.int32)
    inputs[:, -1] = np.arange(1, 21)
    scores = np.random.default_rng(1).normal(size=(20, ITEMS + 1)).astype(np.float32)
    outcome = verify(path, "float32", inputs, outputs(scores), tmp_path)
    assert [v.passed for v in outcome.values()] == [False, False]
    assert all("against Keras" in v.reason for v in outcome.values())
    assert set(Bundle.read(path).runtimes) == set(outcome)


def test_a_runtime_that_crashes_is_reported(
    random_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = random_bundle()
    (tmp_path / "crash.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from device_runner.child_process import run_module

    monkeypatch.setattr("converters.verify.run_module", lambda *_, **options: run_module("crash", **options))
    outcome = verify(
        path, "float32", np.ones((1, 6), np.int32), outputs(np.zeros((1, ITEMS + 1), np.float32)), tmp_path
    )
    assert {v.reason for v in outcome.values()} == {"the process was killed by signal 11"}
