"""Run as a process by ``verify``: what a ranking bundle gives on one runtime.

``python -m converters.verify_ranking_process BUNDLE BACKEND INPUT.npz OUTPUT.npz``: the input holds an array for each
input of the signature ``score``, with the cases along its first axis; the output ``scores`` float32 [n, C].
"""

import sys

import numpy as np

from device_runner.contract import Ranking
from device_runner.loaded import LoadedBundle


def main() -> None:
    bundle, backend, source, destination = sys.argv[1:]
    loaded = LoadedBundle.load(bundle, Ranking, backend, 1)
    with np.load(source) as given:
        cases = {name: given[name] for name in given.files}
    count = len(next(iter(cases.values())))
    scores = np.empty((count, loaded.contract.candidates), np.float32)
    for number in range(count):
        scores[number] = loaded.run("score", **{name: values[number] for name, values in cases.items()})["scores"]
    np.savez(destination, scores=scores)


if __name__ == "__main__":
    main()
