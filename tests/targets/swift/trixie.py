"""Debian 13 with Swift, extracted below ``build/targets/swift``, in which the package is compiled and tested.

Debian 12 has no Swift. The packages (444 MB; 2.5 GB on disk) come from the mirror in the machine's own apt sources, the
C library of TFLite from PyPI. Needs ``mmdebstrap``, ``unshare``, and root for its mounts, which end with each command.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
sys.path.insert(0, str(PROJECT / "tests" / "arm"))
from machine import mirrors  # noqa: E402

STORE = PROJECT / "build" / "targets" / "swift"
SUITE = "trixie"
PACKAGES = "base-files,bash,coreutils,swiftlang,libsqlite3-dev,zlib1g-dev,libssl-dev"
SWIFT = "/usr/libexec/swift"
# A wheel with the C library of TFLite 2.17.1.
WHEEL = "pymicro-wakeword==2.5.0"
# Folders in the root at which the package, this repository and the C library are seen.
PACKAGE, REPOSITORY, LIBRARIES = "/package", "/repository", "/tflite"
# Arguments: the root, and what is bound to the three folders above; then the command.
ENTER = f"""
set -e
root=$1
mkdir -p "$root{PACKAGE}" "$root{REPOSITORY}" "$root{LIBRARIES}"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind "$2" "$root{PACKAGE}"
mount --bind "$3" "$root{REPOSITORY}"
mount -o remount,bind,ro "$root{REPOSITORY}"
mount --bind "$4" "$root{LIBRARIES}"
shift 4
cd /
exec chroot "$root" /usr/bin/env -i -C {PACKAGE} HOME=/root PATH={SWIFT}/bin:/usr/bin:/bin \
    LD_LIBRARY_PATH={LIBRARIES}:{SWIFT}/lib/swift/linux "$@"
"""


def missing() -> str:
    """Why Swift cannot be run here; ``""`` if it can."""
    if not (STORE / SUITE).is_dir() and not shutil.which("mmdebstrap"):
        return "mmdebstrap is not installed"
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return "the root file system is entered by root, with unshare"
    return "" if mirrors() else "no Debian archive is in the apt sources of this machine"


def root() -> Path:
    """Folder of the root file system, extracted only: no script of a package was run."""
    folder, partial = STORE / SUITE, STORE / f"{SUITE}.partial"
    if not folder.exists():
        STORE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        command = [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--include={PACKAGES}",
            "--aptopt=Acquire::Retries \"3\"", SUITE, str(partial), f"deb {mirrors()[0]} {SUITE} main",
        ]  # fmt: skip
        checked(command)
        partial.rename(folder)
    return folder


def tflite() -> Path:
    """Folder of the C library of TFLite."""
    folder = STORE / WHEEL
    if not folder.exists():
        checked([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), WHEEL])
    return next(folder.rglob("libtensorflowlite_c.so")).parent


def checked(command: list[str]) -> None:
    """Run a command, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-3000:]}")


def run(package: Path, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in the root file system, in the folder of the package."""
    places = map(str, (root(), package, PROJECT, tflite()))
    variables = [f"{name}={value}" for name, value in environment.items()]
    entered = ["unshare", "--mount", "bash", "-c", ENTER, "bash", *places, *variables, *command]
    return subprocess.run(entered, capture_output=True, text=True, errors="replace", timeout=900)
