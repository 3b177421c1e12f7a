"""Child processes that run these packages."""

import os
import sys


def child_environment() -> dict[str, str]:
    """The environment of this process, with its import path: a child finds the packages where the parent did."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

import subprocess
def run_module(module, *arguments, seconds=None):
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, errors="replace", env=child_environment())
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"the process was killed by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"the process ended with code {done.returncode}"
