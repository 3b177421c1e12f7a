"""The history store: one user's events in an SQLite file on the device.

What ``add`` and ``extend`` have returned from is on the disk (WAL with ``synchronous=FULL``) and survives a kill or a
loss of power. Several threads and processes may use one store at a time; their writes wait for each other.

The file, and the two that SQLite keeps beside it (``-wal``, ``-shm``), can be read by their owner only. Deleted content
is overwritten with zeros. Nothing ever leaves the device by this module.
"""

import csv
import io
import json
import math
import os
import sqlite3
import tempfile
import threading
import time as clock
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device_runner.durable import sync_folder
from device_runner.errors import HistoryError, plain_reason

# "ERHS" in the header of the SQLite file says that it is a history store.
APPLICATION_ID = 0x45524853
SCHEMA_VERSION = 1
# About 1 MB. Far more than any model reads; what bounds the file, and what is left out of recommendations.
DEFAULT_MAX_EVENTS = 10_000
SECONDS_A_DAY = 86_400
MICROSECONDS = 1_000_000
# Far beyond any history; SQLite and clocks have limits of their own.
MOST_EVENTS, MOST_DAYS = 10**9, 3_650_000.0
# The years 1 to 9999, which are what ISO 8601 texts can say: in seconds from 1970.
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
SQLITE_HEADER = b"SQLite format 3\0"
EXPORT_FORMATS = ("csv", "json")

# Events are in order of (time, seq). ``edits`` counts what can make a kept state wrong: a removed event, or one that
# was put before others. The triggers delete such a state in the transaction that does it.
SCHEMA = f"""
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    item TEXT NOT NULL,
    time INTEGER NOT NULL,  -- microseconds from 1970, UTC
    type TEXT NOT NULL
);
CREATE INDEX events_in_order ON events (time, seq);
CREATE TABLE settings (name TEXT PRIMARY KEY, value REAL) WITHOUT ROWID;
INSERT INTO settings VALUES ('max_events', {DEFAULT_MAX_EVENTS}), ('max_days', NULL), ('edits', 0);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key TEXT NOT NULL,
    content BLOB NOT NULL,
    covered INTEGER NOT NULL,
    first_time INTEGER NOT NULL, first_seq INTEGER NOT NULL,
    last_time INTEGER NOT NULL, last_seq INTEGER NOT NULL
);
CREATE TRIGGER event_removed AFTER DELETE ON events BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'edits';
    DELETE FROM state WHERE (old.time, old.seq) >= (first_time, first_seq);
END;
CREATE TRIGGER event_put_before_others AFTER INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE time > new.time) BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'edits';
    DELETE FROM state WHERE (new.time, new.seq) < (last_time, last_seq);
END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


@dataclass(frozen=True)
class Event:
    """One event of the user.

    Attributes:
        item: raw item id.
        time: seconds from 1970-01-01 UTC, kept to the microsecond; ``None`` for an event to add: now.
        type: what happened, such as ``"purchase"``; ``""`` where it is of no interest.

    Raises:
        TypeError, ValueError: the item is not a text or empty, the time is not a number of the years 1 to 9999.
    """

    item: str
    time: float | None = None
    type: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.item, str) or not isinstance(self.type, str):
            raise TypeError(f"the item {self.item!r} and the type {self.type!r} of an event must be texts")
        if not self.item:
            raise ValueError("an event has an empty item id")
        for text in (self.item, self.type):
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise ValueError(f"an event has {text!r}, which is not valid text")
        if self.time is not None:
            if isinstance(self.time, bool) or not isinstance(self.time, int | float):
                raise TypeError(f"the time of an event is {self.time!r}, not seconds from 1970")
            if not math.isfinite(self.time) or not EARLIEST <= self.time <= LATEST:
                raise ValueError(
                    f"the time of an event is {self.time}, not seconds from 1970 within the years 1 to 9999"
                )

    def to_json(self) -> dict[str, str]:
        """As exported: ``item_id``, ``time`` (ISO 8601, UTC; ``""`` without one) and ``type``."""
        when = "" if self.time is None else datetime.fromtimestamp(self.time, UTC).isoformat().replace("+00:00", "Z")
        return {"item_id": self.item, "time": when, "type": self.type}


@dataclass(frozen=True)
class Position:
    """The place of an event in the order of all."""

    time: int
    seq: int


@dataclass(frozen=True)
class KeptState:
    """The state of a model after some of the store's events.

    Attributes:
        key: what the state depends on besides the events: the model, its user features, the types of event.
        content: the state as bytes.
        covered: how many events of the catalogue it has read.
        first, last: places of the first and the last event that it has read; it has read all of its types between them.
    """

    key: str
    content: bytes
    covered: int
    first: Position
    last: Position


@dataclass(frozen=True)
class Snapshot:
    """What the store held at one moment, for the one who keeps the state.

    Attributes:
        state: the kept state for the key that was asked for, if there is one.
        events: the events that it has not read, with their places, oldest first; without a state, all.
        edits: see :meth:`History.keep`.
    """

    state: KeptState | None
    events: Sequence[tuple[Position, str]]
    edits: int


class History:
    """The events of one user, in a file. Threads may share it, and other processes may open the same file.

    >>> with History("user.db") as history:                       # doctest: +SKIP
    ...     history.add("1029743", type="purchase")
    ...     recommender.recommend(history.items(), k=5)

    Args:
        path: the file; it is made if there is none.
        max_events: keep the last so many events (new stores: 10,000). Default: as the store was told before.
        max_days: keep only events of the last so many days, by the device's clock. Default: as told before, at first
            without a limit.
        timeout: seconds to wait for other writers.
        create: make the file if there is none.

    Raises:
        HistoryError: the file is not a history store, is damaged or of a newer version, or there is none to open.
        ValueError: a limit is not positive.
    """

    def __init__(
        self,
        path: str | Path,
        max_events: int | None = None,
        max_days: float | None = None,
        timeout: float = 30.0,
        create: bool = True,
    ) -> None:
        self.path = Path(path)
        self._timeout = timeout
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._closed = False
        _check_limits(max_events, max_days)  # before a file is made
        self._check_file(create)
        with self._reading() as db:
            self._check_schema(db)
        if max_events is not None or max_days is not None:
            self.limit(max_events, max_days)

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of events."""
        self._expire()
        with self._reading() as db:
            return int(_value(db, "SELECT count(*) FROM events"))

    def close(self) -> None:
        """Close the file. A closed store cannot be used again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection, self._closed = None, True

    def add(self, item: str, time: float | None = None, type: str = "") -> None:
        """Add one event. When this returns, it is on the disk.

        Args:
            item: raw item id.
            time: seconds from 1970-01-01 UTC. Default: now, or the time of the newest event if that is later, so that
                a device whose clock was set back keeps the order.
            type: such as ``"purchase"`` or ``"view"``.

        Raises:
            TypeError, ValueError: the event is not of this form (see :class:`Event`).
            HistoryError: it cannot be written.
        """
        self.extend([Event(item, time, type)])

    def extend(self, events: Iterable[Event | str]) -> int:
        """Add events, oldest first, all or none; texts are items of now. When this returns, they are on the disk.

        Returns:
            How many of them the store's limits keep.

        Raises:
            TypeError, ValueError: an event is not of the form (see :class:`Event`).
            HistoryError: they cannot be written.
        """
        if isinstance(events, str | bytes):
            raise TypeError(f"events is one text, {events!r}; pass a list")
        ready = [event if isinstance(event, Event) else Event(event) for event in events]
        if not ready:
            return 0
        with self._writing() as db:
            newest = _value(db, "SELECT max(time) FROM events")
            now = max(_microseconds(clock.time()), newest if newest is not None else -(2**62))
            last = _value(db, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'") or 0
            db.executemany(
                "INSERT INTO events (item, time, type) VALUES (?, ?, ?)",
                ((e.item, now if e.time is None else _microseconds(e.time), e.type) for e in ready),
            )
            self._trim(db)
            return int(_value(db, "SELECT count(*) FROM events WHERE seq > ?", last))

    def events(self, last: int | None = None, types: Iterable[str] | None = None) -> list[Event]:
        """The events, oldest first.

        Args:
            last: only so many of the newest ones.
            types: only events of these types.
        """
        self._expire()
        with self._reading() as db:
            where, given = _of_types(types)
            newest = db.execute(
                f"SELECT item, time, type FROM events {where} ORDER BY time DESC, seq DESC LIMIT ?",
                (*given, -1 if last is None else min(max(last, 0), MOST_EVENTS)),
            ).fetchall()
        return [Event(item, time / MICROSECONDS, type) for item, time, type in reversed(newest)]

    def items(self, last: int | None = None, types: Iterable[str] | None = None) -> list[str]:
        """The raw item ids of :meth:`events`, ready for ``Recommender.recommend``."""
        return [event.item for event in self.events(last, types)]

    def remove(self, item: str) -> int:
        """Remove every event of an item, and the kept state if it has read one; returns how many there were.

        Raises:
            HistoryError: it cannot be written.
        """
        with self._writing() as db:
            removed = db.execute("DELETE FROM events WHERE item = ?", (item,)).rowcount
        if removed:
            self._empty_log()
        return removed

    def clear(self) -> None:
        """Erase all events and the kept state, and their bytes from the files.

        Content is overwritten with zeros, the file is packed, and the log of writes is cut to nothing. What a flash
        memory or a file system keeps of overwritten blocks is beyond the reach of a program.

        Raises:
            HistoryError: it cannot be written; or all is deleted, but another process that reads the store at this
                moment keeps the log of writes from being cut.
        """
        with self._writing() as db:
            db.execute("DELETE FROM events")
            db.execute("DELETE FROM state")
            # The next number says how many events there were.
            db.execute("DELETE FROM sqlite_sequence")
        with self._opened() as db:
            db.execute("VACUUM")
        self._empty_log()

    def export(self, format: str = "csv") -> str:
        """All events as text: CSV with the columns item_id, time and type, or a JSON list of such objects. ``extend``
        of what :func:`device_runner.history.read_events` reads from it gives the same events.

        Raises:
            ValueError: the format is neither ``"csv"`` nor ``"json"``.
        """
        if format not in EXPORT_FORMATS:
            raise ValueError(f"the format is {format!r}, not one of {', '.join(EXPORT_FORMATS)}")
        rows = [event.to_json() for event in self.events()]
        if format == "json":
            return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["item_id", "time", "type"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    @property
    def limits(self) -> dict[str, float | None]:
        """``max_events`` and ``max_days``, as the file keeps them."""
        with self._reading() as db:
            return {"max_events": int(_setting(db, "max_events") or 0), "max_days": _setting(db, "max_days")}

    def limit(self, max_events: int | None = None, max_days: float | None = None) -> None:
        """Set how much is kept, and remove what is beyond it; ``None`` leaves a limit as it is.

        Raises:
            ValueError: a limit is not positive, or above ``MOST_EVENTS`` or ``MOST_DAYS``.
        """
        _check_limits(max_events, max_days)
        with self._writing() as db:
            for name, value in (("max_events", max_events), ("max_days", max_days)):
                if value is not None:
                    db.execute("UPDATE settings SET value = ? WHERE name = ?", (value, name))
            self._trim(db)

    def snapshot(self, key: str | None, types: Iterable[str] | None = None) -> Snapshot:
        """The kept state of ``key`` with the events that it has not read, all of one moment; with ``None``, no state
        and all events.
        """
        self._expire()
        with self._reading() as db:
            db.execute("BEGIN")
            try:
                edits = int(_setting(db, "edits") or 0)
                row = db.execute(
                    "SELECT key, content, covered, first_time, first_seq, last_time, last_seq FROM state WHERE key = ?",
                    (key,),
                ).fetchone()
                state = None if row is None else _kept(row)
                after = (state.last.time, state.last.seq) if state else (-(2**63), 0)
                where, given = _of_types(types, "AND")
                events = db.execute(
                    f"SELECT time, seq, item FROM events WHERE (time, seq) > (?, ?) {where} ORDER BY time, seq",
                    (*after, *given),
                ).fetchall()
            finally:
                db.execute("COMMIT")
        return Snapshot(state, [(Position(time, seq), item) for time, seq, item in events], edits)

    def keep(self, state: KeptState, edits: int) -> bool:
        """Keep a state that was computed from a snapshot, in place of any other.

        Args:
            edits: those of the snapshot.

        Returns:
            Whether it was kept: not if an event was removed, or put before others, since the snapshot, or if another
            process has kept a state of the same key that has read more.
        """
        with self._writing() as db:
            if int(_setting(db, "edits") or 0) != edits:
                return False
            first, last = state.first, state.last
            newer = "SELECT 1 FROM state WHERE key = ? AND (last_time, last_seq) > (?, ?)"
            if db.execute(newer, (state.key, last.time, last.seq)).fetchone():
                return False
            db.execute(
                "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                (state.key, state.content, state.covered, first.time, first.seq, last.time, last.seq),
            )
            return True

    def _trim(self, db: sqlite3.Connection) -> None:
        """Within a transaction: remove what is beyond the limits."""
        oldest = self._oldest(db)
        if oldest is not None:
            db.execute("DELETE FROM events WHERE time < ?", (oldest,))
        db.execute(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY time DESC, seq DESC LIMIT -1 OFFSET ?)",
            (int(_setting(db, "max_events") or DEFAULT_MAX_EVENTS),),
        )

    def _expire(self) -> None:
        """Remove events that have become too old, if there are any."""
        with self._reading() as db:
            oldest = self._oldest(db)
            if oldest is None or _value(db, "SELECT 1 FROM events WHERE time < ? LIMIT 1", oldest) is None:
                return
        with self._writing() as db:
            self._trim(db)

    @staticmethod
    def _oldest(db: sqlite3.Connection) -> int | None:
        """The time of the oldest event that is kept, if there is a limit."""
        days = _setting(db, "max_days")
        return None if days is None else _microseconds(clock.time() - days * SECONDS_A_DAY)

    def _empty_log(self) -> None:
        """Move the log of writes into the file and cut it to nothing: it holds what was deleted.

        Raises:
            HistoryError: another process reads the store all the time.
        """
        until = clock.monotonic() + self._timeout
        while True:
            with self._opened() as db:
                busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if not busy:
                return
            if clock.monotonic() > until:
                raise HistoryError(
                    f"{self.path}: the events are deleted, but another process is reading the store, so that their "
                    "bytes stay in the file -wal for now; stop it and do this again"
                )
            clock.sleep(0.01)

    def _check_file(self, create: bool) -> None:
        """Make the file if there is none, and see that it is one of SQLite that only its owner can read."""
        path = self.path
        if path.is_dir():
            raise HistoryError(f"{path}: a folder, not a history store")
        if not path.exists():
            if not create:
                raise HistoryError(f"{path}: no such file; the first event makes it: edgerec-device history add")
            if not path.parent.is_dir():
                raise HistoryError(f"{path}: there is no folder {path.parent}")
            with self._explained():
                self._make_file()
        with path.open("rb") as file:
            if file.read(len(SQLITE_HEADER)) != SQLITE_HEADER:
                raise HistoryError(f"{path}: not a history store (no SQLite file); name another file")
        for one in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            with suppress(OSError):  # another user's, or gone meanwhile
                if one.stat().st_mode & 0o077:
                    one.chmod(0o600)

    def _make_file(self) -> None:
        """Make an empty store under another name and link it to its own: nobody ever sees a half-made one."""
        folder = self.path.absolute().parent
        # Only its owner can read it; SQLite gives the files beside it the same mode.
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".tmp", dir=folder)
        os.close(descriptor)
        made = Path(name)
        try:
            db = sqlite3.connect(name, isolation_level=None)
            try:
                db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
                db.execute("PRAGMA journal_mode = WAL")
            finally:
                db.close()
            with suppress(FileExistsError):  # another process was faster
                try:
                    os.link(made, self.path)
                except PermissionError:  # a file system without links, such as that of memory cards
                    if not self.path.exists():
                        made.rename(self.path)
            sync_folder(folder)
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                made.with_name(made.name + end).unlink(missing_ok=True)

    def _check_schema(self, db: sqlite3.Connection) -> None:
        if _value(db, "PRAGMA application_id") != APPLICATION_ID:
            raise HistoryError(f"{self.path}: not a history store (another program's SQLite file); name another file")
        version = int(_value(db, "PRAGMA user_version"))
        if version > SCHEMA_VERSION:
            raise HistoryError(
                f"{self.path}: history store of version {version}, this edgerec reads up to {SCHEMA_VERSION}; "
                "upgrade with: pip install -U edgerec"
            )
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not {"events", "settings", "state"} <= tables:
            raise HistoryError(f"{self.path}: damaged history store (a table is missing); restore a copy or delete it")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone, with SQLite's errors as ``HistoryError``."""
        if self._process != os.getpid():  # after a fork, SQLite's connection must not be used, nor even closed
            self._lock = threading.RLock()
            _inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
        with self._lock, self._explained():
            if self._closed:
                raise HistoryError(f"{self.path}: the history store is closed")
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection

    _reading = _opened

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block has ended, or undone when it fails."""
        with self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path.absolute(), timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("synchronous = FULL", "fullfsync = ON", "secure_delete = ON", "temp_store = MEMORY"):
                db.execute(f"PRAGMA {pragma}")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of SQLite in words."""
        try:
            yield
        except sqlite3.Error as error:
            raise HistoryError(f"{self.path}: {self._explain(error)}") from None

    def _explain(self, error: sqlite3.Error) -> str:
        text = str(error)
        if "locked" in text or "busy" in text:
            return f"another process has been writing to the history store for {self._timeout:g} seconds; try again"
        if "full" in text:
            return "the event was not stored: no space is left on the disk"
        if "readonly" in text or "unable to open" in text:
            return f"the history store cannot be written ({text}); see the permissions of the file and its folder"
        if type(error) is sqlite3.DatabaseError or "malformed" in text or "no such" in text:
            return f"damaged history store ({plain_reason(text)}); restore a copy, or delete it and begin again"
        return f"the history store failed: {plain_reason(text)}"


# Connections of the parent process, kept so that a child never closes them: that could end the parent's locks.
_inherited: list[sqlite3.Connection | None] = []


def _value(db: sqlite3.Connection, query: str, *given: object) -> Any:
    """The first value of the first row, ``None`` without a row."""
    row = db.execute(query, given).fetchone()
    return None if row is None else row[0]


def _kept(row: Sequence[Any]) -> KeptState:
    key, content, covered, first_time, first_seq, last_time, last_seq = row
    return KeptState(key, content, covered, Position(first_time, first_seq), Position(last_time, last_seq))


def _setting(db: sqlite3.Connection, name: str) -> float | None:
    return _value(db, "SELECT value FROM settings WHERE name = ?", name)


def _of_types(types: Iterable[str] | None, word: str = "WHERE") -> tuple[str, list[str]]:
    """A condition of SQL with its values; empty for all types."""
    if types is None:
        return "", []
    if isinstance(types, str):
        raise TypeError(f"types is one text, {types!r}; pass a list")
    wanted = list(types)
    return f"{word} type IN ({', '.join('?' * len(wanted))})", wanted


def _check_limits(max_events: int | None, max_days: float | None) -> None:
    if max_events is not None and not 1 <= max_events <= MOST_EVENTS:
        raise ValueError(f"max_events is {max_events}; give a number from 1 to {MOST_EVENTS:,}")
    if max_days is not None and not 0 < max_days <= MOST_DAYS:
        raise ValueError(f"max_days is {max_days}; give a number of days above 0, up to {MOST_DAYS:,.0f}")


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
