"""Verification: does a file give on a runtime what the Keras model gives? Some combinations are silently wrong."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.process import run_module
from converters.schemes import SCHEMES
from device_runner.backends import installed_backends
from device_runner.ranking import overlap, top_rows

TOP = 10


@dataclass(frozen=True)
class Verification:
    """What one runtime made of the histories.

    Attributes:
        version: of the runtime.
        passed: whether the file may claim the runtime.
        overlap: mean top-10 overlap with the Keras model.
        max_difference: largest absolute difference of a score, relative to the standard deviation of all scores.
        reason: why not, in words, where it did not pass.
        top: int32 [n, 10], its lists.
        item_scores: float32 [n, N + 1].
    """

    version: str
    passed: bool
    overlap: float
    max_difference: float
    reason: str
    top: np.ndarray
    item_scores: np.ndarray


def verify(bundle: Path, scheme: str, histories: np.ndarray, reference: np.ndarray) -> dict[str, Verification]:
    """Score ``histories`` (int32 [n, L], left-padded) on every installed runtime that the scheme names.

    Args:
        reference: the Keras model's scores, float32 [n, N + 1].

    Returns:
        The outcome by runtime, in order of preference.
    """
    expected = top_rows_excluding(reference, histories)
    outcome = {}
    for backend, version in installed_backends().items():
        if backend in SCHEMES[scheme].runtimes:
            outcome[backend] = _verify_on(backend, version, bundle, scheme, histories, reference, expected)
    return outcome


def _verify_on(
    backend: str,
    version: str,
    bundle: Path,
    scheme: str,
    histories: np.ndarray,
    reference: np.ndarray,
    expected: np.ndarray,
) -> Verification:
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, history=histories)
        error = run_module("converters.verify_process", bundle, backend, source, destination)
        if error:
            empty = np.zeros((0, 0), np.float32)
            return Verification(version, False, 0.0, float("inf"), error, empty.astype(np.int32), empty)
        with np.load(destination) as out:
            top, scores, by_state = out["top"], out["item_scores"], out["state_scores"]
    agreement = overlap(expected, top)
    difference = float(np.abs(scores[:, 1:] - reference[:, 1:]).max() / max(float(reference[:, 1:].std()), 1e-12))
    reason = ""
    if not np.isfinite(scores).all():
        reason = "scores are not finite"
    elif not scores.any():
        reason = "all scores are zero"
    elif agreement < SCHEMES[scheme].min_overlap:
        reason = f"top-10 overlap with Keras is {agreement:.3f}, {scheme} needs {SCHEMES[scheme].min_overlap}"
    elif len(by_state):
        stepped = overlap(expected[: len(by_state)], top_rows_excluding(by_state, histories[: len(by_state)]))
        if not np.isfinite(by_state).all() or stepped < SCHEMES[scheme].min_overlap:
            reason = f"top-10 overlap with Keras by way of the state is {stepped:.3f}"
    return Verification(version, not reason, agreement, difference, reason, top, scores)


def top_rows_excluding(scores: np.ndarray, histories: np.ndarray, k: int = TOP) -> np.ndarray:
    """The k best rows of each line without padding and the history, int32 [n, k]."""
    masked = scores.copy()
    # Rows of user features have no score.
    np.put_along_axis(masked, np.where(histories < scores.shape[1], histories, 0), -np.inf, axis=1)
    masked[:, 0] = -np.inf
    return top_rows(masked, k)
