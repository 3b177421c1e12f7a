"""Run one of our modules as a process of its own."""

import os
import subprocess
import sys


def run_module(module: str, *arguments: object) -> str:
    """Run ``python -m module arguments``.

    Returns:
        ``""`` when it exits 0, else one line that says how it ended.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"the process was killed by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"the process ended with code {done.returncode}"
