"""Bracket recommendations with ``os.getppid()``, for the plugin that counts instructions between these calls.

``python guest_costs.py RUNTIME PATH …`` prints one JSON object a bundle, of the names of the windows in order. Each
window begins and ends with one call of ``getppid``.
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable

import numpy as np

from device_runner import Recommender
from device_runner.backends import BACKENDS

# Calls before the first window, windows of each kind, and calls in each.
WARM_UP, WINDOWS, CALLS = 3, 3, 2
K = 10


def windows(path: str, runtime: str) -> list[str]:
    """Make the calls; returns the names of the windows."""
    recommender = Recommender.load(path, backend=runtime)
    contract, names = recommender.contract, recommender.bundle.items
    rows = (1 + np.random.default_rng(0).permutation(contract.items)[: contract.max_history]).tolist()
    history = [names[row] for row in rows]
    interpreter = importlib.import_module(BACKENDS[runtime][0]).Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    whole = interpreter.get_signature_runner("recommend")
    inputs = recommender.inputs(rows, rows)
    calls: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "recommend": lambda: recommender.recommend(history, K),
        "invoke": lambda: whole(**inputs),
    }
    if contract.state:
        state = recommender.new_state()
        for item in history:
            state = recommender.advance(state, item)
        advance = interpreter.get_signature_runner("advance")
        rest = interpreter.get_signature_runner("recommend_from_state")
        event = {"state": state.values, "item": np.array(rows[-1:], np.int32)}
        after = {"state": state.values, "exclude": inputs["exclude"]}
        if contract.recent:
            after["recent"] = np.array([rows[-contract.recent :]], np.int32)
        calls["step"] = lambda: recommender.recommend_from_state(recommender.advance(state, history[-1]), K, history)
        calls["step_invoke"] = lambda: (advance(**event), rest(**after))
    done = []
    for name, call in calls.items():
        for _ in range(WARM_UP):
            call()
        for _ in range(WINDOWS):
            os.getppid()
            for _ in range(CALLS):
                call()
            os.getppid()
            done.append(name)
    return done


if __name__ == "__main__":
    gc.disable()  # a collection would fall into one window or another
    _, runtime, *paths = sys.argv
    for path in paths:
        print(json.dumps(windows(path, runtime)), flush=True)
