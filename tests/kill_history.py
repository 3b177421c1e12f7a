"""Kills writers of a history store with SIGKILL at random moments while others write on, and checks after each kill
that the file is sound, that no acknowledged event is lost, and that no removed one comes back.

``python tests/kill_history.py [KILLS]``: default 300, some minutes. A writer acknowledges by a line in its own file.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from device_runner.child_process import child_environment
from device_runner.history_store import Event, History, KeptState

WRITERS = 3


def write(database: Path, acknowledged: Path, name: str) -> None:
    """Add events one by one and in groups, remove some again, and keep a state, until killed."""
    chance = random.Random(name)
    descriptor = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    say = lambda sign, items: os.write(descriptor, "".join(f"{sign}{item}\n" for item in items).encode())  # noqa: E731
    number, mine = 0, []
    while True:
        with History(database) as store:
            for _ in range(chance.randint(1, 30)):
                group = [f"{name}.{number + more}" for more in range(chance.choice([1, 1, 1, 5]))]
                number += len(group)
                store.extend([Event(item, type="kill") for item in group])
                say("+", group)
                mine += group
                if chance.random() < 0.2:
                    item = mine.pop(chance.randrange(len(mine)))
                    say("?", [item])
                    assert store.remove(item) == 1
                    say("-", [item])
                if chance.random() < 0.2:
                    found = store.snapshot(None)
                    first, last = found.events[0][0], found.events[-1][0]
                    store.keep(KeptState("model", os.urandom(500), len(found.events), first, last), found.edits)


def start(folder: Path, name: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, __file__, "write", str(folder / "user.db"), str(folder / f"{name}.acknowledged"), name]
    return subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE)


def check(folder: Path) -> int:
    """The number of acknowledged events; all are there, and none that was removed.

    Raises:
        AssertionError: one is lost or has come back, or the file is damaged.
    """
    wanted: set[str] = set()
    unsure: set[str] = set()
    removed: set[str] = set()
    for file in folder.glob("*.acknowledged"):
        # Read before the store is: what is written later need not be in it. A killed writer may end within a line.
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                {"+": wanted, "?": unsure, "-": removed}[line[0]].add(line[1:-1])
    with closing(sqlite3.connect(folder / "user.db", timeout=60)) as db:
        found = {item for (item,) in db.execute("SELECT item FROM events")}
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    lost = wanted - unsure - found
    # What a living writer removes after its file was read is unsure here, too.
    for file in folder.glob("*.acknowledged"):
        lost -= {line[1:] for line in file.read_text().splitlines() if line.startswith("?")}
    assert not lost, f"lost: {sorted(lost)[:10]}"
    assert not removed & found, f"removed, but there: {sorted(removed & found)[:10]}"
    return len(wanted)


def begun(folder: Path, name: str, limit: float = 60.0) -> None:
    """Wait until a writer has acknowledged something: on a busy machine, that takes a while."""
    file, until = folder / f"{name}.acknowledged", time.monotonic() + limit
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < until, f"the writer {name} wrote nothing for {limit:g} seconds"
        time.sleep(0.005)


def kill_writers(folder: Path, kills: int, seed: int = 0, say: bool = False) -> int:
    """Kill a random writer ``kills`` times, each followed by a check; returns the number of acknowledged events."""
    chance, names = random.Random(seed), (f"w{number}" for number in range(10**9))
    History(folder / "user.db", max_events=10**9).close()
    living = [next(names) for _ in range(WRITERS)]
    writers = [start(folder, name) for name in living]
    checked = 0
    try:
        for kill in range(1, kills + 1):
            place = chance.randrange(WRITERS)
            if chance.random() < 0.8:  # else it may be killed while it starts
                begun(folder, living[place])
            time.sleep(chance.uniform(0, 0.3))
            os.kill(writers[place].pid, signal.SIGKILL)
            _, error = writers[place].communicate()
            assert writers[place].returncode == -signal.SIGKILL, error.decode()
            living[place] = next(names)
            writers[place] = start(folder, living[place])
            checked = check(folder)
            if say and kill % 25 == 0:
                print(f"{kill} kills, {checked:,} acknowledged events, none lost", flush=True)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    with History(folder / "user.db", create=False) as store:
        store.add("the end")
        assert store.items(last=1) == ["the end"]
    assert check(folder) >= checked
    return checked


def main() -> None:
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        start_time = time.monotonic()
        kills = int(sys.argv[1]) if len(sys.argv) > 1 else 300
        events = kill_writers(Path(folder), kills, say=True)
        seconds = time.monotonic() - start_time
    print(
        f"{kills} kills in {seconds:.0f} s: {events:,} acknowledged events, none lost; the database was sound each time"
    )


if __name__ == "__main__":
    main()
