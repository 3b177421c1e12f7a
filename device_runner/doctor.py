"""Finds what keeps a bundle from running on this device, and says how to mend it."""

import platform
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from device_runner.backends import BACKENDS, crashes_here, installed_backends
from device_runner.bench.device import memory_mb, throttled
from device_runner.bundle import Bundle
from device_runner.child_process import run_module
from device_runner.errors import EdgeRecError
from device_runner.golden import check_in_child
from device_runner.processor import ROOT, cpu_features, cpuinfo

Status = Literal["ok", "warning", "problem"]
# Runtimes that have wheels, by the architecture's names in ``platform.machine()``.
RUNTIMES_OF = {
    "x86_64": ("litert", "tflite-runtime"),
    "amd64": ("litert",),
    "aarch64": ("litert", "tflite-runtime"),
    "arm64": ("litert",),
    "armv7l": ("tflite-runtime",),
}
# The first and the last minor version of Python 3 that a runtime has wheels for, and the least glibc by architecture.
PYTHONS = {"litert": (10, 14), "tflite-runtime": (7, 11)}
GLIBC = {
    "litert": {"x86_64": (2, 27), "aarch64": (2, 27)},
    "tflite-runtime": {"x86_64": (2, 17), "aarch64": (2, 34), "armv7l": (2, 34)},
}
# The least Python of edgerec itself.
LEAST_PYTHON = (3, 11)
# MB: a process with numpy, a runtime and a small model takes 50; a packed model takes its size once or twice again.
PROCESS_MB, COPIES = 60.0, 3
# MB that stay free beside a new version of the bundle.
SPARE_MB = 20.0
# Seconds for the import of a runtime.
IMPORT_LIMIT = 120.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        status: ``"problem"``: the bundle does not run; ``"warning"``: it runs, but worse than it could.
        found: what is there.
        remedy: what to do about it; ``""`` when the status is ``"ok"``.
    """

    subject: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Machine:
    """What the checks of the system look at, so that they can be tried for other machines.

    Attributes:
        architecture: by the kernel, such as ``"aarch64"``.
        bits: of this Python, 32 or 64.
        python: version, such as ``(3, 11)``.
        libc: name and version, such as ``("glibc", "2.36")``; empty where it is unknown or another one.
        numpy: version.
        runtimes: version by name of those that are installed.
        root: the folder with ``proc`` and ``sys``.
    """

    architecture: str
    bits: int
    python: tuple[int, int]
    libc: tuple[str, str]
    numpy: str
    runtimes: dict[str, str]
    root: Path = ROOT

    @classmethod
    def here(cls) -> "Machine":
        return cls(
            platform.machine(),
            8 * struct.calcsize("P"),
            sys.version_info[:2],
            platform.libc_ver(),
            metadata.version("numpy"),
            installed_backends(),
        )

    @property
    def userland(self) -> str:
        """The architecture that packages must be of: a 64-bit kernel may run a 32-bit system."""
        if self.bits == 32 and self.architecture.lower() in ("aarch64", "arm64"):
            return "armv7l"
        return self.architecture.lower()

    @property
    def possible(self) -> list[str]:
        """Runtimes that have wheels for this architecture and this Python."""
        return [
            name
            for name in RUNTIMES_OF.get(self.userland, ())
            if PYTHONS[name][0] <= self.python[1] <= PYTHONS[name][1]
        ]


def examine(model: Path | None = None, machine: Machine | None = None) -> Iterator[Finding]:
    """Look at the system, and with a bundle also at what it needs, up to real inferences.

    Args:
        model: the bundle that is to run.
        machine: this one by default.
    """
    machine = machine or Machine.here()
    yield _architecture(machine)
    yield _python(machine)
    yield _libc(machine)
    yield from _runtimes(machine)
    yield _cpu(machine)
    size = model.stat().st_size if model and model.is_file() else 0
    yield _memory(machine, size)
    yield _disk(model, size)
    yield from _power(machine)
    if model:
        yield from _bundle(model, machine)
    else:
        yield from _imports(machine)


def _architecture(machine: Machine) -> Finding:
    found = f"{machine.architecture}, {machine.bits}-bit Python"
    if machine.userland in RUNTIMES_OF:
        return Finding("architecture", "ok", found)
    remedy = f"no TFLite runtime has packages for it; use a device with one of {', '.join(RUNTIMES_OF)}"
    if machine.architecture.startswith("armv6"):
        remedy = "this is a Raspberry Pi Zero or 1, for which no runtime is built; a Zero 2 W or later runs edgerec"
    return Finding("architecture", "problem", found, remedy)


def _python(machine: Machine) -> Finding:
    found = ".".join(map(str, machine.python))
    if machine.python < LEAST_PYTHON:
        return Finding(
            "Python", "problem", found, "edgerec needs Python 3.11 or later; install one, such as by apt or uv"
        )
    if machine.possible or machine.userland not in RUNTIMES_OF:
        return Finding("Python", "ok", found)
    last = max(PYTHONS[name][1] for name in RUNTIMES_OF[machine.userland])
    remedy = f"no runtime has packages for it on {machine.userland}; use Python 3.{last}"
    if machine.userland == "armv7l":
        remedy += ", or a 64-bit operating system, where ai-edge-litert runs on later ones"
    return Finding("Python", "problem", found, remedy)


def _libc(machine: Machine) -> Finding:
    name, version = machine.libc
    found = f"{name} {version}".strip() or "not glibc"
    needed = {runtime: GLIBC[runtime].get(machine.userland, (0, 0)) for runtime in machine.runtimes or machine.possible}
    if name != "glibc":
        if sys.platform == "linux" and needed:
            remedy = "the runtimes are built for glibc; use a system with it, such as Debian instead of Alpine"
            return Finding("C library", "problem", found, remedy)
        return Finding("C library", "ok", found)
    actual = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    old = [f"{BACKENDS[runtime][1]} needs {least[0]}.{least[1]}" for runtime, least in needed.items() if actual < least]
    if not old:
        return Finding("C library", "ok", found)
    status: Status = "problem" if len(old) == len(needed) else "warning"
    return Finding(
        "C library", status, found, f"{'; '.join(old)}; upgrade the system (Raspberry Pi OS 12 or later has it)"
    )


def _runtimes(machine: Machine) -> Iterator[Finding]:
    if not machine.runtimes:
        wanted = BACKENDS[machine.possible[0]][1] if machine.possible else ""
        remedy = f"pip install {wanted}" if wanted else "see the problem above"
        yield Finding("runtime", "problem", "none is installed", remedy)
    for name, version in machine.runtimes.items():
        if name == "tflite-runtime" and int(machine.numpy.partition(".")[0]) >= 2:
            other = "litert" in machine.runtimes
            remedy = "pip install 'numpy<2'" + (
                ", or pip uninstall tflite-runtime, as ai-edge-litert is there" if other else ""
            )
            status: Status = "warning" if other else "problem"
            yield Finding("runtime", status, f"{name} {version}, which fails under numpy {machine.numpy}", remedy)
        else:
            yield Finding("runtime", "ok", f"{name} {version} with numpy {machine.numpy}")


def _cpu(machine: Machine) -> Finding:
    features = set(cpu_features(machine.root))
    found = ", ".join(sorted(features)) or "no feature is shown"
    if machine.userland in ("aarch64", "arm64", "armv7l"):
        # An emulator shows the file of its host, which has no such entry.
        if "Features" in cpuinfo(machine.root) and not features & {"asimd", "neon"}:
            return Finding("CPU", "problem", found, "the runtimes need NEON; use a device that has it")
        if "asimddp" in features:
            found += " (dot products of 8-bit weights are fast)"
    elif machine.userland == "x86_64" and features and "avx2" not in features:
        remedy = "inference is several times slower without AVX2; in a virtual machine, pass the host's CPU through"
        return Finding("CPU", "warning", found, remedy)
    return Finding("CPU", "ok", found)


def _memory(machine: Machine, size: int) -> Finding:
    free, needed = memory_mb(machine.root, "MemAvailable"), PROCESS_MB + COPIES * size / 1e6
    if free is None:
        return Finding("memory", "ok", "the system does not show it")
    found = f"{free:,.0f} MB free, about {needed:,.0f} MB are needed"
    if free < needed:
        return Finding("memory", "problem", found, "end other programs, add swap, or use a smaller scheme or catalogue")
    return Finding("memory", "ok", found)


def _disk(model: Path | None, size: int) -> Finding:
    place = model.resolve().parent if model and model.exists() else Path(tempfile.gettempdir())
    free, needed = shutil.disk_usage(place).free / 1e6, 2 * size / 1e6 + SPARE_MB
    found = f"{free:,.0f} MB free at {place}"
    if free < needed:
        return Finding("disk", "warning", found, f"an update needs about {needed:,.0f} MB; make room")
    return Finding("disk", "ok", found)


def _power(machine: Machine) -> Iterator[Finding]:
    reasons = throttled(machine.root)
    if reasons is None:
        return
    found = ", ".join(reasons) or "not throttled"
    if any("under-voltage" in reason for reason in reasons):
        yield Finding("power", "warning", found, "use the official power supply and a short, thick cable")
    elif reasons:
        yield Finding("power", "warning", found, "the board is too hot for its full clock; add a heat sink or a fan")
    else:
        yield Finding("power", "ok", found)


def _imports(machine: Machine) -> Iterator[Finding]:
    """Whether each runtime can be imported, where there is no bundle to run."""
    for name in machine.runtimes:
        module, distribution = BACKENDS[name]
        if error := run_module(module, time_limit=IMPORT_LIMIT):
            yield Finding("import", "problem", f"{name}: {error}", f"pip install --force-reinstall {distribution}")
        else:
            yield Finding("import", "ok", name)


def _bundle(model: Path, machine: Machine) -> Iterator[Finding]:
    """Whether the bundle is whole, and gives the right answers on every installed runtime that it claims."""
    try:
        bundle = Bundle.read(model)
    except EdgeRecError as error:
        yield Finding("bundle", "problem", str(error), "copy the file again, or convert the model again")
        return
    claimed = list(bundle.runtimes)
    yield Finding("bundle", "ok", f"{bundle.name} ({bundle.scheme}), verified on {', '.join(claimed) or 'no runtime'}")
    features = cpu_features(machine.root)
    crashing = {name: limits for name in claimed if (limits := crashes_here(bundle.runtimes[name], features))}
    runnable = [name for name in machine.runtimes if name in claimed and name not in crashing]
    for name in crashing.keys() & machine.runtimes.keys():
        said = f"{name} may crash on this file, as the processor has {', '.join(crashing[name])}"
        yield Finding("inference", "warning", said, "use another runtime, as backend auto does, or the scheme float32")
    if not runnable:
        wanted = [name for name in claimed if name in machine.possible and name not in crashing]
        remedy = (
            f"pip install {BACKENDS[wanted[0]][1]}" + (" 'numpy<2'" if wanted[0] == "tflite-runtime" else "")
            if wanted
            else "convert the model with a scheme that runs on what this device can have, such as float32 or int8"
        )
        yield Finding("inference", "problem", "no installed runtime is one that runs the file here", remedy)
    for name in runnable:
        yield _inference(model, bundle, name)


def _inference(model: Path, bundle: Bundle, runtime: str) -> Finding:
    try:
        if not bundle.golden():
            found = f"{runtime}: the bundle has no golden vectors, so nothing shows whether it works here"
            return Finding("inference", "warning", found, "convert the model again")
        vectors = check_in_child(model.resolve(), runtime)
    except EdgeRecError as error:
        remedy = f"pip install --force-reinstall {BACKENDS[runtime][1]}; if it stays, use another scheme"
        return Finding("inference", "problem", f"{runtime}: {error}", remedy)
    return Finding("inference", "ok", f"{runtime}: {vectors} golden vectors agree")
