"""The golden vectors of a bundle, histories with known recommendations from the conversion, tried on this device."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.child_process import call_module
from device_runner.errors import BundleError
from device_runner.recommender import Recommender

# Seconds; a Raspberry Pi Zero needs a few.
TIME_LIMIT = 120.0
# How far scores may be off, relative to the largest, where a vector does not say it.
TOLERANCE = 0.02


def check_golden(recommender: Recommender) -> int:
    """Compare what the model recommends on this device with the bundle's golden vectors.

    Returns:
        How many vectors were compared; 0 when the bundle has none.

    Raises:
        BundleError: a list or a score is not as expected.
    """
    cases = recommender.bundle.golden()
    for place, case in enumerate(cases, 1):
        if wrong := _difference(recommender, case):
            raise BundleError(
                f"{recommender.bundle.path}: golden vector {place} of {len(cases)} gives {wrong} on "
                f"{recommender.backend}; do not use this file on this device with this runtime"
            )
    return len(cases)


def try_bundle(path: str | Path, backend: str = "auto", time_limit: float = TIME_LIMIT) -> dict[str, Any]:
    """Load a bundle and check its golden vectors in a process of its own, so that a file that crashes a runtime ends
    only that process.

    Args:
        backend: name of a runtime, or ``"auto"``.
        time_limit: seconds, after which the process is killed.

    Returns:
        ``backend``, ``vectors`` (how many were compared), ``load_ms``, and ``first_ms``, the time of the first call.

    Raises:
        BundleError: the process failed; its message says how.
    """
    ended = call_module("device_runner.golden_process", Path(path).resolve(), backend, time_limit=time_limit)
    if ended.error:
        raise BundleError(ended.error if str(path) in ended.error else f"{path}: {ended.error}")
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def _difference(recommender: Recommender, case: Mapping[str, Any]) -> str:
    """What is wrong with the recommendations for a golden vector, or ``""``.

    Items may change places with others whose scores are equal within the tolerance.
    """
    expected, scores = list(case["ids"]), np.array(case["scores"], np.float64)
    tolerance = float(case.get("tolerance", TOLERANCE)) * float(np.abs(scores).max(initial=1e-6))
    ids, found = recommender.recommend_rows(case["history"], case["exclude"], len(expected))
    if len(ids) != len(expected):
        return f"{len(ids)} items, not {len(expected)}"
    if not np.isfinite(found).all():
        return "scores that are not finite"
    if (worst := float(np.abs(found - scores).max(initial=0.0))) > tolerance:
        return f"scores that are off by {worst:.3g}, more than {tolerance:g}"
    wanted = dict(zip(expected, scores.tolist(), strict=True))
    least = float(scores.min(initial=np.inf))
    for row, score in zip(ids.tolist(), found.tolist(), strict=True):
        if abs(wanted.get(row, least) - score) > tolerance:
            return f"item row {row} where {expected} were expected"
    return ""
