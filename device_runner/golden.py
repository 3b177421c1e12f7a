"""Golden vectors: inputs inside a bundle with the outputs that it must give on every device.

``python -m device_runner.golden BUNDLE BACKEND`` checks a bundle in a process of its own, which a hostile or damaged
file may crash, and prints one JSON object: ``cases``, how many there are, or ``error``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.bundle import Bundle
from device_runner.child_process import call_module
from device_runner.contract import Ranking
from device_runner.errors import BundleError, EdgeRecError
from device_runner.recommender import Recommender

# Relative to the largest score; of cases that name none.
TOLERANCE = 0.02
# Seconds; a Raspberry Pi Zero needs a few.
TIME_LIMIT = 120.0


def check_golden(path: str | Path, backend: str = "auto") -> int:
    """Check that the bundle gives what its golden vectors say, on this device; returns how many there are.

    Raises:
        BundleError: it has no golden vectors, or gives something else; or it cannot be read.
        BackendError: no runtime can be used, or it refuses the file.
    """
    bundle = Bundle.read(path)
    cases = bundle.golden()
    if not cases:
        raise BundleError(f"{bundle.path}: has no golden vectors, so nothing shows whether it works on this device")
    if isinstance(bundle.contract, Ranking):
        from device_runner.ranker import Ranker
        from device_runner.ranking_golden import check_ranking_golden

        return check_ranking_golden(Ranker.load(path, backend))
    recommender = Recommender.load(path, backend)
    differences = [_retrieval_difference(recommender, case) for case in cases]
    for number, difference in enumerate(differences, 1):
        if difference:
            raise BundleError(f"{bundle.path}: golden vector {number} of {len(cases)}: {difference}")
    return len(cases)


def check_in_child(path: str | Path, backend: str = "auto", time_limit: float = TIME_LIMIT) -> int:
    """Like :func:`check_golden`, in a process of its own: a file that crashes the runtime takes no one along.

    Raises:
        BundleError: also if the process crashes or reaches the time limit (seconds).
    """
    ended = call_module("device_runner.golden", path, backend, time_limit=time_limit)
    if ended.error:
        raise BundleError(f"{path}: the model was tried in a process of its own, but {ended.error}")
    try:
        found = json.loads(ended.stdout.splitlines()[-1])
        if "error" not in found:
            return int(found["cases"])
    except (ValueError, IndexError, KeyError, TypeError):
        raise BundleError(f"{path}: the process that tried the model gave no answer") from None
    raise BundleError(str(found["error"]))


def _retrieval_difference(recommender: Recommender, case: Mapping[str, Any]) -> str:
    """What is wrong, in words; ``""`` if nothing is.

    Where expected scores nearly tie, runtimes may list the items in another order: then each expected item must still
    have its score, and each place of the list too.
    """
    history, expected = case["history"], np.array(case["scores"], np.float64)
    ids, scores = recommender.recommend_rows(history, case["exclude"], len(case["ids"]))
    if len(case["ids"]) != len(expected) or len(ids) != len(expected):
        return f"{len(ids)} items were recommended, not {len(case['ids'])}"
    own = recommender.item_scores(history)[case["ids"]] if len(ids) else expected
    return _score_difference(scores, expected, case) or _score_difference(own, expected, case)


def _score_difference(actual: np.ndarray, expected: np.ndarray, case: Mapping[str, Any]) -> str:
    if actual.shape != expected.shape:
        return f"{actual.size} scores were given, not {expected.size}"
    if not expected.size:
        return ""
    allowed = tolerance_of(case) * max(float(np.abs(expected).max()), 1e-9)
    error = np.abs(actual - expected)
    if np.isfinite(error).all() and error.max() <= allowed:
        return ""
    worst = int(np.where(np.isfinite(error), error, np.inf).argmax())
    return f"the score at place {worst + 1} is {actual[worst]:.6g}, not {expected[worst]:.6g}"


def tolerance_of(case: Mapping[str, Any]) -> float:
    """How far the scores of a case may be off, relative to the largest: at most 0.1."""
    found = case.get("tolerance", TOLERANCE)
    # A file could otherwise allow itself anything.
    return min(max(float(found), 0.0), 0.1) if isinstance(found, int | float) and found == found else TOLERANCE


def main(arguments: Sequence[str]) -> None:
    path, backend = arguments
    try:
        print(json.dumps({"cases": check_golden(path, backend)}))
    except EdgeRecError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main(sys.argv[1:])
