"""A recommender from load to close: from a file or bytes, in other threads and in forked processes."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from toys import toys

from device_runner import BundleError, Recommender
from device_runner.backends import Signature
from device_runner.child_process import child_environment

MODEL = Path(__file__).parent.parent / "models" / "grocery" / "model.tflite"
BACKENDS = ["litert", "tflite-runtime"]


def output_of(program: str, *arguments: object, seconds: float = 60) -> str:
    """What a process of its own prints; one that hangs is killed, and is a failure."""
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), timeout=seconds)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bundle_of_bytes_is_like_the_file() -> None:
    by_path, by_bytes = Recommender.load(MODEL), Recommender.load(MODEL.read_bytes())
    history = by_path.bundle.items[1:30:3]
    assert list(by_bytes.recommend(history)) == list(by_path.recommend(history))
    assert by_bytes.bundle.golden() == by_path.bundle.golden()
    assert by_bytes.bundle.card() == by_path.bundle.card()
    with pytest.raises(BundleError, match="not a TFLite file"):
        Recommender.load(b"something else")


def test_a_file_may_be_removed_while_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(MODEL.read_bytes())
    recommender = Recommender.load(tmp_path / "m.tflite")
    expected = list(recommender.recommend(["1029743"]))
    (tmp_path / "m.tflite").write_bytes(b"")
    (tmp_path / "m.tflite").unlink()
    assert list(recommender.recommend(["1029743"])) == expected
    assert recommender.bundle.golden()


def test_a_closed_recommender_says_so() -> None:
    with Recommender.load(toys()["linked"]) as recommender:
        assert recommender.recommend(["i1"])
        state = recommender.advance(recommender.new_state(), "i1")
    for call in (
        lambda: recommender.recommend(["i1"]),
        lambda: recommender.score(["i1"], ["i2"]),
        lambda: recommender.similar("i1"),
        lambda: recommender.advance(state, "i2"),
        lambda: recommender.recommend_from_state(state),
        lambda: recommender.item_scores([1]),
    ):
        with pytest.raises(RuntimeError, match=r"linked\.tflite: the bundle was closed; load it again"):
            call()
    recommender.close()  # once more does no harm
    assert recommender.bundle.items[1] == "i1"


def test_close_waits_for_the_calls_of_other_threads() -> None:
    recommender = Recommender.load(MODEL)
    history = recommender.bundle.items[1:20]
    outcomes: list[int | str] = []

    def call() -> None:
        try:
            while True:
                outcomes.append(len(recommender.recommend(history)))
        except RuntimeError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 20:
        pass
    recommender.close()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert {o for o in outcomes if isinstance(o, int)} == {10}
    assert sum("closed" in str(outcome) for outcome in outcomes) == 4


# Threads call without a pause, so that most forks fall into a call. Each child must answer right, and end.
FORKS = """
import os, sys, threading, time
from device_runner import Recommender
path, backend, interpreter_threads, forks = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
recommender = Recommender.load(path, backend, interpreter_threads)
other = Recommender.load(path, backend, interpreter_threads)
history = recommender.bundle.items[1:9]
expected = list(recommender.recommend(history, 5))
stop = threading.Event()
def work():
    while not stop.is_set():
        recommender.recommend(history, 5)
workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers: worker.start()
right, busy = 0, 0
for turn in range(forks):
    time.sleep(0.002)
    child = os.fork()
    if not child:
        code = 0
        for used in (recommender, other) if turn % 3 else (other,):
            for _ in range(3):
                code |= list(used.recommend(history, 5)) != expected
        if turn % 2:
            sys.exit(code)  # all objects are deleted
        os._exit(code)
    deadline = time.time() + 20
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            right += status == 0
            break
        if time.time() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            break
        time.sleep(0.001)
stop.set()
for worker in workers: worker.join()
print(right, list(recommender.recommend(history, 5)) == expected, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_forked_processes_go_on_recommending(backend: str, threads: int) -> None:
    path = MODEL if backend == "litert" else toys()["recurrent"]  # the zoo's file is for litert
    assert output_of(FORKS, path, backend, threads, 12, seconds=280) == "12 True\n"


# A fork while the lock is held for certain.
FORK_IN_A_CALL = """
import os, sys
from device_runner import Recommender
recommender = Recommender.load(sys.argv[1], sys.argv[2])
closed = Recommender.load(sys.argv[1], sys.argv[2])
closed.close()
expected = list(recommender.recommend(["i1", "i2"], 5))
recommender._loaded._lock.acquire()  # as another thread does in a call
child = os.fork()
if not child:
    if list(recommender.recommend(["i1", "i2"], 5)) != expected:
        os._exit(1)
    try:
        closed.recommend(["i1"])
    except RuntimeError:
        os._exit(0)
    os._exit(2)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_in_the_middle_of_a_call_does_not_block_the_child(backend: str) -> None:
    assert output_of(FORK_IN_A_CALL, toys()["recurrent"], backend) == "0\n"


class PublicRunner:
    """A ``SignatureRunner`` of a runtime that holds nothing of what the present ones hold."""

    def __init__(self, runner: object) -> None:
        self._hidden = runner

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return self._hidden(**inputs)  # type: ignore[operator]

    def get_input_details(self) -> dict[str, dict[str, object]]:
        return self._hidden.get_input_details()  # type: ignore[attr-defined]

    def get_output_details(self) -> dict[str, dict[str, object]]:
        return self._hidden.get_output_details()  # type: ignore[attr-defined]


def test_a_runtime_that_hides_its_inner_parts_is_called_by_its_public_way(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Recommender.load(toys()["linked"])
    history = ["i1", "i2", "i3"]
    made = Signature.__init__
    monkeypatch.setattr(Signature, "__init__", lambda self, runner: made(self, PublicRunner(runner)))
    public = Recommender.load(toys()["linked"])
    assert public._loaded._signatures["recommend"]._wrapper is None  # type: ignore[index]
    assert list(public.recommend(history, 4, explain=True)) == list(direct.recommend(history, 4, explain=True))
    state = public.advance(public.new_state(), "i1")
    assert list(public.recommend_from_state(state)) == list(direct.recommend_from_state(state))


# The two ways, one after the other on each input, of all signatures in turn.
BOTH_WAYS = """
import sys
import numpy as np
from device_runner import Recommender
recommender = Recommender.load(sys.argv[1], sys.argv[2])
signatures, rng, same = recommender._loaded._signatures, np.random.default_rng(0), True
for turn in range(60):
    for name, signature in signatures.items():
        inputs = {}
        for given, shape in signature.input_shapes().items():
            whole = signature.input_dtypes()[given] == "int32"
            inputs[given] = rng.integers(0, 6, shape, np.int32) if whole else rng.normal(size=shape).astype(np.float32)
        assert signature._wrapper is not None
        mine, theirs = signature.run(inputs), signature._runner(**inputs)
        same &= mine.keys() == theirs.keys() and all((mine[key] == theirs[key]).all() for key in theirs)
print(same)
"""


@pytest.mark.parametrize("name", ["linked", "recurrent"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_direct_way_gives_what_the_public_one_gives(name: str, backend: str) -> None:
    assert output_of(BOTH_WAYS, toys()[name], backend) == "True\n"


def test_inputs_of_another_shape_type_or_name_are_refused() -> None:
    recommender = Recommender.load(toys()["plain"])
    right = recommender.inputs([1, 2])
    for wrong in (
        {**right, "history": right["history"][:, 1:]},
        {**right, "history": right["history"].astype(np.float32)},
        {"history": right["history"]},
        {**right, "more": right["history"]},
    ):
        with pytest.raises((ValueError, RuntimeError)):
            recommender.invoke(wrong)
    assert recommender.invoke(right)["ids"].shape == (1, 5)  # nothing is left behind
