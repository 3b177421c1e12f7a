"""From a flatbuffer to a verified bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters.bundle_writer import bundle_bytes
from converters.schemes import SCHEMES
from converters.servable import Servable
from converters.verify import Verification, verify
from device_runner import EdgeRecError, Recommender
from device_runner.attributes import attributes_to_json
from device_runner.contract import Outputs, Retrieval
from device_runner.errors import plain_reason
from device_runner.ranking import TOP

GOLDEN_CASES = 5


class ConversionError(EdgeRecError):
    """The model cannot be converted, or no installed runtime gives its results."""


@dataclass(frozen=True)
class Vocabulary:
    """Raw ids of rows 1..N, their titles if there are any, and by name the attributes that the bundle holds: the
    different values of each item.
    """

    items: Sequence[str]
    titles: Sequence[str] | None
    attributes: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Converted:
    """A finished bundle in memory, what the Keras model gives for the inputs, and what each runtime made of them."""

    content: bytes
    expected: Outputs
    verified: dict[str, Verification]


def check_convertible(servable: Servable, scheme: str) -> None:
    """Refuse what is known not to work, before anything is converted.

    Raises:
        ConversionError: the scheme refuses the model; says why.
    """
    if reason := SCHEMES[scheme].check(servable):
        raise ConversionError(f"{scheme}: this model cannot be converted: {reason}")


def bundle_flatbuffer(
    flatbuffer: bytes | str,
    servable: Servable,
    scheme: str,
    name: str,
    vocabulary: Vocabulary,
    inputs: np.ndarray,
    facts: dict[str, Any],
    scratch: Path,
) -> Converted:
    """Verify a flatbuffer against its Keras model on every runtime that the scheme names, and bundle it.

    Args:
        flatbuffer: from :func:`converters.build.build`: the bytes, or why there are none.
        inputs: int32 [n, L], left-padded histories that the file is verified on.
        facts: further entries of the manifest.
        scratch: folder for temporary files.

    Raises:
        ConversionError: there is no flatbuffer, or no installed runtime passes verification.
    """
    contract, expected = servable.contract, servable.reference(inputs)
    assert isinstance(contract, Retrieval)
    model = checked_flatbuffer(flatbuffer, scheme)
    draft = scratch / f"{scheme}-draft.tflite"
    draft.write_bytes(bundle_bytes(model, name, scheme, contract, vocabulary.items, facts=facts))
    verified = verify(draft, scheme, inputs, expected, scratch)
    passed = passed_runtimes(verified, scheme)
    content = bundle_bytes(
        model, name, scheme, contract, vocabulary.items, vocabulary.titles,
        golden_cases(draft, next(iter(passed)), contract),
        facts={**facts, "runtimes": {backend: v.facts(len(inputs)) for backend, v in passed.items()}},
        attributes=attributes_to_json(vocabulary.attributes),
    )  # fmt: skip
    return Converted(content, expected, verified)


def checked_flatbuffer(flatbuffer: bytes | str, scheme: str) -> bytes:
    """What :func:`converters.build.build` gave.

    Raises:
        ConversionError: it gave a reason why there is no flatbuffer.
    """
    if isinstance(flatbuffer, str):
        raise ConversionError(f"{scheme}: conversion failed: {plain_reason(flatbuffer)}")
    return flatbuffer


def passed_runtimes(verified: Mapping[str, Verification], scheme: str) -> dict[str, Verification]:
    """The runtimes that a file may claim.

    Raises:
        ConversionError: there is none.
    """
    passed = {backend: verification for backend, verification in verified.items() if verification.passed}
    if not passed:
        reasons = "; ".join(f"{backend} {v.version}: {v.reason}" for backend, v in verified.items())
        raise ConversionError(
            f"{scheme}: no runtime gives the Keras model's results ({reasons or 'no runtime is installed'})"
        )
    return passed


def golden_cases(bundle: Path, backend: str, contract: Retrieval) -> list[dict[str, Any]]:
    """Made-up histories with the rows and scores that the file gives for them (no user's data in a bundle).

    Lengths run from one event to more than the model reads; one case begins with user features, if there are any.
    ``tolerance`` is for scores of other runtimes and processors, relative to the largest; ids must match where
    neighbouring scores differ by more.
    """
    recommender = Recommender.load(bundle, backend)
    rng = np.random.default_rng(0)
    cases = []
    for number in range(GOLDEN_CASES):
        longest = max(1, contract.items // 2)
        length = min(max(1, contract.max_history * 3 * number // (2 * GOLDEN_CASES - 2)), longest)
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
