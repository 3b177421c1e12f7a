"""Inputs on which the ranges of activations are measured, for schemes of integers alone: kept beside a SavedModel."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

FILE = "edgerec-calibration.npz"


def write_calibration(folder: Path, cases: Mapping[str, np.ndarray]) -> None:
    """Write inputs of the signature by name, each [n, …], into the folder of a SavedModel; none, if there are none."""
    if cases:
        np.savez(folder / FILE, **cases)


def read_calibration(folder: Path) -> dict[str, np.ndarray]:
    """Read what ``write_calibration`` wrote.

    Raises:
        ValueError: there is none.
    """
    if not (folder / FILE).is_file():
        raise ValueError("there are no inputs to measure the ranges of activations on")
    with np.load(folder / FILE) as found:
        return {name: found[name] for name in found.files}
