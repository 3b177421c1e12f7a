"""Raspberry Pis without hardware: Debian's ARM packages and the project's own wheel under the user-mode qemu.

What is made is kept below ``build/arm`` and made anew when what it depends on has changed. Each part is made in a
folder of another name first, so an interrupted run leaves nothing half-made.

The Debian packages come from the mirror in the machine's own apt sources, the wheels from pip's own index.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

PROJECT = Path(__file__).parents[2]
STORE = PROJECT / "build" / "arm"
# The suite with Python 3.11, the last one that tflite-runtime has wheels for.
SUITE = "bookworm"
PACKAGES = "python3-minimal,python3-numpy,libstdc++6"
PYTHON = "python3.11"
# Plugins are not in the static programs, and those of qemu 9 and later need another interface.
LEAST_QEMU, PLUGINS_UNTIL = 7, 9
INSTALL = "apt-get install --no-install-recommends qemu-user mmdebstrap gcc libc6-dev"
# Seconds; the slowest command, pip, takes one minute on an idle machine.
TIME_LIMIT = 600


@dataclass(frozen=True)
class Architecture:
    """An architecture that Debian is made for.

    Attributes:
        name: Debian's.
        emulator: the program of qemu.
        triplet: name of the folder of libraries.
        platforms: of its wheels, for pip.
        extra: of the project's wheel, for all runtimes that the architecture has.
        wheels: what pip must find for it, besides numpy, which is Debian's.
        runtimes: those that exist for it, by the names that ``device_runner`` gives them.
        getppid: number of that system call.
    """

    name: str
    emulator: str
    triplet: str
    platforms: tuple[str, ...]
    extra: str
    wheels: tuple[str, ...]
    runtimes: tuple[str, ...]
    getppid: int


@dataclass(frozen=True)
class Cpu:
    """A processor that qemu knows.

    Attributes:
        name: qemu's.
        architecture: the one of the system that runs on it here.
        board: a Raspberry Pi that has it.
        part: its number in ``/proc/cpuinfo``.
        features: its instruction sets there.
    """

    name: str
    architecture: Architecture
    board: str
    part: str
    features: str


OF_LITERT = ("ai-edge-litert", "backports.strenum", "flatbuffers", "ml_dtypes", "protobuf", "tqdm", "typing_extensions")
ARM64 = Architecture(
    "arm64", "qemu-aarch64", "aarch64-linux-gnu",
    ("manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
    "[tflite]", (*OF_LITERT, "tflite-runtime", "click", "pip"), ("litert", "tflite-runtime"), 173,
)  # fmt: skip
ARMHF = Architecture(
    "armhf", "qemu-arm", "arm-linux-gnueabihf", ("manylinux_2_34_armv7l",),
    "", ("tflite-runtime", "click", "pip"), ("tflite-runtime",), 64,
)  # fmt: skip
BASE = "fp asimd evtstrm crc32 cpuid"
CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("cortex-a53", ARM64, "Raspberry Pi 3 and Zero 2 W", "0xd03", BASE),
        Cpu("cortex-a72", ARM64, "Raspberry Pi 4", "0xd08", BASE),
        Cpu(
            "cortex-a76", ARM64, "Raspberry Pi 5", "0xd0b",
            f"{BASE} aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
        ),
        Cpu("cortex-a7", ARMHF, "Raspberry Pi 2", "0xc07", "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva"),
    )
}  # fmt: skip


def unavailable(reason: str) -> None:
    """Skip the test, or fail in CI and with EDGEREC_SERVERS=1, like the tests that need a database server."""
    if os.environ.get("CI") or os.environ.get("EDGEREC_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def version_of(said: str) -> tuple[int, ...]:
    """The version in the answer of a program of qemu to ``--version``."""
    found = re.search(r"version (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


@cache
def emulator(architecture: Architecture) -> str:
    """Path of the emulator."""
    for program in ("mmdebstrap", architecture.emulator):
        if not shutil.which(program):
            static = shutil.which(f"{program}-static")
            unavailable(f"no {program} here{' (the static one has no plugins)' if static else ''}: {INSTALL}")
    path = str(shutil.which(architecture.emulator))
    version = version_of(output([path, "--version"]))
    if version < (LEAST_QEMU,):
        unavailable(f"{path} is of version {'.'.join(map(str, version))}; {LEAST_QEMU} or later is needed: {INSTALL}")
    return path


def check_plugins(architecture: Architecture) -> None:
    """Skip or fail where the emulator cannot load the counter of instructions.

    Where the system's qemu is too new, there is nothing to install, so that is a reason to skip in CI too.
    """
    path = emulator(architecture)
    major = version_of(output([path, "--version"]))[0]
    reason = (
        f"{path} of version {major} cannot load the counter of instructions; it needs the dynamic program of a "
        f"version from {LEAST_QEMU} to {PLUGINS_UNTIL - 1}, as in Debian 12: {INSTALL}"
    )
    if major >= PLUGINS_UNTIL:
        pytest.skip(reason)
    if "-plugin" not in output([path, "-h"]):
        unavailable(reason)
    if not shutil.which("gcc"):
        unavailable(f"no gcc here: {INSTALL}")


def output(command: Sequence[str | Path]) -> str:
    """What a command prints, whatever its exit code."""
    return subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT).stdout


def call(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run a command; fails the test with the end of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, env=environment)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command[:4]))}… ended with {done.returncode}: {done.stderr[-2000:]}")


@contextmanager
def made_once(kind: str, *depends_on: object) -> Iterator[tuple[Path, Path | None]]:
    """The folder for what depends on this, and where to make it: ``None`` if it is there already."""
    key = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:12]
    folder = STORE / f"{kind}-{key}"
    STORE.mkdir(parents=True, exist_ok=True)
    with FileLock(STORE / f"{kind}.lock"):
        if folder.exists():
            yield folder, None
            return
        part = STORE / f"{kind}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        yield folder, part
        for old in STORE.glob(f"{kind}-*"):
            shutil.rmtree(old)
        part.rename(folder)


def mirrors(etc: Path = Path("/etc/apt")) -> list[str]:
    """Addresses of Debian archives in the apt sources, in both of their forms."""
    addresses: list[str] = []
    for file in sorted([*etc.glob("sources.list"), *etc.glob("sources.list.d/*.list")]):
        for line in file.read_text().splitlines():
            found = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
            if found and "main" in found[3].split("#")[0].split() and _is_release(found[2]):
                addresses.append(found[1])
    for file in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", file.read_text())):
            fields = {
                key.lower(): value.split() for key, value in re.findall(r"(?m)^([\w-]+):((?:.|\n[ \t])*)", stanza)
            }
            wanted = "deb" in fields.get("types", []) and "main" in fields.get("components", [])
            enabled = fields.get("enabled", ["yes"]) != ["no"]
            if wanted and enabled and any(map(_is_release, fields.get("suites", []))):
                addresses += fields.get("uris", [])
    return [address.rstrip("/") for address in dict.fromkeys(addresses)]


def _is_release(suite: str) -> bool:
    """Whether it is a whole release, not its updates or security fixes, which are incomplete."""
    return bool(re.fullmatch(r"[a-z]+", suite))


def root(architecture: Architecture) -> Path:
    """Folder of Debian's Python and numpy for the architecture, extracted only: nothing in it was run."""
    with made_once(f"root-{architecture.name}", SUITE, PACKAGES) as (folder, part):
        if part:
            found = mirrors()
            if not found:
                unavailable("no Debian archive with the component main is in the apt sources of this machine")
            call(
                [
                    "mmdebstrap", "--quiet", "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
                    f"--arch={architecture.name}", "--variant=extract", f"--include={PACKAGES}",
                    "--aptopt=Acquire::Retries \"3\"", SUITE, part, f"deb {found[0]} {SUITE} main",
                ]
            )  # fmt: skip
            compile_modules(part / "usr/lib" / PYTHON, part / "usr/lib/python3")
    return folder


def compile_modules(*folders: Path) -> None:
    """Compile Python's modules, as Debian's packages and pip do on a device: a command then starts in a third of the
    time. Done by this machine's Python, which is faster, if it is of the version that the guest has.
    """
    if f"python{sys.version_info.major}.{sys.version_info.minor}" == PYTHON:
        # Hashes instead of times, which pip and mmdebstrap do not keep; not checked, as nothing changes any more.
        options = ["-q", "-j2", "--invalidation-mode=unchecked-hash", "-x", "/tests?/|lib2to3|f2py|distutils"]
        call([sys.executable, "-m", "compileall", *options, *folders])


def pinned(names: Sequence[str]) -> list[str]:
    """The distributions with the versions of ``constraints.txt``, where it has one."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return [f"{name}=={versions[name]}" if name in versions else name for name in names]


def wheels(architecture: Architecture) -> Path:
    """Folder of the wheels that the project's own needs on the architecture, without numpy."""
    wanted = pinned(architecture.wheels)
    with made_once(f"wheels-{architecture.name}", wanted, architecture.platforms) as (folder, part):
        if part:
            platforms = [f"--platform={platform}" for platform in architecture.platforms]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            python = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
            call([*pip, *python, "--abi=cp311", "--abi=abi3", "--abi=none", *platforms, "--dest", part, *wanted])
    return folder


def project_files() -> list[Path]:
    """The files that the wheel is made from."""
    packages = [path for name in ("device_runner", "converters", "edgerec") for path in (PROJECT / name).rglob("*")]
    sources = [path for path in packages if path.is_file() and "__pycache__" not in path.parts]
    return sorted([*sources, *(PROJECT / name for name in ("pyproject.toml", "README.md", "LICENSE"))])


@cache
def wheel() -> Path:
    """The wheel of the project as it is now."""
    contents = [(str(path.relative_to(PROJECT)), path.read_bytes()) for path in project_files()]
    with made_once("wheel", contents) as (folder, part):
        if part:
            tree = part / "tree"  # a copy: setuptools would take up what an earlier build left in the project's build/
            for name, content in contents:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_bytes(content)
            call([sys.executable, "-m", "build", "--wheel", "--outdir", part, tree])
            shutil.rmtree(tree)
    (path,) = folder.glob("*.whl")
    return path


# Runs the emulator as if it were Python: the guest starts children by this name too. Which processor, and where the
# guest's files are, is in the environment; LD_LIBRARY_PATH is not, as it would be for this script too.
LAUNCHER = """#!/bin/sh
exec {emulator} $EDGEREC_QEMU_OPTIONS -0 "${{EDGEREC_PYTHON:-$0}}" -E LD_LIBRARY_PATH={libraries} {python} "$@"
"""


def environment(architecture: Architecture) -> Path:
    """A virtual environment over Debian's Python in which the project's wheel was installed by pip, as on a Pi."""
    system, parts = root(architecture), wheels(architecture)
    own = zipfile.ZipFile(wheel())
    contents = [(entry.filename, entry.CRC) for entry in own.infolist()]
    with made_once(f"venv-{architecture.name}", system, parts, contents, LAUNCHER) as (folder, part):
        if part:
            (part / "bin").mkdir()
            (part / "pyvenv.cfg").write_text(f"home = {system}/usr/bin\ninclude-system-site-packages = true\n")
            libraries = system / "usr/lib" / architecture.triplet
            (part / "bin" / "python").write_text(
                LAUNCHER.format(
                    emulator=emulator(architecture),
                    libraries=f"{libraries / 'blas'}:{libraries / 'lapack'}",
                    python=system / "usr/bin" / PYTHON,
                )
            )
            (part / "bin" / "python").chmod(0o755)
            # pip looks into the executable itself for what wheels fit.
            (part / "bin" / PYTHON).symlink_to(system / "usr/bin" / PYTHON)
            cpu = next(cpu for cpu in CPUS.values() if cpu.architecture == architecture)
            (pip,) = parts.glob("pip-*.whl")
            call(
                [
                    part / "bin" / "python", f"{pip}/pip", "install", "--quiet", "--no-index", "--no-compile",
                    "--find-links", parts, f"edgerec{architecture.extra} @ file://{wheel()}",
                ],
                guest_environment(cpu) | {"EDGEREC_PYTHON": str(part / "bin" / PYTHON)},
            )  # fmt: skip
            compile_modules(part / "lib")
    return folder


def prefix(cpu: Cpu) -> Path:
    """Folder that the emulator shows the guest as ``/``: the libraries, and a description of the processor, without
    which litert reads that of the host and crashes.
    """
    system = root(cpu.architecture)
    with made_once(f"prefix-{cpu.name}", system, cpu) as (folder, part):
        if part:
            for name in ("usr", "lib"):
                (part / name).symlink_to(system / name)
            (part / "proc").mkdir()
            lines = [
                "BogoMIPS\t: 38.40", f"Features\t: {cpu.features}", "CPU implementer\t: 0x41",
                f"CPU architecture: {8 if cpu.architecture is ARM64 else 7}", "CPU variant\t: 0x0",
                f"CPU part\t: {cpu.part}", "CPU revision\t: 3",
            ]  # fmt: skip
            blocks = ["\n".join([f"processor\t: {number}", *lines, ""]) for number in range(4)]
            (part / "proc" / "cpuinfo").write_text("\n".join(blocks) + "\n")
    return folder


def guest_environment(cpu: Cpu) -> dict[str, str]:
    """Environment variables of a process on the processor."""
    return {
        "PATH": os.environ["PATH"],
        "QEMU_CPU": cpu.name,
        "QEMU_LD_PREFIX": str(prefix(cpu)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
    }


def guest(
    cpu: Cpu, *arguments: object, options: Sequence[str] = (), stdin: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with the arguments on the processor.

    Args:
        options: for the emulator.
        folder: to run in.
    """
    python = environment(cpu.architecture) / "bin" / "python"
    return subprocess.run(
        [python, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env=guest_environment(cpu) | {"EDGEREC_QEMU_OPTIONS": " ".join(options)},
        cwd=folder or "/",
    )


def device(cpu: Cpu, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``edgerec-device`` as pip installed it, with the arguments."""
    return guest(cpu, environment(cpu.architecture) / "bin" / "edgerec-device", *arguments, folder=folder)
