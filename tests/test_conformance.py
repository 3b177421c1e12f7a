"""``device_runner`` passes the conformance suite that every target's implementation is held to."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from file_recipes import SUITE, content_of, place_of
from replacements import replaced

from device_runner import BackendError, Bundle, BundleError, Ranker, Recommender
from device_runner.contract import Ranking
from device_runner.state import State

FILES = {path.stem: json.loads(path.read_text()) for path in sorted((SUITE / "cases").glob("*.json"))}
ERRORS: dict[str, Any] = {"bundle": (BundleError, BackendError), "value": ValueError, "type": TypeError}
Model = Recommender | Ranker
CASES = [pytest.param(topic, case, id=f"{topic}: {case['name']}") for topic in FILES for case in FILES[topic]["cases"]]


@pytest.fixture(scope="module")
def loaded() -> Callable[[str], Model]:
    """Models by name of the bundle; each is loaded once."""
    known: dict[str, Model] = {}

    def load(bundle: str) -> Model:
        if bundle not in known:
            kind = Ranker if isinstance(Bundle.read(place_of(bundle)).contract, Ranking) else Recommender
            known[bundle] = kind.load(place_of(bundle))
        return known[bundle]

    return load


@pytest.mark.parametrize(("topic", "case"), CASES)
def test_the_case_of_the_suite(
    topic: str, case: dict[str, Any], loaded: Callable[[str], Model], tmp_path: Path
) -> None:
    expected = case["expected"]
    if "file" in case:
        path = tmp_path / "model.tflite"
        path.write_bytes(content_of(case["file"]))
    else:
        path = place_of(FILES[topic]["bundle"])
    if "error" in expected:
        with pytest.raises(ERRORS[expected["error"]]):
            CALLS[case["call"]](path if "file" in case else loaded(FILES[topic]["bundle"]), case["arguments"])
        return
    found = CALLS[case["call"]](path if "file" in case else loaded(FILES[topic]["bundle"]), case["arguments"])
    for name, value in expected.items():
        assert same(found[name], value, FILES[topic]["tolerance"]), (name, found[name], value)


def test_the_suite_is_of_the_models_that_are_there() -> None:
    for topic, file in FILES.items():
        if "bundle" in file:
            model = Bundle.read(place_of(file["bundle"])).fingerprint
            assert file["model_sha256"] == model, f"{topic}.json is old; run: python tests/make_conformance.py cases"


def same(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether they are equal, floating-point numbers within the tolerance; ``None`` stands for NaN."""
    if isinstance(expected, list):
        pairs = zip(found, expected, strict=False)
        return len(found) == len(expected) and all(same(one, other, tolerance) for one, other in pairs)
    if isinstance(expected, float):
        return abs(found - expected) <= tolerance * max(1.0, abs(expected))
    if expected is None and isinstance(found, float):
        return math.isnan(found)
    return bool(found == expected)


def recommend(recommender: Recommender, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return listed(recommender.recommend(**arguments))


def similar(recommender: Recommender, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return listed(recommender.similar(**arguments))


def candidates(recommender: Recommender, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"scores": recommender.score(**arguments)}


def steps(recommender: Recommender, arguments: Mapping[str, Any]) -> dict[str, Any]:
    state = recommender.new_state(arguments.get("user"))
    for event in arguments["events"]:
        state = State.from_bytes(recommender.advance(state, event).to_bytes())
    options = {name: arguments[name] for name in ("k", "exclude", "allow", "at_most") if name in arguments}
    prefix = state.to_bytes()[: -4 * state.values.size]
    found = listed(recommender.recommend_from_state(state, **options))
    return found | {"state_prefix": prefix.hex(), "state_values": state.values[0].tolist()}


def listed(found: Any) -> dict[str, Any]:
    parts = {name: [getattr(entry, name[:-1]) for entry in found] for name in ("items", "scores", "titles")}
    return parts | {"because": [e.because for e in found], "unknown": found.unknown, "source": found.source}


def load(path: Path, _: Mapping[str, Any]) -> dict[str, Any]:
    bundle = Recommender.load(path).bundle
    return {"name": bundle.name, "items": len(bundle.items) - 1, "titles": bool(bundle.titles)}


def rank(ranker: Ranker, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"scores": ranker.score(**arguments)}


def golden(given: Path | Model, _: Mapping[str, Any]) -> dict[str, Any]:
    """How many golden vectors pass, and how many do not."""
    model = Recommender.load(given) if isinstance(given, Path) else given
    outcomes = []
    for case in model.bundle.golden():
        ids: list[int] = case.get("ids", [])
        if isinstance(model, Ranker):
            named = ("user", "candidates", "context", "history", "history_values")
            found, scores = ids, model.score(**{name: case[name] for name in named})
        else:
            rows, own = model.recommend_rows(case["history"], case["exclude"], len(ids))
            found, scores = rows.tolist(), own.tolist()
        largest = max((abs(score) for score in case["scores"]), default=0.0)
        near = [abs(a - b) <= case["tolerance"] * largest for a, b in zip(scores, case["scores"], strict=True)]
        outcomes.append(found == ids and all(near))
    return {"passed": sum(outcomes), "failed": outcomes.count(False)}


CALLS: dict[str, Callable[[Any, Mapping[str, Any]], dict[str, Any]]] = {
    "recommend": recommend,
    "similar": similar,
    "candidates": candidates,
    "steps": steps,
    "rank": rank,
    "load": load,
    "golden": golden,
    "replace": replaced,
}
