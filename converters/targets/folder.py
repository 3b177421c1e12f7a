"""What all exports have in common: the folder that they write, and the model's fitness for the target's runtime."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device_runner.bundle import Bundle
from device_runner.errors import EdgeRecError
from device_runner.version import __version__

# Says that a folder is an export, which the next one may replace.
MARK = "export.json"


class ExportError(EdgeRecError):
    """A bundle cannot be exported for a target, or there is no place to write it to."""


@contextmanager
def export_folder(out: Path, target: str, bundle: Bundle) -> Iterator[Path]:
    """A folder to write an export into. It takes the place of ``out`` when the block ends, and vanishes on an error.

    Raises:
        ExportError: ``out`` is a file, or a folder with something else than an earlier export in it.
    """
    out = out.absolute()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file()):
        raise ExportError(f"{out}: is there already and is no earlier export; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as made:
        folder = Path(made) / "export"
        folder.mkdir()
        yield folder
        facts = {"target": target, "edgerec": __version__, "model": bundle.name, "fingerprint": bundle.fingerprint}
        write_json(folder / MARK, facts)
        if out.exists():
            out.rename(Path(made) / "replaced")
        folder.rename(out)


def require_runtime(bundle: Bundle, runtime: str, target: str) -> None:
    """Check that the bundle was verified on the runtime of a target.

    Raises:
        ExportError: it was not, so that nobody knows whether the target answers as it should.
    """
    if runtime not in bundle.runtimes:
        verified = ", ".join(bundle.runtimes) or "no runtime"
        raise ExportError(
            f"{bundle.path}: the scheme {bundle.scheme} was verified on {verified}, but {target} runs {runtime}; "
            "convert the model with another scheme, such as int8"
        )


def filled(text: str, bundle: Bundle, **more: str) -> str:
    """A template with the facts of the bundle, and ``more``, in place of ``@NAME@`` and the like."""
    facts = {
        "NAME": bundle.name,
        "ITEMS": f"{len(bundle.items) - 1:,}",
        "SIZE": f"{bundle.path.stat().st_size / 1000:,.0f} kB",
        "SCHEME": bundle.scheme,
        "EXAMPLE": bundle.items[1],
        **more,
    }
    for name, value in facts.items():
        text = text.replace(f"@{name}@", value)
    return text


def copy_files(names: Iterator[Path], into: Path) -> None:
    """Copy files into a folder, which is made."""
    into.mkdir(parents=True, exist_ok=True)
    for path in names:
        shutil.copyfile(path, into / path.name)


def write_json(path: Path, document: Any) -> None:
    """Write a document in lines that people can read."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
