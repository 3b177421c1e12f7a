"""One document with all that is measured of a ranking bundle on this device, on requests that it was verified on."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.bench.cold import cold_starts
from device_runner.bench.device import device_state
from device_runner.bench.operators import operator_profile
from device_runner.bench.timing import about, alternately, around, percentiles, throughput
from device_runner.features import RETRIEVAL_SCORE
from device_runner.ranker import Candidate, Ranker

# Candidates of the timed calls, and of those for throughput, energy and the cold start.
COUNTS, USUAL = (1, 10, 100, 1000), 100


def bench_ranking(
    path: str | Path,
    histories: Sequence[Sequence[str]] = (),
    backend: str = "auto",
    threads: int = 1,
    runs: int = 500,
    processes: int = 3,
) -> dict[str, Any]:
    """Measure a ranking bundle and return one JSON-ready document (schema 2; times in ms, memory in MB).

    Users, moments and histories are those of the golden vectors, in turn; candidates are random items of the catalogue,
    with made-up scores of a retrieval model where the ranker reads them.

    Args:
        histories: real histories of raw ids, instead of those of the golden vectors.
        backend, threads, processes: see ``bench``.
        runs: timed calls after the warm-up, for each number of candidates.

    ``score_ms`` has by number of candidates the times of whole calls of ``Ranker.score``, and ``invoke_ms`` those of
    the bare signature on ready inputs, which scores ``candidates`` at once. ``throughput_per_s`` counts candidates, in
    calls of 100, back to back; ``energy`` is of such a call, and so is the first call of the cold start. All else is as
    in ``bench``.

    Raises:
        BundleError, BackendError: the bundle cannot be loaded, or the fresh process fails.
    """
    before = device_state()
    ranker = Ranker.load(path, backend, threads)
    requests = requests_of(ranker, histories)

    def score(count: int, turn: int) -> list[float]:
        return ranker.score(**offered[count], **requests[turn % len(requests)])

    offered = {count: candidates_of(ranker, count) for count in COUNTS}
    usual = {**offered[USUAL], **requests[0]}
    ready = ranker.arrays(**usual)[0]
    *scored, bare = alternately(runs, *(partial(score, count) for count in COUNTS), lambda turn: ranker.invoke(ready))
    rate, energy = throughput(partial(score, USUAL))
    cold = cold_starts(path, usual, ranker.backend, threads, processes)
    operators = operator_profile(ranker.bundle, ranker.backend, ready)
    return {
        **about(ranker, path, threads, runs),
        "candidates": ranker.contract.candidates,
        "requests": len(requests),
        "score_ms": {str(count): percentiles(times) for count, times in zip(COUNTS, scored, strict=True)},
        "invoke_ms": percentiles(bare),
        "throughput_per_s": round(rate * USUAL, 1),
        **around(ranker, cold, operators, energy, before),
    }


def requests_of(ranker: Ranker, histories: Sequence[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """Arguments of ``Ranker.score`` without candidates: those of the golden vectors, with other ``histories`` in turn
    where there are any; one empty request for a bundle without golden vectors.
    """
    names = ("user", "context", "history", "history_values")
    found = [{name: case[name] for name in names if name in case} for case in ranker.bundle.golden()] or [{"user": {}}]
    if not histories:
        return found
    asked = [found[turn % len(found)] for turn in range(max(len(found), len(histories)))]
    return [
        {"user": one["user"], "context": one.get("context", {}), "history": list(histories[turn % len(histories)])}
        for turn, one in enumerate(asked)
    ]


def candidates_of(ranker: Ranker, count: int) -> dict[str, Any]:
    """Arguments of ``Ranker.score``: so many random items of the catalogue, again from the start where it has fewer;
    items of which nothing is known where the model has no catalogue. If the model reads scores of a retrieval model,
    each has one.
    """
    items, rng = ranker.bundle.items, np.random.default_rng(0)
    candidates: list[Candidate] = [{}] * count
    if ranker.reads_items:
        candidates = [items[row] for row in np.resize(1 + rng.permutation(len(items) - 1), count)]
    if all(feature.input != RETRIEVAL_SCORE for feature in ranker.features):
        return {"candidates": candidates}
    return {"candidates": candidates, "retrieval_scores": rng.standard_normal(count).tolist()}
