"""Bracket recommendations, or of a ranking model scored candidates, with ``os.getppid()``, for the plugin that counts
instructions between these calls.

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

from device_runner import Ranker, Recommender
from device_runner.backends import BACKENDS
from device_runner.bench.measure_ranking import candidates_of, requests_of
from device_runner.bundle import Bundle
from device_runner.contract import Ranking

# Calls before the first window, windows of each kind, and calls in each.
WARM_UP, WINDOWS, CALLS = 3, 3, 2
K = 10


def windows(path: str, runtime: str) -> list[str]:
    """Make the calls; returns the names of the windows."""
    ranking = isinstance(Bundle.read(path).contract, Ranking)
    calls = {"nothing": lambda: None, **(ranking_calls if ranking else retrieval_calls)(path, runtime)}
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


def ranking_calls(path: str, runtime: str) -> dict[str, Callable[[], object]]:
    """A whole call with as many candidates as the model scores at once, and the bare model."""
    ranker = Ranker.load(path, backend=runtime)
    request = {**candidates_of(ranker, ranker.contract.candidates), **requests_of(ranker)[0]}
    interpreter = importlib.import_module(BACKENDS[runtime][0]).Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    (inputs,) = ranker.arrays(**request)
    bare = interpreter.get_signature_runner("score")
    return {"score": lambda: ranker.score(**request), "invoke": lambda: bare(**inputs)}


def retrieval_calls(path: str, runtime: str) -> dict[str, Callable[[], object]]:
    """A whole recommendation and the bare model, and of one with a state one more event by it."""
    recommender = Recommender.load(path, backend=runtime)
    contract, names = recommender.contract, recommender.bundle.items
    rows = (1 + np.random.default_rng(0).permutation(contract.items)[: contract.max_history]).tolist()
    history = [names[row] for row in rows]
    interpreter = importlib.import_module(BACKENDS[runtime][0]).Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    whole = interpreter.get_signature_runner("recommend")
    inputs = recommender.inputs(rows, rows)
    calls: dict[str, Callable[[], object]] = {
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
    return calls


if __name__ == "__main__":
    gc.disable()  # a collection would fall into one window or another
    _, runtime, *paths = sys.argv
    for path in paths:
        print(json.dumps(windows(path, runtime)), flush=True)
