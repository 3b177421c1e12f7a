"""From a SavedModel to flatbuffers, in a process of its own: a crash of the converter does not end the caller."""

from collections.abc import Sequence
from pathlib import Path

from converters.schemes import SCHEMES
from device_runner.child_process import run_module

# TensorFlow takes seconds to import, and each scheme a second or two; far more is a hang.
SECONDS_A_SCHEME = 600


def build(saved_model: Path, schemes: Sequence[str], folder: Path) -> dict[str, bytes | str]:
    """Convert by all ``schemes`` in one process; after a crash, by those that are left in another one.

    Args:
        saved_model: what :func:`converters.servable.save_model` wrote.
        folder: for the files that the process writes; must exist.

    Returns:
        By scheme the flatbuffer, or one line that says why there is none.
    """
    outcome: dict[str, bytes | str] = {}
    left = list(schemes)
    while left:
        entries = [f"{SCHEMES[name].module}:{name}" for name in left]
        ended = run_module(
            "converters.build_process", saved_model, folder, *entries, time_limit=SECONDS_A_SCHEME * len(left)
        )
        for name in left:
            if (made := folder / f"{name}.tflite").is_file():
                outcome[name] = made.read_bytes()
            elif (failed := folder / f"{name}.error").is_file():
                outcome[name] = failed.read_text()
            else:  # the process ended while it converted this one
                outcome[name] = ended or "the converter wrote no file"
                break
        left = [name for name in left if name not in outcome]
    return outcome
