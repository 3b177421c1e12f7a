"""From a Keras recommender to a verified bundle."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.bundle_writer import bundle_bytes
from converters.process import run_module
from converters.verify import TOP, Verification, verify
from device_runner import EdgeRecError, Recommender
from device_runner.bundle import Contract

GOLDEN_CASES = 5


class ConversionError(EdgeRecError):
    """The model cannot be converted, or no installed runtime gives its results."""


@dataclass(frozen=True)
class Vocabulary:
    """Raw ids, and titles if there are any, of rows 1..N."""

    items: Sequence[str]
    titles: Sequence[str] | None


@dataclass(frozen=True)
class Converted:
    """A finished bundle in memory, how large its model is, and what each runtime made of it."""

    content: bytes
    flatbuffer_bytes: int
    verified: dict[str, Verification]


def convert(
    saved_model: Path,
    scheme: str,
    contract: Contract,
    name: str,
    vocabulary: Vocabulary,
    histories: np.ndarray,
    reference: np.ndarray,
    facts: dict[str, Any],
) -> Converted:
    """Convert, verify and bundle.

    Args:
        saved_model: what :func:`converters.serving.save_serving_model` wrote.
        histories: int32 [n, L] left-padded, what the file is verified on.
        reference: the Keras model's scores of them, float32 [n, N + 1].
        facts: further entries of the manifest.

    Raises:
        ConversionError: the converter fails, or no installed runtime passes verification.
    """
    with tempfile.TemporaryDirectory() as folder:
        flat = Path(folder, "model.tflite")
        error = run_module("converters.convert_process", saved_model, scheme, flat)
        if error:
            raise ConversionError(f"{scheme}: conversion failed: {error}")
        flatbuffer = flat.read_bytes()
        draft = Path(folder, "draft.tflite")
        draft.write_bytes(bundle_bytes(flatbuffer, name, scheme, contract, vocabulary.items, facts=facts))
        verified = verify(draft, scheme, histories, reference)
        passed = {backend: v for backend, v in verified.items() if v.passed}
        if not passed:
            reasons = "; ".join(f"{backend} {v.version}: {v.reason}" for backend, v in verified.items())
            raise ConversionError(
                f"{scheme}: no runtime gives the Keras model's results ({reasons or 'none installed'})"
            )
        golden = golden_cases(draft, next(iter(passed)), contract)
    runtimes = {
        backend: {
            "version": v.version,
            "overlap@10": round(v.overlap, 4),
            "max_difference": round(v.max_difference, 6),
            "histories": len(histories),
        }
        for backend, v in passed.items()
    }
    content = bundle_bytes(
        flatbuffer, name, scheme, contract, vocabulary.items, vocabulary.titles, golden,
        facts={**facts, "runtimes": runtimes},
    )  # fmt: skip
    return Converted(content, len(flatbuffer), verified)


def golden_cases(bundle: Path, backend: str, contract: Contract) -> list[dict[str, Any]]:
    """Made-up histories with the rows and scores that the file gives for them (no user's data in a bundle).

    Lengths run from one event to more than the model reads; one case begins with user features, if there are any.
    ``tolerance`` is for scores of other runtimes and processors, relative to the largest; ids must match where
    neighbouring scores differ by more.
    """
    recommender = Recommender.load(bundle, backend)
    rng = np.random.default_rng(0)
    cases = []
    for number in range(GOLDEN_CASES):
        length = min(max(1, contract.max_history * 3 * number // (2 * GOLDEN_CASES - 2)), contract.items // 2)
        history = (1 + rng.permutation(contract.items)[:length]).tolist()
        exclude = history[-contract.max_exclude :]
        if number == 1:
            history = [feature.first for feature in recommender.bundle.user_features] + history
        ids, scores = recommender.recommend_rows(history, exclude, TOP)
        cases.append(
            {
                "history": history,
                "exclude": exclude,
                "ids": ids.tolist(),
                "scores": [round(float(score), 6) for score in scores],
                "tolerance": 0.02,
            }
        )
    return cases
