"""One Recommender, several threads (issue 10, item 2): it crashed the process, or gave the lists of other calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toys import toys

MODEL = Path(__file__).parent.parent / "models" / "grocery" / "model.tflite"
# Calls of each thread. EDGEREC_THREAD_CALLS=10000 makes the long run.
CALLS = int(os.environ.get("EDGEREC_THREAD_CALLS", "1000"))
THREADS = 4

# A process of its own, as it may crash. Every call is one of the kinds, in turn; all must give what one thread gives.
PROGRAM = """
import sys, threading
from device_runner import Recommender
path, backend, calls, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.setswitchinterval(1e-5)
recommender = Recommender.load(path, backend)
items = recommender.bundle.items[1:]
histories = [items[start:start + 1 + start % 7] for start in range(25)]
states = []
for history in histories:
    state = recommender.new_state()
    for item in history:
        state = recommender.advance(state, item)
    states.append(state)
kinds = [
    lambda i: list(recommender.recommend(histories[i], 3)),
    lambda i: list(recommender.recommend(histories[i], 12, exclude=histories[i - 1])),
    lambda i: recommender.advance(states[i], items[i]).to_bytes(),
    lambda i: list(recommender.recommend_from_state(states[i], 4, exclude=histories[i])),
    lambda i: recommender.item_scores(recommender.rows(histories[i])).tobytes(),
]
expected = [[kind(i) for i in range(len(histories))] for kind in kinds]
wrong, done = [], []
def work(first):
    for turn in range(first, first + calls):
        kind, i = turn % len(kinds), turn * 7 % len(histories)
        if kinds[kind](i) != expected[kind][i]:
            wrong.append(turn)
    done.append(first)
workers = [threading.Thread(target=work, args=(number * 3,)) for number in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(len(done), len(wrong))
"""


@pytest.mark.parametrize(  # the zoo's file is for litert
    ("name", "backend"), [("recurrent", "litert"), ("recurrent", "tflite-runtime"), ("grocery", "litert")]
)
def test_threads_share_a_recommender(name: str, backend: str) -> None:
    """Issue 10, item 2."""
    path = MODEL if name == "grocery" else toys()[name]
    command = [sys.executable, "-c", PROGRAM, path, backend, str(CALLS), str(THREADS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{THREADS} 0\n"), done.stderr
