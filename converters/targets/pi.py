"""Export to a Raspberry Pi or another Linux device: a folder that installs there without a network."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.targets.folder import ExportError, export_folder, require_runtime
from device_runner.bundle import Bundle
from device_runner.contract import Retrieval
from device_runner.version import __version__

TEMPLATE = Path(__file__).parent / "pi"
# Where the sources of the project are, if this is a clone of it.
SOURCES = Path(__file__).parent.parent.parent
# What of the sources a wheel is built from.
SOURCE_FILES = ("pyproject.toml", "README.md", "LICENSE")
PACKAGES = ("device_runner", "converters", "edgerec")
# Versions of glibc in the platform tags of wheels, up to that of Debian 12.
GLIBC = (17, 24, 27, 28, 31, 34, 35, 36)
# Seconds; 30 MB over a slow line.
DOWNLOAD_LIMIT = 900.0


@dataclass(frozen=True)
class Architecture:
    """What a device of this architecture installs.

    Attributes:
        machine: by ``uname -m``.
        runtime: name of the TFLite runtime.
        pythons: versions of Python that the runtime has wheels for.
        requirements: for pip, besides the runtime.
        system_numpy: whether numpy is the system's, as there are no wheels of it.
    """

    machine: str
    runtime: str
    pythons: tuple[str, ...]
    requirements: tuple[str, ...]
    system_numpy: bool = False


LITERT_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ARCHITECTURES = {
    "arm64": Architecture("aarch64", "litert", LITERT_PYTHONS, ("numpy>=1.23", "click>=8.1")),
    "armv7l": Architecture("armv7l", "tflite-runtime", ("3.11",), ("click>=8.1",), system_numpy=True),
    "x86_64": Architecture("x86_64", "litert", LITERT_PYTHONS, ("numpy>=1.23", "click>=8.1")),
}
DISTRIBUTIONS = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


def export_pi(
    model: Path,
    out: Path,
    arch: str = "arm64",
    python: str = "3.11",
    wheel: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the folder to ``out``, whole or not at all; pip fetches the wheels.

    Args:
        model: a retrieval bundle.
        arch: one of ``ARCHITECTURES``.
        python: the device's version of Python, such as ``"3.11"`` (Raspberry Pi OS 12) or ``"3.13"`` (13).
        wheel: of edgerec; by default it is built from the clone that this is.
        say: called with a line before each step that takes long.

    Returns:
        ``folder``, ``wheels`` (names), and ``bytes`` of all files.

    Raises:
        BundleError: the file is not a retrieval bundle.
        ExportError: the architecture's runtime does not run the scheme or has no wheel for this Python, pip fails, or
            ``out`` is in use.
    """
    bundle = Bundle.read(model)
    contract = bundle.contract_of(Retrieval)
    architecture = ARCHITECTURES[arch]
    require_runtime(bundle, architecture.runtime, arch)
    if python not in architecture.pythons:
        raise ExportError(
            f"Python {python} on {arch}: {DISTRIBUTIONS[architecture.runtime]} has no wheel for it; "
            f"use one of {', '.join(architecture.pythons)}"
            + (", or a 64-bit system with --arch arm64" if architecture.system_numpy else "")
        )
    with export_folder(out, f"pi-{arch}", bundle) as folder:
        wheels = folder / "wheels"
        wheels.mkdir()
        say("building the wheel of edgerec" if wheel is None else f"taking {wheel}")
        _add_own_wheel(wheels, wheel)
        version = bundle.runtimes[architecture.runtime].get("version", "")
        runtime = DISTRIBUTIONS[architecture.runtime] + (f"=={version}" if version.count(".") == 2 else "")
        say(f"fetching {runtime} and {', '.join(architecture.requirements)} for Python {python} on {arch}")
        _download(wheels, architecture, python, [runtime, *architecture.requirements])
        shutil.copyfile(model, folder / "model.tflite")
        names = sorted(path.name for path in wheels.iterdir())
        facts = {
            "NAME": bundle.name,
            "SCHEME": bundle.scheme,
            "MACHINE": architecture.machine,
            "PYTHON": python,
            "SYSTEM_PACKAGES": "yes" if architecture.system_numpy else "no",
            "WHEELS": ", ".join(name.split("-")[0] + " " + name.split("-")[1] for name in names),
            "ITEM": bundle.items[min(1, contract.items)],
            "NOTE": (
                "\nnumpy is the system's, as PyPI has none for this architecture: `sudo apt install python3-numpy "
                "python3-venv` first.\n"
                if architecture.system_numpy
                else ""
            ),
        }
        for name in ("install.sh", "README.md", "edgerec.service"):
            _fill(TEMPLATE / name, folder / name, facts)
        (folder / "install.sh").chmod(0o755)
    files = [path for path in out.rglob("*") if path.is_file()]
    return {"folder": str(out), "wheels": names, "bytes": sum(path.stat().st_size for path in files)}


def _fill(template: Path, into: Path, facts: dict[str, str]) -> None:
    text = template.read_text(encoding="utf-8")
    for name, value in facts.items():
        text = text.replace(f"@{name}@", value)
    into.write_text(text, encoding="utf-8")


def _add_own_wheel(wheels: Path, wheel: Path | None) -> None:
    """Put the wheel of edgerec into the folder, as given or built from a copy of the sources: what an earlier build has
    left beside them would get into the wheel.
    """
    if wheel is not None:
        if not wheel.is_file() or not wheel.name.startswith(f"edgerec-{__version__}-"):
            raise ExportError(f"{wheel}: not a wheel of edgerec {__version__}")
        shutil.copyfile(wheel, wheels / wheel.name)
        return
    if not (SOURCES / SOURCE_FILES[0]).is_file():
        raise ExportError("this edgerec was installed from a wheel; name that file with --wheel")
    with tempfile.TemporaryDirectory() as scratch:
        for name in SOURCE_FILES:
            shutil.copyfile(SOURCES / name, Path(scratch, name))
        for name in PACKAGES:
            shutil.copytree(SOURCES / name, Path(scratch, name), ignore=shutil.ignore_patterns("__pycache__"))
        _pip(["wheel", "--no-deps", "--wheel-dir", str(wheels), scratch], "the wheel of edgerec cannot be built")


def _download(wheels: Path, architecture: Architecture, python: str, requirements: Sequence[str]) -> None:
    """Fetch wheels for another architecture and Python, without their own dependencies: of those that the runtime
    declares, the interpreter needs only numpy.
    """
    tags = [f"--platform=manylinux_2_{minor}_{architecture.machine}" for minor in GLIBC]
    tags += [f"--platform=manylinux2014_{architecture.machine}"]
    abi = f"cp{python.replace('.', '')}"
    _pip(
        [
            "download", "--no-deps", "--only-binary=:all:", "--dest", str(wheels),
            f"--python-version={python}", "--implementation=cp", f"--abi={abi}", "--abi=abi3", "--abi=none", *tags,
            *requirements,
        ],
        f"the wheels for Python {python} on {architecture.machine} cannot be fetched",
    )  # fmt: skip


def _pip(arguments: Sequence[str], failure: str) -> None:
    """Run pip; raises ExportError with its last line."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT)
    except subprocess.TimeoutExpired:
        raise ExportError(f"{failure}: pip had not ended within {DOWNLOAD_LIMIT:g} seconds") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ExportError(f"{failure}: {lines[-1].strip() if lines else 'pip failed'}")
