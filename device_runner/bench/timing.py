"""How calls are timed, and what every report of ``bench`` says of the file and the device."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.backends import installed_backends
from device_runner.bench.device import describe_device, device_state
from device_runner.bench.energy import EnergyUse, find_meter
from device_runner.bench.file_parts import file_parts
from device_runner.loaded import ServedModel
from device_runner.version import __version__

SCHEMA = 2
WARM_UP = 20
PERCENTILES = (50, 90, 95, 99)
CLOCK = time.perf_counter_ns
# Seconds of calls for throughput and energy; meters are too coarse for less than the longer time.
THROUGHPUT_SECONDS, ENERGY_SECONDS = 0.25, 3.0


def about(served: ServedModel[Any], path: str | Path, threads: int, runs: int) -> dict[str, Any]:
    """The first entries of a report: what was measured, and on what."""
    return {
        "schema": SCHEMA,
        "kind": served.contract.kind,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "edgerec": __version__,
        "file": Path(path).name,
        "name": served.bundle.name,
        "fingerprint": served.bundle.fingerprint,
        "scheme": served.bundle.scheme,
        "backend": served.backend,
        "backend_version": installed_backends().get(served.backend),
        "threads": threads,
        "runs": runs,
    }


def around(
    served: ServedModel[Any],
    cold: Mapping[str, Any],
    operators: list[dict[str, Any]] | None,
    energy: dict[str, Any] | None,
    before: dict[str, Any],
) -> dict[str, Any]:
    """The last entries of a report.

    Args:
        cold: see ``cold_starts``.
        before: the device's state before the measurement.
    """
    return {
        "cold_start_ms": cold["times"],
        "cold_starts": cold["spread"],
        **cold["memory"],
        "bytes": file_parts(served.bundle),
        "operators": operators,
        "energy": energy,
        "device": {**describe_device(), "before": before, "after": device_state()},
    }


def alternately(runs: int, *calls: Callable[[int], object]) -> list[np.ndarray]:
    """Times of each of the calls, in turn and after a warm-up, so that they see the same clock and temperature: ns,
    [runs] each.

    Args:
        calls: functions of the number of the turn, which is below 0 in the warm-up.
    """
    times = [np.empty(runs) for _ in calls]
    for turn in range(-WARM_UP, runs):
        places = range(len(calls))
        # Another one comes first every other time, as those behind it find the caches filled.
        for place in places if turn % 2 else reversed(places):
            start = CLOCK()
            calls[place](turn)
            times[place][max(turn, 0)] = CLOCK() - start
    return times


def throughput(call: Callable[[int], object]) -> tuple[float, dict[str, Any] | None]:
    """Calls a second, back to back, and the energy that they used where the board has a meter: ``source``, ``watts``,
    ``seconds``, and ``joules`` of one call.
    """
    meter = find_meter()
    limit = ENERGY_SECONDS if meter else THROUGHPUT_SECONDS
    with EnergyUse(meter) as use:
        calls, seconds = _repeat(call, limit)
    if use.found is None:
        return calls / seconds, None
    return calls / seconds, {**use.found, "joules": use.found["joules"] / calls}


def percentiles(nanoseconds: np.ndarray) -> dict[str, float]:
    """Percentiles of times in ns, in ms by name."""
    values = np.percentile(nanoseconds / 1e6, PERCENTILES)
    return {f"p{p}": round(float(value), 4) for p, value in zip(PERCENTILES, values, strict=True)}


def _repeat(call: Callable[[int], object], seconds: float) -> tuple[int, float]:
    """How many calls were made until at least this time had passed, and the time that they took."""
    start = CLOCK()
    for turn in count(1):
        call(turn)
        if (passed := (CLOCK() - start) / 1e9) >= seconds:
            return turn, passed
    raise AssertionError("count() does not end")
