"""One document with all that is measured of a bundle on this device, on real histories."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.backends import installed_backends
from device_runner.bench.cold import cold_starts
from device_runner.bench.device import describe_device, device_state
from device_runner.bench.energy import EnergyUse, find_meter
from device_runner.bench.file_parts import file_parts
from device_runner.bench.operators import operator_profile
from device_runner.errors import HistoryError
from device_runner.recommender import Recommender
from device_runner.version import __version__

SCHEMA = 2
WARM_UP = 20
PERCENTILES = (50, 90, 95, 99)
CLOCK = time.perf_counter_ns
# Seconds of calls for throughput and energy; meters are too coarse for less than the longer time.
THROUGHPUT_SECONDS, ENERGY_SECONDS = 0.25, 3.0


def bench(
    path: str | Path,
    histories: Sequence[Sequence[str]],
    backend: str = "auto",
    threads: int = 1,
    runs: int = 500,
    k: int = 10,
    processes: int = 3,
) -> dict[str, Any]:
    """Measure the bundle and return one JSON-ready document (schema 2; times in ms, memory in MB).

    Args:
        histories: real histories of raw ids, used in turn.
        backend: name of a runtime, or ``"auto"`` (see ``Recommender.load``).
        threads: threads of the interpreter.
        runs: timed calls after the warm-up.
        k: how many items to recommend.
        processes: fresh processes for the cold start.

    ``recommend_ms`` is the whole call on raw ids and ``invoke_ms`` the bare signature on ready inputs. Both are timed
    in one loop, in turn, so that they see the same clock and temperature; ``overhead_ms`` are the percentiles of their
    difference, history by history. ``step_ms`` is one more event and the recommendation after it from a stored state
    (``None`` where the model has no state). ``throughput_per_s`` counts calls of ``recommend`` back to back, in this
    one thread.

    ``cold_start_ms`` and the peak memory are of fresh processes (see ``cold_starts``), ``bytes`` the parts of the file
    (see ``file_parts``), ``operators`` the shares of the model's operators (see ``operator_profile``; ``None`` where
    the runtime offers none) and ``energy`` what the board measured (see ``EnergyUse``; ``None`` where it cannot).
    ``device`` is described, and its state is read before and after.

    Raises:
        BundleError, BackendError: the bundle cannot be loaded, or the fresh process fails.
        HistoryError: no history has an item of the catalogue.
    """
    before = device_state()
    recommender = Recommender.load(path, backend, threads)
    histories = [h for h in histories if recommender.rows(h)]
    if not histories:
        raise HistoryError("no history has an item of the catalogue, so the model would not be measured")
    whole, bare = _call_times(recommender, histories, runs, k)
    known = [item for item in histories[0] if recommender.rows([item])]
    stepped = _step_times(recommender, known, runs, k) if recommender.contract.state else None
    throughput, energy = _throughput(recommender, histories, k)
    cold = cold_starts(path, histories[0], recommender.backend, threads, processes)
    return {
        "schema": SCHEMA,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "edgerec": __version__,
        "file": Path(path).name,
        "name": recommender.bundle.name,
        "fingerprint": recommender.bundle.fingerprint,
        "scheme": recommender.bundle.scheme,
        "backend": recommender.backend,
        "backend_version": installed_backends().get(recommender.backend),
        "threads": threads,
        "runs": runs,
        "k": k,
        "histories": len(histories),
        "recommend_ms": _percentiles(whole),
        "invoke_ms": _percentiles(bare),
        "overhead_ms": _percentiles(whole - bare),
        "step_ms": None if stepped is None else _percentiles(stepped),
        "throughput_per_s": round(throughput, 1),
        "cold_start_ms": cold["times"],
        "cold_starts": cold["spread"],
        **cold["memory"],
        "bytes": file_parts(recommender.bundle),
        "operators": operator_profile(recommender.bundle, recommender.backend, recommender.rows(histories[0])),
        "energy": energy,
        "device": {**describe_device(), "before": before, "after": device_state()},
    }


def _call_times(
    recommender: Recommender, histories: Sequence[Sequence[str]], runs: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Times of the whole call and of the bare signature, in turn on the same history: ns, [runs] each.

    The signature gets what the whole call gives it: the history's rows, and those to exclude.
    """
    prepared = [_inputs(recommender, history) for history in histories]
    for turn in range(WARM_UP):
        recommender.recommend(histories[turn % len(histories)], k)
        recommender.invoke(prepared[turn % len(histories)])
    whole, bare = np.empty(runs), np.empty(runs)

    def call(turn: int) -> None:
        history = histories[turn % len(histories)]
        start = CLOCK()
        recommender.recommend(history, k)
        whole[turn] = CLOCK() - start

    def invoke(turn: int) -> None:
        inputs = prepared[turn % len(histories)]
        start = CLOCK()
        recommender.invoke(inputs)
        bare[turn] = CLOCK() - start

    for turn in range(runs):
        # Each comes first every other time, as the second one finds the caches filled.
        for timed in (call, invoke) if turn % 2 else (invoke, call):
            timed(turn)
    return whole, bare


def _inputs(recommender: Recommender, history: Sequence[str]) -> dict[str, np.ndarray]:
    rows = recommender.rows(history)
    banned = sorted(set(rows)) if recommender.bundle.exclude_history else []
    fitting = banned if len(banned) <= recommender.contract.max_exclude else []
    return recommender.inputs(recommender.input_rows(rows), fitting)


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


def _throughput(
    recommender: Recommender, histories: Sequence[Sequence[str]], k: int
) -> tuple[float, dict[str, Any] | None]:
    """Calls a second, back to back, and the energy that they used where the board has a meter: ``source``, ``watts``,
    ``seconds``, and ``joules`` of one call.
    """
    meter = find_meter()
    limit = ENERGY_SECONDS if meter else THROUGHPUT_SECONDS
    with EnergyUse(meter) as use:
        calls, seconds = _repeat(lambda turn: recommender.recommend(histories[turn % len(histories)], k), limit)
    if use.found is None:
        return calls / seconds, None
    return calls / seconds, {**use.found, "joules": use.found["joules"] / calls}


def _repeat(call: Callable[[int], object], seconds: float) -> tuple[int, float]:
    """How many calls were made until at least this time had passed, and the time that they took."""
    start = CLOCK()
    for turn in count(1):
        call(turn)
        if (passed := (CLOCK() - start) / 1e9) >= seconds:
            return turn, passed
    raise AssertionError("count() does not end")


def _percentiles(nanoseconds: np.ndarray) -> dict[str, float]:
    values = np.percentile(nanoseconds / 1e6, PERCENTILES)
    return {f"p{p}": round(float(value), 4) for p, value in zip(PERCENTILES, values, strict=True)}
