"""Deltas: what is different in a new file, to be applied to the old one.

A delta (all numbers little-endian) is ``b"ERDELTA1"``, the length of the header (uint32), the header (JSON), and three
zlib streams, ``control``, ``difference`` and ``insert``. The header has the sizes and the sha256 of the old and of the
new file, the sizes of the three streams, and the text of the new file's signature, if it has one.

``control`` is a list of records ``length, offset, extra`` (uint32 each): take ``length`` bytes of the old file from
``offset`` on, add to each the next byte of ``difference`` (mod 256), then append the next ``extra`` bytes of
``insert``. Unchanged bytes are differences of zero, which cost next to nothing; so do few changed ones among many
(Percival, Naive differences of executable code, 2003). Equal blocks are found by a rolling hash (Tridgell, 1999).
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from device_runner.errors import DeltaError

MAGIC = b"ERDELTA1"
LENGTH = struct.Struct("<I")
RECORD = struct.Struct("<III")
STREAMS = ("control", "difference", "insert")
MAX_HEADER = 65536
# A flatbuffer cannot be larger.
MAX_FILE = 1 << 31
# Of the output for each record on average; it stops a delta that would keep a device busy for hours.
LEAST_OUTPUT = 16
# Bytes of a block of the old file that is looked for; shorter equal parts cost more to point at than they save.
BLOCK = 32
CHUNK = 1 << 16
# Positions of the new file that are hashed at a time.
HASHED = 1 << 20
# Odd, so that it has an inverse modulo 2^64; from Knuth's multiplicative generator (MMIX).
BASE = 6364136223846793005


@dataclass(frozen=True)
class Delta:
    """The header of a delta.

    Attributes:
        signature: text of the new file's signature file; ``None`` without one.
        start: where the first stream begins.
    """

    old_bytes: int
    old_sha256: str
    new_bytes: int
    new_sha256: str
    control_bytes: int
    difference_bytes: int
    insert_bytes: int
    signature: str | None
    start: int


def is_delta(path: Path) -> bool:
    """Whether the file begins like a delta."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def write_delta(old_path: Path, new_path: Path, path: Path, signature: str | None = None) -> int:
    """Write the delta from one file to another; returns its size. It is tried out before it is put in place.

    Args:
        signature: text of the new file's signature file, which travels in the delta.

    Raises:
        DeltaError: a file cannot be read, or is too large.
    """
    old, new = (_read(one) for one in (old_path, new_path))
    streams = _streams(old, new)
    header = {
        "old_bytes": len(old),
        "old_sha256": hashlib.sha256(old).hexdigest(),
        "new_bytes": len(new),
        "new_sha256": hashlib.sha256(new).hexdigest(),
        **{f"{name}_bytes": len(stream) for name, stream in zip(STREAMS, streams, strict=True)},
        "signature": signature,
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    trial = path.with_name(f".{path.name}.{os.getpid()}.trial.tmp")
    try:
        temporary.write_bytes(b"".join([MAGIC, LENGTH.pack(len(head)), head, *streams]))
        apply_delta(old_path, temporary, trial)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        trial.unlink(missing_ok=True)
    return path.stat().st_size


def read_header(path: Path) -> Delta:
    """The header of a delta.

    Raises:
        DeltaError: it is malformed.
    """
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + LENGTH.size)
        if len(head) < len(MAGIC) + LENGTH.size or not head.startswith(MAGIC):
            raise DeltaError(f"{path}: not a delta; make one with: edgerec delta OLD NEW OUT")
        (length,) = LENGTH.unpack_from(head, len(MAGIC))
        text = file.read(min(length, MAX_HEADER))
    try:
        if len(text) != length:
            raise ValueError("its header is too long, or cut off")
        return _header(json.loads(text), len(head) + length, path.stat().st_size)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DeltaError(f"{path}: damaged delta ({error}); copy it again") from None


def _header(entries: dict[str, Any], start: int, size: int) -> Delta:
    """Raises KeyError, TypeError, ValueError."""
    counts = ("old_bytes", "new_bytes", *(f"{name}_bytes" for name in STREAMS))
    if not all(type(entries[name]) is int and 0 <= entries[name] <= MAX_FILE for name in counts):
        raise ValueError("its header has sizes that are none")
    if not all(isinstance(entries[name], str) for name in ("old_sha256", "new_sha256")):
        raise ValueError("its header has no hashes")
    if not isinstance(entries["signature"], str | None):
        raise ValueError("the signature in its header is no text")
    if start + sum(entries[f"{name}_bytes"] for name in STREAMS) != size:
        raise ValueError("it is longer or shorter than its header says")
    names = (*counts, "old_sha256", "new_sha256", "signature")
    return Delta(**{name: entries[name] for name in names}, start=start)


def apply_delta(old_path: Path, path: Path, new_path: Path) -> Delta:
    """Write the new file to ``new_path``; returns the delta's header. When this returns, the file has the hash that the
    delta names and is on the disk; when it fails, nothing that it wrote is left. A few hundred kilobytes of memory are
    enough.

    Raises:
        DeltaError: the delta is damaged, or for another file than the old one.
    """
    delta = read_header(path)
    with old_path.open("rb") as old, path.open("rb") as file:
        size = os.fstat(old.fileno()).st_size
        if size != delta.old_bytes or hashlib.file_digest(old, "sha256").hexdigest() != delta.old_sha256:
            raise DeltaError(
                f"{path}: the delta is for another version than {old_path}; use the delta for that, or the whole file"
            )
        digest, written = hashlib.sha256(), 0
        try:
            new_path.unlink(missing_ok=True)  # it may be a link to a file that is needed
            with new_path.open("xb") as new:
                for part in _parts(old, file, delta):
                    written += len(part)
                    digest.update(part)
                    new.write(part)
                if written != delta.new_bytes or digest.hexdigest() != delta.new_sha256:
                    raise DeltaError("the result is not the file that it names")
                new.flush()
                os.fsync(new.fileno())
        except BaseException as error:
            new_path.unlink(missing_ok=True)
            if isinstance(error, DeltaError | zlib.error):
                raise DeltaError(f"{path}: damaged delta ({error}); copy it again") from None
            raise
    return delta


def _parts(old: BinaryIO, file: BinaryIO, delta: Delta) -> Iterator[bytes]:
    """The new file, in parts."""
    sizes = [delta.control_bytes, delta.difference_bytes, delta.insert_bytes]
    control, difference, insert = (
        _Inflated(file, delta.start + sum(sizes[:place]), sizes[place]) for place in range(len(sizes))
    )
    records, left = 0, delta.new_bytes
    while left:
        length, offset, extra = RECORD.unpack(control.read(RECORD.size))
        records += 1
        left -= length + extra
        if left < 0 or offset + length > delta.old_bytes:
            raise DeltaError("a record reaches beyond a file")
        if records > 2 + delta.new_bytes // LEAST_OUTPUT:
            raise DeltaError("it has too many records")
        old.seek(offset)
        for start in range(0, length, CHUNK):
            taken = old.read(min(CHUNK, length - start))
            added = difference.read(len(taken))
            if not taken:
                raise DeltaError("the old file became shorter")
            yield (np.frombuffer(taken, np.uint8) + np.frombuffer(added, np.uint8)).tobytes()
        for start in range(0, extra, CHUNK):
            yield insert.read(min(CHUNK, extra - start))


class _Inflated:
    """Reads one zlib stream within a file, which others read too."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._place, self._end = file, start, start + size
        self._inflate = zlib.decompressobj()
        self._ready = b""

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes.

        Raises:
            DeltaError, zlib.error: the stream ends before.
        """
        while len(self._ready) < size:
            given = self._inflate.unconsumed_tail
            if not given:
                self._file.seek(self._place)
                given = self._file.read(min(CHUNK, self._end - self._place))
                self._place += len(given)
            inflated = self._inflate.decompress(given, CHUNK)
            if not inflated and not given:
                raise DeltaError("a stream ends too early")
            self._ready += inflated
        found, self._ready = self._ready[:size], self._ready[size:]
        return found


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise DeltaError(f"{path}: no such file") from None
    if len(content) > MAX_FILE:
        raise DeltaError(f"{path}: larger than {MAX_FILE:,} bytes")
    return content


def _streams(old: bytes, new: bytes) -> list[bytes]:
    """The compressed streams ``control``, ``difference`` and ``insert``."""
    before, after = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
    control, difference, insert = [], [], []
    copies = _widened(_equal_parts(before, after), before, after)
    end = copies[0][0] if copies else len(new)
    if end:
        control.append((0, 0, end))
        insert.append(after[:end])
    ends = [start for start, _, _ in copies[1:]] + [len(new)]
    for (start, length, offset), end in zip(copies, ends, strict=False):  # without a copy, there is one end
        control.append((length, offset, end - start - length))
        difference.append(after[start : start + length] - before[offset : offset + length])
        insert.append(after[start + length : end])
    return [
        zlib.compress(content, 9)
        for content in (
            b"".join(RECORD.pack(*record) for record in control),
            b"".join(part.tobytes() for part in difference),
            b"".join(part.tobytes() for part in insert),
        )
    ]


# A part of the new file that is taken from the old one: start, length, offset in the old file.
Copy = tuple[int, int, int]


def _equal_parts(old: np.ndarray, new: np.ndarray) -> list[Copy]:
    """Equal parts of at least ``BLOCK`` bytes, in order and without overlap, from left to right as long as they go."""
    if min(len(old), len(new)) < BLOCK:
        return []
    blocks = np.concatenate([hashes[::BLOCK] for _, hashes in _window_hashes(old)])
    # np.unique keeps the first of equal blocks, such as those of zeros.
    known, places = np.unique(blocks, return_index=True)
    found: list[Copy] = []
    done = 0
    for start, hashes in _window_hashes(new):
        at = np.searchsorted(known, hashes)
        at[at == len(known)] = 0
        hits = np.flatnonzero(known[at] == hashes)
        turn = 0
        while turn < len(hits):
            place = start + int(hits[turn])
            offset = int(places[at[hits[turn]]]) * BLOCK
            if place >= done and (length := _equal_bytes(old[offset:], new[place:])) >= BLOCK:
                back = _equal_bytes(old[max(0, offset - (place - done)) : offset][::-1], new[done:place][::-1])
                found.append((place - back, length + back, offset - back))
                done = place + length
            turn = max(turn + 1, int(np.searchsorted(hits, done - start)))
    return found


def _window_hashes(content: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Polynomial hashes modulo 2^64 of the ``BLOCK`` bytes from every place on, uint64, by parts with their start."""
    powers = np.cumprod(np.full(HASHED + BLOCK, BASE, np.uint64))
    inverses = np.cumprod(np.full(HASHED, pow(BASE, -1, 1 << 64), np.uint64))
    for start in range(0, len(content) - BLOCK + 1, HASHED):
        part = content[start : start + HASHED + BLOCK - 1].astype(np.uint64)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum((part + np.uint64(1)) * powers[: len(part)])])
        windows = len(part) - BLOCK + 1
        yield start, (sums[BLOCK : BLOCK + windows] - sums[:windows]) * inverses[:windows]


def _equal_bytes(first: np.ndarray, second: np.ndarray) -> int:
    """How many bytes at the beginning are equal."""
    size, done, step = min(len(first), len(second)), 0, 64
    while done < size:
        end = min(done + step, size)
        differ = first[done:end] != second[done:end]
        if differ.any():
            return done + int(differ.argmax())
        done, step = end, 4 * step
    return size


def _widened(copies: list[Copy], old: np.ndarray, new: np.ndarray) -> list[Copy]:
    """The same copies, reaching into the gaps between them as far as most bytes are equal there; those that then meet,
    with equal distances between old and new, are joined.
    """
    wide: list[Copy] = []
    for place, (start, length, offset) in enumerate(copies):
        left = wide[-1][0] + wide[-1][1] if wide else 0
        right = copies[place + 1][0] if place + 1 < len(copies) else len(new)
        back = min(start - left, offset)
        back = _mostly_equal(old[offset - back : offset][::-1], new[start - back : start][::-1])
        start, length, offset = start - back, length + back, offset - back
        room = min(right - start - length, len(old) - offset - length)
        end = start + length
        length += _mostly_equal(old[offset + length : offset + length + room], new[end : end + room])
        if wide and wide[-1][0] + wide[-1][1] == start and wide[-1][2] + wide[-1][1] == offset:
            wide[-1] = (wide[-1][0], wide[-1][1] + length, wide[-1][2])
        else:
            wide.append((start, length, offset))
    return wide


def _mostly_equal(first: np.ndarray, second: np.ndarray) -> int:
    """The length of the beginning in which equal bytes outnumber the others most."""
    if not len(first):
        return 0
    lead = np.cumsum(np.where(first == second, 1, -1))
    best = int(lead.argmax())
    return best + 1 if lead[best] > 0 else 0
