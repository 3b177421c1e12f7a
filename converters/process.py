"""Run one of our modules as a process of its own."""

import subprocess
import sys

from device_runner.process import child_environment


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
        env=child_environment(),
    )
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"the process was killed by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"the process ended with code {done.returncode}"
