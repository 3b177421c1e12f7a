"""Latency, cold start and memory of a bundle on this device, on real histories."""

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.child_process import call_module
from device_runner.errors import BackendError, HistoryError
from device_runner.recommender import Recommender

SCHEMA = 1
WARM_UP = 20
PERCENTILES = (50, 90, 95, 99)
CLOCK = time.perf_counter_ns
# Seconds; a Raspberry Pi Zero needs a few.
COLD_START_LIMIT = 120.0


def bench(
    path: str | Path,
    histories: Sequence[Sequence[str]],
    backend: str = "auto",
    threads: int = 1,
    runs: int = 500,
    k: int = 10,
) -> dict[str, Any]:
    """Measure the bundle and return one JSON-ready document (schema 1; times in ms, memory in MB).

    Args:
        histories: real histories of raw ids, used in turn.
        backend: name of a runtime, or ``"auto"`` (see ``Recommender.load``).
        threads: threads of the interpreter.
        runs: timed calls after the warm-up.
        k: how many items to recommend.

    ``recommend_ms`` is the whole call on raw ids, ``invoke_ms`` the bare signature on ready inputs, ``step_ms`` one
    more event and the recommendation after it from a stored state (``None`` where the model has no state).

    ``cold_start_ms`` and the peak memory are of a fresh process: ``process`` from its start to its first printed
    answer, which is what a user waits for; of that, ``import`` of the runtime, ``load`` of the bundle (with one
    inference, see ``Recommender.load``) and ``first``, the first ``recommend()`` after it. The rest is Python and
    numpy.

    Raises:
        BundleError, BackendError: the bundle cannot be loaded, or the fresh process fails.
        HistoryError: no history has an item of the catalogue.
    """
    before = device_state()
    recommender = Recommender.load(path, backend, threads)
    histories = [h for h in histories if recommender.rows(h)]
    if not histories:
        raise HistoryError("no history has an item of the catalogue, so the model would not be measured")
    prepared = [recommender.inputs(recommender.rows(history)) for history in histories]
    for turn in range(WARM_UP):
        recommender.recommend(histories[turn % len(histories)], k)
    whole = np.empty(runs)
    bare = np.empty(runs)
    for turn in range(runs):
        history = histories[turn % len(histories)]
        start = CLOCK()
        recommender.recommend(history, k)
        whole[turn] = CLOCK() - start
    for turn in range(runs):
        inputs = prepared[turn % len(prepared)]
        start = CLOCK()
        recommender.invoke(inputs)
        bare[turn] = CLOCK() - start
    known = [item for item in histories[0] if recommender.rows([item])]
    stepped = _step_times(recommender, known, runs, k) if recommender.contract.state else None
    cold = cold_start(path, histories[0], recommender.backend, threads)
    return {
        "schema": SCHEMA,
        "file": Path(path).name,
        "scheme": recommender.bundle.scheme,
        "backend": recommender.backend,
        "threads": threads,
        "runs": runs,
        "histories": len(histories),
        "recommend_ms": _percentiles(whole),
        "invoke_ms": _percentiles(bare),
        "step_ms": None if stepped is None else _percentiles(stepped),
        "cold_start_ms": {name: cold[name] for name in ("process", "import", "load", "first")},
        "peak_rss_mb": cold["peak_rss_mb"],
        "device": {"cpu": cpu_model(), "machine": platform.machine(), "before": before, "after": device_state()},
    }


def _step_times(recommender: Recommender, history: Sequence[str], runs: int, k: int) -> np.ndarray:
    """Times of one more event and the recommendation of ``k`` items after it, from a stored state, with the history
    excluded: ns, [runs]. All events of the history are in the catalogue.
    """
    state, times = recommender.new_state(), np.empty(runs)
    for turn in range(-WARM_UP, runs):
        item = history[turn % len(history)]
        start = CLOCK()
        state = recommender.advance(state, item)
        recommender.recommend_from_state(state, k, history)
        times[max(turn, 0)] = CLOCK() - start
    return times


def cold_start(
    path: str | Path, history: Sequence[str], backend: str, threads: int, time_limit: float = COLD_START_LIMIT
) -> dict[str, float]:
    """``process``, ``import``, ``load`` and ``first`` (ms) and ``peak_rss_mb`` of a fresh process (see ``bench``).

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
        stdin=json.dumps(list(history)),
        time_limit=time_limit,
    )
    if ended.error:
        raise BackendError(f"{backend}: the cold start could not be measured: {ended.error}")
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def _percentiles(nanoseconds: np.ndarray) -> dict[str, float]:
    values = np.percentile(nanoseconds / 1e6, PERCENTILES)
    return {f"p{p}": round(float(value), 4) for p, value in zip(PERCENTILES, values, strict=True)}


def cpu_model() -> str:
    """The processor's name by ``/proc/cpuinfo``, else the machine's architecture."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor() or platform.machine()


def device_state() -> dict[str, Any]:
    """What can slow a device down: governor, clock (MHz), temperature (°C) and load of the last
    minute; ``None`` where the system does not show it.
    """
    cpu = "/sys/devices/system/cpu/cpu0/cpufreq/"
    clock = _read(cpu + "scaling_cur_freq")
    temperature = _read("/sys/class/thermal/thermal_zone0/temp")
    return {
        "governor": _read(cpu + "scaling_governor") or None,
        "clock_mhz": int(clock) / 1000 if clock.isdigit() else None,
        "temperature_c": int(temperature) / 1000 if temperature.lstrip("-").isdigit() else None,
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
