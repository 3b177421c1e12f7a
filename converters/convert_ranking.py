"""From a flatbuffer to a verified ranking bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.bundle_writer import bundle_bytes
from converters.convert import Converted, Vocabulary, checked_flatbuffer, passed_runtimes
from converters.servable import Servable
from converters.verify import verify
from device_runner.contract import Ranking
from device_runner.loaded import LoadedBundle

GOLDEN_CASES = 5
# Candidates of a golden case, at most; fewer than any graph takes show that padding changes nothing.
GOLDEN_CANDIDATES = 8


@dataclass(frozen=True)
class RankingFeatures:
    """What a ranking bundle says of the features that it reads.

    Attributes:
        described: the entries of ``features.json``.
        item_values: those of ``item_values.json``: by feature one value for each item, from row 1 on.
        typical: of each number a middle value and a step, for made-up values.
    """

    described: Sequence[dict[str, Any]]
    item_values: Mapping[str, Sequence[Any]]
    typical: Mapping[str, tuple[float, float]]


def bundle_ranking_flatbuffer(
    flatbuffer: bytes | str,
    servable: Servable,
    scheme: str,
    name: str,
    vocabulary: Vocabulary,
    features: RankingFeatures,
    cases: Mapping[str, np.ndarray],
    facts: dict[str, Any],
    scratch: Path,
) -> Converted:
    """Verify a flatbuffer against its Keras model on every runtime that the scheme names, and bundle it.

    Args:
        flatbuffer: from :func:`converters.build.build`: the bytes, or why there are none.
        cases: what the file is verified on: each input of ``score`` by name, [n, …].
        facts: further entries of the manifest.
        scratch: folder for temporary files.

    Raises:
        ConversionError: there is no flatbuffer, or no installed runtime passes verification.
    """
    model, expected = checked_flatbuffer(flatbuffer, scheme), servable.reference(cases)
    contract = servable.contract
    assert isinstance(contract, Ranking)
    parts: dict[str, Any] = {"features": features.described, "item_values": dict(features.item_values)}
    draft = scratch / f"{scheme}-draft.tflite"
    draft.write_bytes(bundle_bytes(model, name, scheme, contract, vocabulary.items, facts=facts, **parts))
    verified = verify(draft, scheme, cases, expected, scratch)
    passed, count = passed_runtimes(verified, scheme), len(next(iter(cases.values())))
    content = bundle_bytes(
        model, name, scheme, contract, vocabulary.items, vocabulary.titles,
        ranking_golden_cases(draft, next(iter(passed)), vocabulary.items, features),
        facts={**facts, "runtimes": {backend: v.facts(count) for backend, v in passed.items()}},
        **parts,
    )  # fmt: skip
    return Converted(content, expected, verified)


def ranking_golden_cases(
    bundle: Path, backend: str, items: Sequence[str], features: RankingFeatures
) -> list[dict[str, Any]]:
    """Made-up users, moments, histories and candidates in raw values, with the scores that the file gives for them (no
    user's data in a bundle).

    The first case passes nothing but candidates, and each case has a candidate that no item is. In the others, items
    have scores of a retrieval model if the file reads them. ``tolerance`` is for scores of other runtimes and
    processors, relative to the largest.
    """
    loaded = LoadedBundle.load(bundle, Ranking, backend, 1)
    maker = _CaseMaker(loaded.contract, items, features)
    cases = []
    for number in range(GOLDEN_CASES):
        case, inputs = maker.case(empty=number == 0)
        scores = loaded.run("score", **inputs)["scores"][: len(case["candidates"])]
        cases.append({**case, "scores": [round(float(score), 6) for score in scores], "tolerance": 0.02})
    loaded.close()
    return cases


class _CaseMaker:
    """Makes cases in raw values, and the inputs of the graph that they stand for."""

    def __init__(self, contract: Ranking, items: Sequence[str], features: RankingFeatures) -> None:
        self._contract, self._items, self._features = contract, items, features
        self._rng = np.random.default_rng(0)

    def case(self, empty: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A case, with no more than candidates if it is ``empty``, and its inputs."""
        count = min(GOLDEN_CANDIDATES, self._contract.candidates)
        rows = np.zeros(self._contract.candidates, np.int32)
        rows[: count - 1] = 1 + self._rng.integers(0, len(self._items), count - 1)
        named = [self._items[row - 1] if row else {} for row in rows[:count]]
        case: dict[str, Any] = {"user": {}, "context": {}, "candidates": named, "history": [], "history_values": None}
        inputs: dict[str, np.ndarray] = {"item": rows}
        for entry in self._features.described:
            name = entry["input"]
            if entry["of"] == "item":
                inputs[name] = self._of_items(entry, rows)
            elif entry["of"] == "history":
                inputs[name] = self._of_history(entry, case, inputs, empty)
            elif entry["of"] == "retrieval":
                inputs[name] = self._of_retrieval(entry, case, len(rows), empty)
            else:
                value, inputs[name] = self._made_up(entry, empty)
                if value is not None:
                    case[entry["of"]][entry["name"]] = value
        return case, inputs

    def _made_up(self, entry: Mapping[str, Any], empty: bool) -> tuple[Any, np.ndarray]:
        if entry["type"] == "number":
            middle, step = self._features.typical[entry["input"]]
            value = None if empty else round(middle + step * float(self._rng.uniform(-1, 1)), 3)
            return value, np.array([np.nan if value is None else value], np.float32)
        code = 0 if empty else int(self._rng.integers(1, len(entry["values"]) + 1))
        value = entry["values"][code - 1] if code else None
        if entry["type"] == "category":
            return value, np.array([code], np.int32)
        return None if value is None else [value], np.pad(
            np.array([[code]], np.int32), ((0, 0), (0, entry["size"] - 1))
        )

    def _of_items(self, entry: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
        values = self._features.item_values[entry["name"]]
        of_rows = [None if row == 0 else values[row - 1] for row in rows]
        if entry["type"] == "number":
            return np.array([np.nan if value is None else value for value in of_rows], np.float32)
        if entry["type"] == "category":
            return np.array([value or 0 for value in of_rows], np.int32)
        padded = [list(value or []) + [0] * entry["size"] for value in of_rows]
        return np.array([line[: entry["size"]] for line in padded], np.int32)

    def _of_retrieval(self, entry: Mapping[str, Any], case: dict[str, Any], lines: int, empty: bool) -> np.ndarray:
        """Scores of the candidates that are items, which are put into the case."""
        scores = np.full(lines, np.nan, np.float32)
        if not empty:
            mean, std = self._features.typical[entry["input"]]
            for line, item in enumerate(case["candidates"][:-1]):
                made_up = float(f"{self._rng.normal(mean, std):.6g}")
                case["candidates"][line] = {"item": item, entry["name"]: made_up}
                scores[line] = made_up
        return scores

    def _of_history(
        self, entry: Mapping[str, Any], case: dict[str, Any], inputs: Mapping[str, np.ndarray], empty: bool
    ) -> np.ndarray:
        length = entry["size"]
        if entry["type"] == "items":
            rows = np.zeros((1, length), np.int32)
            count = 0 if empty else int(self._rng.integers(1, min(length, len(self._items)) + 1))
            if count:
                rows[0, -count:] = 1 + self._rng.permutation(len(self._items))[:count]
            case["history"] = [self._items[row - 1] for row in rows[0] if row]
            return rows
        values = np.full((1, length), np.nan, np.float32)
        if count := len(case["history"]):
            middle, step = self._features.typical[entry["input"]]
            made_up = np.round(middle + step * self._rng.uniform(-1, 1, count), 1)
            values[0, -count:] = made_up
            case["history_values"] = made_up.tolist()
        return values
