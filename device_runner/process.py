"""Child processes that run these packages."""

import os
import sys


def child_environment() -> dict[str, str]:
    """The environment of this process, with its import path: a child finds the packages where the parent did."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
