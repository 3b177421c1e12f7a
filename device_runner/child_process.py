"""Child processes that run a module of these packages.

A child may crash without ending its parent, has a limit of time, and on Linux ends with its parent.

``python -m device_runner.child_process PARENT MODULE ARGUMENTS`` is the child's side: it runs MODULE as ``python -m``
does, for the parent process with the id PARENT.
"""

import os
import runpy
import signal
import subprocess
import sys
from dataclasses import dataclass

# Seconds; far above any conversion or verification that was measured, so that only a stuck process reaches it.
TIME_LIMIT = 1800.0
# From <sys/prctl.h>: the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ended:
    """How a child process ended.

    Attributes:
        stdout: what it printed.
        error: ``""`` when it exited with 0, else one line that says how it ended.
    """

    stdout: str
    error: str


def call_module(module: str, *arguments: object, stdin: str = "", time_limit: float = TIME_LIMIT) -> Ended:
    """Run ``python -m module arguments`` to its end.

    Args:
        stdin: text for the child's standard input.
        time_limit: seconds, after which the child is killed.
    """
    command = [sys.executable, "-m", "device_runner.child_process", str(os.getpid()), module, *map(str, arguments)]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            env=child_environment(),
            timeout=time_limit,
        )
    except subprocess.TimeoutExpired:
        return Ended("", f"the process was stopped: it had not ended within {time_limit:g} seconds")
    return Ended(done.stdout, _error(done))


def run_module(module: str, *arguments: object, time_limit: float = TIME_LIMIT) -> str:
    """Run ``python -m module arguments`` to its end.

    Args:
        time_limit: seconds, after which the child is killed.

    Returns:
        ``""`` when it exits with 0, else one line that says how it ended.
    """
    return call_module(module, *arguments, time_limit=time_limit).error


def child_environment() -> dict[str, str]:
    """The environment of this process, with its import path: a child finds the packages where the parent did."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _error(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"the process was killed by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"the process ended with code {done.returncode}"


def _end_with(parent: int) -> None:
    """Have Linux kill this process when its parent ends; elsewhere nothing happens.

    The child asks for it, not a ``preexec_fn`` of the parent: that may deadlock where the parent has threads.
    """
    if sys.platform != "linux":
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a C library without prctl
        return
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    _, parent, module, *arguments = sys.argv
    _end_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
