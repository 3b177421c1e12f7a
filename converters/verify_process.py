"""Run as a process by ``verify``: what a bundle gives on one runtime.

``python -m converters.verify_process BUNDLE BACKEND INPUT.npz OUTPUT.npz``: the input holds ``inputs`` int32 [n, L],
left-padded histories. The output holds ``scores`` float32 [n, N + 1] and ``top`` int32 [n, 10], the list without the
history. Where the model keeps a state, it also has ``state_scores`` and ``state_top`` for the first histories, which
are then read event by event.
"""

import sys

import numpy as np

from device_runner.ranking import TOP, top_unseen
from device_runner.recommender import Recommender

# Histories that are read event by event.
STEPPED = 50


def main() -> None:
    bundle, backend, source, destination = sys.argv[1:]
    recommender = Recommender.load(bundle, backend)
    contract = recommender.contract
    with np.load(source) as given:
        histories = [padded[padded > 0].tolist() for padded in given["inputs"]]
    top = np.zeros((len(histories), TOP), np.int32)
    scores = np.empty((len(histories), contract.items + 1), np.float32)
    for line, history in enumerate(histories):
        ids, _ = recommender.recommend_rows(history, history, TOP)
        top[line, : len(ids)] = ids
        scores[line] = recommender.item_scores(history)
    outputs = {"top": top, "scores": scores}
    if contract.state:
        outputs |= by_state(recommender, histories[:STEPPED])
    np.savez(destination, **outputs)


def by_state(recommender: Recommender, histories: list[list[int]]) -> dict[str, np.ndarray]:
    """The same outputs, from a state that was advanced event by event."""
    scores = np.empty((len(histories), recommender.contract.items + 1), np.float32)
    for line, history in enumerate(histories):
        state = recommender.new_state()
        for row in history:
            state = recommender.advance_row(state, row)
        scores[line] = recommender.state_scores(state)
    return {"state_scores": scores, "state_top": top_unseen(scores, histories)}


if __name__ == "__main__":
    main()
