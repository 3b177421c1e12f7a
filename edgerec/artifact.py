"""Artifacts: files and folders written whole or not at all, with the fingerprint of what they were made from."""

import glob
import hashlib
import json
import math
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


def without_nan(document: Any) -> Any:
    """A document with ``None`` in place of each NaN, which JSON has no number for."""
    if isinstance(document, Mapping):
        return {name: without_nan(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [without_nan(value) for value in document]
    return None if isinstance(document, float) and math.isnan(document) else document


def stamp_of(folder: Path) -> dict[str, Any]:
    """What the finished artifact in ``folder`` was made from; empty if there is none, or if a file of it is missing or
    has another size than when it was made.
    """
    try:
        stamp = json.loads((folder / STAMP).read_text())
        whole = all((folder / name).stat().st_size == size for name, size in stamp["files"].items())
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return stamp if whole else {}


@contextmanager
def new_folder(folder: Path, stamp: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` when the block ends well, and vanishes when it does not.

    A kill at any moment leaves the old artifact or the new one. Everything is on the disk before it takes its place,
    and after a kill between the two renames the next call restores the old artifact. Leftovers of killed processes for
    the same ``folder`` are removed.

    Args:
        stamp: what the artifact is made from, for ``stamp_of``; ready for JSON.
    """
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        _flush(temporary)
        files = {str(p.relative_to(temporary)): p.stat().st_size for p in temporary.rglob("*") if p.is_file()}
        (temporary / STAMP).write_text(json.dumps({**stamp, "files": files}) + "\n")
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
    """The name of ``target`` while this process makes it; leftovers of ended processes are removed first."""
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
