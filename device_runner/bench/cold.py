"""The cold start: from the start of a fresh process to its first answer."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from device_runner.child_process import call_module
from device_runner.errors import BackendError

# Seconds; a Raspberry Pi Zero needs a few.
COLD_START_LIMIT = 120.0
# What ``cold_start`` measures.
MEASURED = ("process", "import", "load", "first")
# A history, or the arguments of ``Ranker.score``.
Request = Sequence[str] | Mapping[str, Any]


def cold_start(
    path: str | Path, request: Request, backend: str, threads: int, time_limit: float = COLD_START_LIMIT
) -> dict[str, float]:
    """Times of one fresh process (ms) and its ``peak_rss_mb``.

    ``process`` is the time from its start to its first printed answer, which is what a user waits for. Of that,
    ``import`` is the import of the runtime, ``load`` the check and load of the bundle (with one inference, see
    ``Recommender.load``), and ``first`` the first ``recommend()`` or ``score()`` after it.

    Args:
        time_limit: seconds, after which the process is killed.

    Raises:
        BackendError: the process fails, or reaches the time limit.
    """
    ended = call_module(
        "device_runner.cold_start",
        path,
        backend,
        threads,
        time.time(),
        stdin=json.dumps(dict(request) if isinstance(request, Mapping) else list(request)),
        time_limit=time_limit,
    )
    if ended.error:
        raise BackendError(f"{backend}: the cold start could not be measured: {ended.error}")
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def cold_starts(
    path: str | Path, request: Request, backend: str, threads: int, processes: int
) -> dict[str, dict[str, Any]]:
    """Medians over several fresh processes, one after the other.

    Returns:
        ``times``: the median of each time of :func:`cold_start`, ``python``, the median start of the interpreter alone
        (in processes of their own), and ``packages``, the rest: the import of numpy and of this package.
        ``spread``: the number of ``processes``, and ``process_ms``, the whole time of each in their order; the first
        may be longer than the others, as it reads the files from the disk. ``memory``: the median ``peak_rss_mb``.
    """
    found, starts = [], []
    for _ in range(processes):
        starts.append(_interpreter_start())
        found.append(cold_start(path, request, backend, threads))
    times = {part: _median([one[part] for one in found]) for part in MEASURED}
    times["python"] = _median(starts)
    parts = sum(time for part, time in times.items() if part != "process")
    times["packages"] = round(max(times["process"] - parts, 0.0), 3)
    return {
        "times": times,
        "spread": {"processes": processes, "process_ms": [one["process"] for one in found]},
        "memory": {"peak_rss_mb": round(_median([one["peak_rss_mb"] for one in found]), 1)},
    }


def _interpreter_start() -> float:
    """Milliseconds from the start of a process to the first line of Python in it."""
    started = time.time()
    program = "import time; print(time.time())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=COLD_START_LIMIT)
    return (float(done.stdout) - started) * 1e3


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)
