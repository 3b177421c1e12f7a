"""Kills updates and rollbacks with SIGKILL, and checks each time that the device answers with the old or the new model.

``python tests/kill_update.py [KILLS]``: default 200, some minutes. The first kills are before each operation on a file
that an update does, one after another; the others at random moments. In between, updates run to their end, by whole
files and by deltas.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from converters.bundle_writer import with_facts
from device_runner import Bundle, Recommender
from device_runner.child_process import child_environment
from device_runner.delta import write_delta
from device_runner.signature import make_key, sign, signature_path, verify
from device_runner.update import rollback, update

MODEL = Path(__file__).parent.parent / "models" / "grocery" / "model.tflite"
RELEASES = (1, 2, 3)
FILE_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.link"})
WAYS = ("file", "delta", "rollback")
HISTORY = ["1029743", "995242"]


def release_path(folder: Path, release: int) -> Path:
    return folder / "releases" / f"{release}.tflite"


def prepare(folder: Path) -> None:
    """Signed releases of a model, deltas between them, and the first one in service."""
    (folder / "releases").mkdir()
    (folder / "device").mkdir()
    make_key(folder / "key.pem")
    for release in RELEASES:
        path = release_path(folder, release)
        path.write_bytes(with_facts(MODEL, {"release": release}))
        sign(path, folder / "key.pem")
    for old in RELEASES:
        for new in RELEASES:
            signed = signature_path(release_path(folder, new)).read_text()
            delta = folder / "releases" / f"{old}-{new}.delta"
            write_delta(release_path(folder, old), release_path(folder, new), delta, signed)
    update(folder / "device" / "model.tflite", release_path(folder, 1), folder / "key.pub.pem")


def work(folder: Path, seed: int, ways: list[str], last_event: int) -> None:
    """Update, by one of the ways at a time, until killed; with ``last_event`` above 0, once, and only up to that
    operation on a file.
    """
    chance, device = random.Random(seed), str(folder / "device")
    events = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal events
        if event in FILE_EVENTS and str(arguments[0]).startswith(device):
            events += 1
            if events == last_event:
                os.kill(os.getpid(), signal.SIGKILL)

    current, key = folder / "device" / "model.tflite", folder / "key.pub.pem"
    while True:
        old = Bundle.read(current).release
        new = chance.choice([release for release in RELEASES if release != old])
        source = folder / "releases" / f"{old}-{new}.delta"
        way = chance.choice(ways)
        if last_event:
            sys.addaudithook(watch)
        if way == "rollback":
            rollback(current, key)
        else:
            update(current, source if way == "delta" else release_path(folder, new), key, allow_downgrade=True)
        if last_event:
            return


def start(folder: Path, seed: int, ways: Sequence[str], last_event: int = 0) -> "subprocess.Popen[bytes]":
    command = [sys.executable, __file__, "work", str(folder), str(seed), ",".join(ways), str(last_event)]
    return subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE)


def check(folder: Path, answers: dict[str, list[str]]) -> str:
    """The hash of the model in service, which answers as it must and is signed; so is the previous one, if any.

    Raises:
        AssertionError: it does not.
    """
    current = folder / "device" / "model.tflite"
    found = hashlib.sha256(current.read_bytes()).hexdigest()
    assert found in answers, "the file in service is none of the releases"
    assert [one.item for one in Recommender.load(current).recommend(HISTORY)] == answers[found]
    verify(current, folder / "key.pub.pem")
    previous = current.with_name("model.tflite.previous")
    if previous.exists():
        assert hashlib.sha256(previous.read_bytes()).hexdigest() in answers, "the previous file is none of the releases"
    return found


def kill_updates(folder: Path, kills: int, seed: int = 0, step: int = 1, say: bool = False) -> tuple[int, int]:
    """Kill so many updates; returns how many of them had changed the model, and how many had been watched to a certain
    operation on a file.

    Args:
        step: kill before each operation, or before every so many-th.
    """
    prepare(folder)
    answers = {
        hashlib.sha256(path.read_bytes()).hexdigest(): [one.item for one in Recommender.load(path).recommend(HISTORY)]
        for path in (release_path(folder, release) for release in RELEASES)
    }
    chance, way, event = random.Random(seed), 0, 0
    changed = watched = 0
    for release in (2, 3):  # so that there is a previous one
        update(folder / "device" / "model.tflite", release_path(folder, release), folder / "key.pub.pem")
    before = check(folder, answers)
    for kill in range(1, kills + 1):
        if watching := way < len(WAYS):
            event += step
            worker = start(folder, seed + kill, [WAYS[way]], event)
            worker.wait(60)
            if worker.returncode == 0:  # it has no more operations
                way, event = way + 1, 0
        else:
            worker = start(folder, seed + kill, WAYS)
            time.sleep(chance.uniform(0.2, 2))
            worker.kill()
        _, error = worker.communicate()
        assert worker.returncode == -signal.SIGKILL or (watching and not worker.returncode), error.decode()
        watched += watching and worker.returncode != 0
        after = check(folder, answers)
        changed, before = changed + (after != before), after
        if say and kill % 25 == 0:
            print(f"{kill} kills; the model had changed {changed} times, and answered each time", flush=True)
    current, key = folder / "device" / "model.tflite", folder / "key.pub.pem"
    for release in (3, 1):
        update(current, release_path(folder, release), key, allow_downgrade=True)
    rollback(current, key)
    assert current.read_bytes() == release_path(folder, 3).read_bytes()
    check(folder, answers)
    names = {
        "model.tflite",
        "model.tflite.sig",
        "model.tflite.previous",
        "model.tflite.previous.sig",
        "model.tflite.lock",
    }
    assert {file.name for file in current.parent.iterdir()} == names
    return changed, watched


def main() -> None:
    if sys.argv[1:2] == ["work"]:
        work(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(","), int(sys.argv[5]))
        return
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    start_time = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        changed, watched = kill_updates(Path(folder), kills, say=True)
    print(
        f"{kills} kills in {time.monotonic() - start_time:.0f} s, {watched} of them before a certain operation on a "
        f"file: the device answered with the old or the new model each time; {changed} had changed it"
    )


if __name__ == "__main__":
    main()
