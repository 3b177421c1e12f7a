"""Run as a process by ``verify``: score histories on one runtime. A runtime that crashes takes no one along.

``python -m converters.verify_process BUNDLE BACKEND INPUT.npz OUTPUT.npz``: the input holds ``history``
int32 [n, L] (left-padded); the output ``top`` int32 [n, 10] (history excluded) and ``item_scores`` float32 [n, N + 1],
and ``state_scores`` float32 [≤ 50, N + 1], the scores of the first histories by way of a kept state, if there is one.
"""

import sys

import numpy as np

from device_runner.recommender import Recommender

TOP = 10
# Histories that are stepped through event by event.
STEPPED = 50


def main() -> None:
    bundle, backend, source, destination = sys.argv[1:]
    recommender = Recommender.load(bundle, backend)
    with np.load(source) as given:
        histories = given["history"]
    top = np.zeros((len(histories), TOP), np.int32)
    scores = np.empty((len(histories), recommender.bundle.contract.items + 1), np.float32)
    for line, padded in enumerate(histories):
        history = padded[padded > 0].tolist()
        ids, _ = recommender.recommend_rows(history, history, TOP)
        top[line, : len(ids)] = ids
        scores[line] = recommender.item_scores(history)
    contract = recommender.bundle.contract
    by_state = np.empty((min(len(histories), STEPPED) if contract.state else 0, contract.items + 1), np.float32)
    for line, padded in zip(by_state, histories, strict=False):
        state = recommender.new_state()
        for row in padded[padded > 0].tolist():
            state = recommender.advance_row(state, row)
        line[:] = recommender.state_scores(state)
    np.savez(destination, top=top, item_scores=scores, state_scores=by_state)


if __name__ == "__main__":
    main()
