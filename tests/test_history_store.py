"""The history store: durable, bounded, private, shared by threads and processes; the state of a model beside it."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from kill_history import kill_writers
from toys import toys

from device_runner import Event, History, HistoryError, Recommender
from device_runner.child_process import child_environment
from device_runner.cli import main
from device_runner.history import read_events
from device_runner.kept_state import LONGEST, kept_state, recommend_stored


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "user.db"


@pytest.fixture(scope="module")
def recurrent() -> Recommender:
    return Recommender.load(toys()["recurrent"])


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def stepped(recommender: Recommender, items: list[str], user: dict[str, object] | None = None) -> np.ndarray:
    state = recommender.new_state(user)
    for item in items:
        state = recommender.advance(state, item)
    return state.values


def covered(database: Path) -> int | None:
    """How many events the kept state has read."""
    with closing(sqlite3.connect(database)) as db:
        row = db.execute("SELECT covered FROM state").fetchone()
    return row and row[0]


def ids(*rows: int) -> list[str]:
    return [f"i{row}" for row in rows]


def test_events_come_back_in_order_of_time_and_of_adding(database: Path) -> None:
    with History(database) as history:
        history.add("b", time=20.5, type="view")
        history.extend([Event("a", 10), Event("c", 20.5), "now"])
        assert history.items() == ["a", "b", "c", "now"] and len(history) == 4
        assert history.items(last=2) == ["c", "now"]
        assert history.items(types=["view"]) == ["b"]
        assert history.events()[1] == Event("b", 20.5, "view")
        assert abs(history.events()[3].time - time.time()) < 60
    with History(database, create=False) as history:
        assert history.items() == ["a", "b", "c", "now"]


def test_a_clock_that_was_set_back_does_not_change_the_order(database: Path) -> None:
    with History(database) as history:
        history.add("first", time=time.time() + 1e6)
        history.add("second")
        assert history.items() == ["first", "second"]


@pytest.mark.parametrize(
    ("item", "when", "error"),
    [("", None, ValueError), (7, None, TypeError), ("a", float("nan"), ValueError), ("a", 1e300, ValueError),
     ("a", "1", TypeError), ("a", True, TypeError)],
)  # fmt: skip
def test_what_is_no_event_is_refused(database: Path, item: object, when: object, error: type[Exception]) -> None:
    with History(database) as history:
        with pytest.raises(error):
            history.add(item, when)
        with pytest.raises(error):
            history.extend(["good", *[Event(item, when)]])
        assert history.items() == []


def test_only_the_last_events_and_days_are_kept(database: Path) -> None:
    with History(database, max_events=3) as history:
        history.extend(["a", "b", "c", "d"])
        history.add("e")
        assert history.items() == ["c", "d", "e"]
        assert history.extend([Event("old", 0.0)]) == 0
    with History(database) as history:
        assert history.limits == {"max_events": 3, "max_days": None}
        history.limit(max_days=2)
        assert history.extend([Event("old", time.time() - 3 * 86_400), Event("f", time.time() - 86_400)]) == 0
        history.limit(max_events=10)
        assert history.extend([Event("old", time.time() - 3 * 86_400), Event("f", time.time() - 86_400)]) == 1
        assert history.items() == ["f", "c", "d", "e"]
        for limit in ({"max_events": 0}, {"max_days": 0}, {"max_days": float("nan")}):
            with pytest.raises(ValueError, match="max_"):
                history.limit(**limit)


def test_events_expire_while_nothing_is_added(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with History(database, max_days=1) as history:
        history.extend(["a", "b"])
        now = time.time()
        monkeypatch.setattr("device_runner.history_store.clock.time", lambda: now + 86_500)
        assert history.items() == [] and len(history) == 0


def test_only_the_owner_can_read_the_files(database: Path) -> None:
    old = os.umask(0)
    try:
        with History(database) as history:
            history.add("a")
            files = sorted(database.parent.iterdir())
            assert [file.name for file in files] == ["user.db", "user.db-shm", "user.db-wal"]
            assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 3
            database.chmod(0o644)
        with History(database):
            assert database.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def test_clear_leaves_no_byte_of_the_events(database: Path) -> None:
    with History(database) as history, History(database) as another:
        history.extend([f"secret-{number}" for number in range(5000)])
        another.add("secret-more", type="private")
        assert b"secret-" in bytes_of(database.parent)
        history.clear()
        content = bytes_of(database.parent)
        assert b"secret-" not in content and b"private" not in content
        assert database.stat().st_size < 50_000
        assert another.items() == [] and another.limits["max_events"] == 10_000
        another.add("after")
        assert history.items() == ["after"]


def test_remove_leaves_no_byte_of_the_item(database: Path) -> None:
    with History(database) as history:
        history.extend(["keep", "secret-1", "keep", "secret-1"])
        assert history.remove("secret-1") == 2 and history.remove("secret-1") == 0
        assert history.items() == ["keep", "keep"]
        assert b"secret-" not in bytes_of(database.parent)


def test_clear_says_when_a_reader_keeps_the_bytes(database: Path) -> None:
    with History(database, timeout=0.2) as history:
        history.add("secret-1")
        with closing(sqlite3.connect(database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM events").fetchall()
            with pytest.raises(HistoryError, match="another process"):
                history.clear()
            reader.execute("COMMIT")
        history.clear()
        assert b"secret-" not in bytes_of(database.parent)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE events (item TEXT)")
        db.commit()


def newer(path: Path) -> None:
    History(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def truncated(path: Path) -> None:
    with History(path) as history:
        history.extend([f"item-{number}" for number in range(2000)])
    path.write_bytes(path.read_bytes()[:9000])


def overwritten(path: Path) -> None:
    with History(path) as history:
        history.extend([f"item-{number}" for number in range(2000)])
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x5a" * (len(content) - 4096))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "not a history store"),
        (lambda path: path.write_text("item_id\n1\n" * 100), "not a history store"),
        (lambda path: path.mkdir(), "a folder"),
        (foreign, "another program's SQLite file"),
        (newer, "version 99, this edgerec reads up to 1; upgrade"),
        (truncated, "damaged history store"),
        (overwritten, "damaged history store"),
    ],
)
def test_a_file_that_is_no_sound_store_is_refused_in_one_line(database: Path, spoil, said: str) -> None:
    spoil(database)
    shown = call("history", "list", database, code=1)
    assert shown.startswith(f"Error: {database}: ") and said in shown and shown.count("\n") == 1
    shown = call("history", "add", database, "x", code=1)
    assert said in shown and shown.count("\n") == 1


def test_a_store_that_is_locked_for_long_is_an_error_in_words(database: Path) -> None:
    with History(database, timeout=0.1) as history:
        with closing(sqlite3.connect(database, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(HistoryError, match=r"another process has been writing .* for 0.1 seconds"):
                history.add("a")
            writer.execute("ROLLBACK")
        history.add("b")
        assert history.items() == ["b"]


def test_threads_and_processes_write_to_one_store(database: Path) -> None:
    program = (
        "import sys; from device_runner import History\n"
        "history = History(sys.argv[1])\n"
        "for number in range(40): history.add(f'{sys.argv[2]}-{number}')"
    )
    command = [sys.executable, "-c", program, str(database)]
    processes = [subprocess.Popen([*command, f"p{number}"], env=child_environment()) for number in range(3)]
    with History(database) as history:

        def write(name: str) -> None:
            for number in range(40):
                history.add(f"{name}-{number}")

        threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for one in [*threads, *processes]:
            one.join() if isinstance(one, threading.Thread) else one.wait()
        items = history.items()
    for name in ("p0", "p1", "p2", "t0", "t1", "t2"):
        assert [item for item in items if item.startswith(name)] == [f"{name}-{number}" for number in range(40)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_has_a_connection_of_its_own(database: Path) -> None:
    program = (
        "import os, sys; from device_runner import History\n"
        "history = History(sys.argv[1]); history.add('before')\n"
        "child = os.fork()\n"
        "for number in range(20): history.add(f'{bool(child)}-{number}')\n"
        "if not child: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert len(history) == 41, len(history)"
    )
    subprocess.run([sys.executable, "-c", program, str(database)], check=True, env=child_environment())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.slow
def test_killed_writers_lose_no_acknowledged_event(tmp_path: Path) -> None:
    assert kill_writers(tmp_path, kills=8, seed=int(time.time())) > 8


@pytest.mark.parametrize("form", ["csv", "json"])
def test_an_export_is_imported_unchanged(tmp_path: Path, form: str) -> None:
    events = [Event("a,b", 1.000001, "x"), Event("ü\n", 1e9 + 1 / 3), Event("1", -5.5, '"'), Event("2", 253402300798.5)]
    first, second, file = tmp_path / "1.db", tmp_path / "2.db", tmp_path / f"out.{form}"
    with History(first) as history:
        history.extend(events)
        kept = history.events()
    call("history", "export", first, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "4 events added" in call("history", "import", second, file)
    with History(second) as history:
        assert history.events() == kept
    assert [event.item for event in read_events(file)] == [event.item for event in kept]


def test_times_of_a_file_may_be_seconds_or_iso(tmp_path: Path) -> None:
    file = tmp_path / "h.csv"
    file.write_text("time,item_id\n12.5,a\n1970-01-01T00:00:13Z,b\n1970-01-01 01:00:14+01:00,c\n1970-01-02,d\n,e\n")
    assert [event.time for event in read_events(file)] == [12.5, 13, 14, 86_400, None]
    file.write_text("time,item_id\nyesterday,a\n")
    with pytest.raises(HistoryError, match=r"h.csv: line 2: the time 'yesterday' is neither"):
        read_events(file)


def test_the_commands_tell_what_they_did(database: Path) -> None:
    assert "no such file" in call("history", "list", database, code=1)
    call("history", "add", database, "i1", "i2", "--type", "view", "--time", "1970-01-01T00:00:01Z")
    assert call("history", "list", database).splitlines()[0] == "1970-01-01T00:00:01Z         i1            view"
    document = json.loads(call("history", "list", database, "--json", "--last", 1))
    assert document["events"] == [{"item_id": "i2", "time": "1970-01-01T00:00:01Z", "type": "view"}]
    assert call("history", "remove", database, "i1") == "events removed: 1\n"
    assert "not stored" not in call("history", "add", database, "i3", "--max-events", 1)
    assert "1 of 1 events are beyond the store's limits" in call("history", "add", database, "i4", "--time", "5")
    assert "neither seconds" in call("history", "add", database, "i4", "--time", "soon", code=2)
    assert "1 events erased" in call("history", "clear", database, "--yes")


def test_sqlite_is_not_loaded_without_a_store() -> None:
    program = f"""
import sys
from device_runner.cli import main
try:
    main(["recommend", {str(toys()["recurrent"])!r}, "--history", "/dev/stdin"])
finally:
    assert "sqlite3" not in sys.modules
    import device_runner
    assert device_runner.History and "sqlite3" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], input="i1\n", text=True, check=True, env=child_environment())


def test_the_kept_state_is_that_of_stepping_through_the_events(database: Path, recurrent: Recommender) -> None:
    with History(database) as history:
        items = []
        for turn, item in enumerate([*ids(3, 9, 4), "unknown", *ids(7, 1, 1, 30, 12, 5, 6)]):
            history.add(item)
            items.append(item)
            assert np.array_equal(kept_state(history, recurrent).values, stepped(recurrent, items)), turn
        assert covered(database) == 10


def test_a_new_event_costs_one_step(database: Path, recurrent: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    with History(database) as history:
        history.extend(ids(*range(1, 9)))
        kept_state(history, recurrent)
        rows = []
        whole = Recommender.advance_row
        monkeypatch.setattr(Recommender, "advance_row", lambda self, s, row: rows.append(row) or whole(self, s, row))
        history.add("i20")
        kept_state(history, recurrent)
        kept_state(history, recurrent)
        assert rows == [20]


def test_a_new_state_gives_the_list_of_recommend(database: Path, recurrent: Recommender) -> None:
    with History(database) as history:
        history.extend([*ids(*range(1, 30)), "unknown"])
        items = history.items()
        for more in ({}, {"exclude": ["i3"]}, {"exclude_history": False}):
            found = recommend_stored(recurrent, history, 5, **more)
            expected = recurrent.recommend(items, 5, **more)
            assert [entry.item for entry in found] == [entry.item for entry in expected]
            assert np.allclose([e.score for e in found], [e.score for e in expected], atol=1e-5)
            assert found.unknown == expected.unknown == 1 and found.source == "model"
        assert covered(database) == recurrent.contract.max_history


def test_another_model_computes_the_state_anew(database: Path, recurrent: Recommender) -> None:
    another = Recommender.load(toys()["another"])
    with History(database) as history:
        history.extend(ids(*range(1, 7)))
        first = kept_state(history, recurrent)
        second = kept_state(history, another)
        assert second.fingerprint == another.bundle.fingerprint != first.fingerprint
        assert np.array_equal(second.values, stepped(another, history.items()))
        assert np.array_equal(kept_state(history, recurrent).values, first.values)


def test_other_user_features_or_types_compute_the_state_anew(database: Path) -> None:
    told = Recommender.load(toys()["told"])
    with History(database) as history:
        history.extend([Event("i1", 1, "view"), Event("i2", 2, "buy")])
        for user in ({"gender": "F"}, {"gender": "M"}, {}):
            state = kept_state(history, told, user)
            assert np.array_equal(state.values, stepped(told, ["i1", "i2"], user))
        assert np.array_equal(kept_state(history, told, types=["buy"]).values, stepped(told, ["i2"]))


def test_a_removed_event_is_forgotten_by_the_state(database: Path, recurrent: Recommender) -> None:
    with History(database) as history:
        history.extend(ids(1, 2, 3))
        kept_state(history, recurrent)
        history.remove("i2")
        assert covered(database) is None
        assert np.array_equal(kept_state(history, recurrent).values, stepped(recurrent, ids(1, 3)))
        history.clear()
        assert covered(database) is None and kept_state(history, recurrent).empty
        assert recommend_stored(recurrent, history).source == "popularity"


def test_an_event_of_an_earlier_time_is_read_in_its_place(database: Path, recurrent: Recommender) -> None:
    with History(database) as history:
        history.extend([Event("i1", 10), Event("i3", 30)])
        kept_state(history, recurrent)
        history.add("i2", 20)
        assert np.array_equal(kept_state(history, recurrent).values, stepped(recurrent, ids(1, 2, 3)))


def test_in_a_full_store_the_state_forgets_with_it(database: Path, recurrent: Recommender) -> None:
    """A state that has read a removed event is computed anew, from the last ``max_history`` ones."""
    length = recurrent.contract.max_history
    with History(database, max_events=12) as history:
        for turn in range(60):
            history.add(f"i{turn % 37 + 1}")
            state = kept_state(history, recurrent)
            read = covered(database)
            assert min(turn + 1, length) <= read <= 12
            assert np.array_equal(state.values, stepped(recurrent, history.items(last=read)))


def test_a_state_that_has_read_long_begins_again(database: Path, recurrent: Recommender) -> None:
    length, most = recurrent.contract.max_history, 0
    with History(database) as history:
        for turn in range(6 * length):
            history.add(f"i{turn % 37 + 1}")
            state = kept_state(history, recurrent)
            most = max(most, read := covered(database))
            assert np.array_equal(state.values, stepped(recurrent, history.items(last=read)))
    assert most == LONGEST * length


def test_a_state_is_not_kept_over_a_removal_in_between(database: Path, recurrent: Recommender) -> None:
    with History(database) as history, History(database) as another:
        history.extend(ids(1, 2, 3))
        kept_state(history, recurrent)
        found = history.snapshot(None)
        with closing(sqlite3.connect(database)) as db:
            key = db.execute("SELECT key FROM state").fetchone()[0]
        kept = history.snapshot(key).state
        another.remove("i2")
        assert not history.keep(kept, found.edits)
        assert covered(database) is None


def test_damaged_bytes_of_a_state_are_computed_anew(database: Path, recurrent: Recommender) -> None:
    with History(database) as history:
        history.extend(ids(1, 2, 3))
        kept_state(history, recurrent)
        with closing(sqlite3.connect(database)) as db:
            db.execute("UPDATE state SET content = x'00'")
            db.commit()
        assert np.array_equal(kept_state(history, recurrent).values, stepped(recurrent, ids(1, 2, 3)))


def test_recommend_reads_the_store(database: Path) -> None:
    call("history", "add", database, *ids(*range(1, 12)), "unknown")
    for name in ("recurrent", "plain"):
        model = toys()[name]
        file = database.with_suffix(".csv")
        call("history", "export", database, file)
        by_store = json.loads(call("recommend", model, "--history-db", database, "-k", 4, "--json"))
        by_file = json.loads(call("recommend", model, "--history", file, "-k", 4, "--json"))
        assert by_store["unknown"] == 1 and by_store["events"] == 12
        assert [e["item"] for e in by_store["recommendations"]] == [e["item"] for e in by_file["recommendations"]]
    assert covered(database) == 8
    for wrong in ([], ["--history", file, "--history-db", database]):
        assert "give the history by" in call("recommend", model, *wrong, code=2)


@pytest.mark.parametrize("limits", [{"max_days": float("nan")}, {"max_days": 1e300}, {"max_events": 10**30}])
def test_a_limit_beyond_reason_is_refused_and_makes_no_file(limits: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_"):
        History(tmp_path / "user.db", **limits)  # type: ignore[arg-type]
    assert not (tmp_path / "user.db").exists()


def test_an_item_that_is_no_valid_text_is_refused(tmp_path: Path) -> None:
    with History(tmp_path / "user.db") as history, pytest.raises(ValueError, match="not valid text"):
        history.add("\ud800")
