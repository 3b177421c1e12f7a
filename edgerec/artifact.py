"""Artifacts: files and folders written whole or not at all, with the fingerprint of what they were made from."""

import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STAMP = "made-from.json"


def fingerprint(value: Any) -> str:
    """First 16 hex digits of the sha256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_fingerprint(path: Path) -> list[Any]:
    """What tells that a source file changed: its size and time of change, or those of a folder's files."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in files]


def stamp_of(folder: Path) -> dict[str, Any]:
    """What the finished artifact in ``folder`` was made from; empty if there is none."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


@contextmanager
def new_folder(folder: Path, stamp: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` when the block ends well, and vanishes when it does not.

    A kill at any moment leaves the old artifact or the new one. Everything is on the disk before it takes its place,
    and what was there before is put back by the next call if the new one had not followed it. What killed processes
    left for the same ``folder`` is removed.

    Args:
        stamp: what the artifact is made from, for ``stamp_of``; ready for JSON.
    """
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        _flush(temporary)
        (temporary / STAMP).write_text(json.dumps(dict(stamp)) + "\n")
        _flush(temporary / STAMP)
        replaced = folder.with_name(temporary.name + ".old")
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        _flush(folder.parent, deep=False)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent`` for temporary files, removed afterwards; so are those of killed processes."""
    temporary = _temporary(parent / "scratch")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write ``content`` to a temporary file and rename it to ``path``."""
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove from ``folder`` what killed processes left while they made ``name`` (default: anything).

    A process that was killed just before a new artifact took its place has the old one put back.
    """
    for path in folder.glob(f".{name}.*.tmp*"):
        left = re.fullmatch(r"\.(.+)\.(\d{1,9})\.tmp(\.old)?", path.name)
        if left is None or (int(left[2]) != os.getpid() and _is_alive(int(left[2]))):
            continue
        if left[3] and not (folder / left[1]).exists():
            path.rename(folder / left[1])
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    """Name for ``target`` while this process makes it. Nothing is there, nor at the names of ended processes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, glob.escape(target.name))
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _flush(path: Path, deep: bool = True) -> None:
    """Wait until a file, or a folder with what is in it, is on the disk."""
    if deep and path.is_dir():
        for inner in path.iterdir():
            _flush(inner)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
