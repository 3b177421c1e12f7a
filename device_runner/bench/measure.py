"""One document with all that is measured of a retrieval bundle on this device, on real histories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.bench.cold import cold_starts
from device_runner.bench.device import device_state
from device_runner.bench.operators import operator_profile
from device_runner.bench.timing import CLOCK, WARM_UP, about, alternately, around, percentiles, throughput
from device_runner.errors import HistoryError
from device_runner.recommender import Recommender


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
    rate, energy = throughput(lambda turn: recommender.recommend(histories[turn % len(histories)], k))
    cold = cold_starts(path, histories[0], recommender.backend, threads, processes)
    operators = operator_profile(recommender.bundle, recommender.backend, _inputs(recommender, histories[0]))
    return {
        **about(recommender, path, threads, runs),
        "k": k,
        "histories": len(histories),
        "recommend_ms": percentiles(whole),
        "invoke_ms": percentiles(bare),
        "overhead_ms": percentiles(whole - bare),
        "step_ms": None if stepped is None else percentiles(stepped),
        "throughput_per_s": round(rate, 1),
        **around(recommender, cold, operators, energy, before),
    }


def _call_times(
    recommender: Recommender, histories: Sequence[Sequence[str]], runs: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Times of the whole call and of the bare signature, in turn on the same history: ns, [runs] each.

    The signature gets what the whole call gives it: the history's rows, and those to exclude.
    """
    prepared = [_inputs(recommender, history) for history in histories]
    whole, bare = alternately(
        runs,
        lambda turn: recommender.recommend(histories[turn % len(histories)], k),
        lambda turn: recommender.invoke(prepared[turn % len(histories)]),
    )
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
