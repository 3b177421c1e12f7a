"""LiteRT.js, the runtime of the browser: fetched once by the user's own npm, checked, and kept."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from converters.targets.folder import ExportError

# Exact versions, with the hashes that the registry gives for them.
PACKAGES = {
    "@litertjs/core@2.5.3": (
        "litertjs-core-2.5.3.tgz",
        "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    ),
    "@litertjs/wasm-utils@2.5.3": (
        "litertjs-wasm-utils-2.5.3.tgz",
        "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
    ),
}
# LiteRT.js chooses the first one where the browser has relaxed SIMD, else the second. The others are for threads and for
# promises in WebAssembly, which a model of microseconds does not need.
WASM = ("litert_wasm_internal", "litert_wasm_compat_internal")
FILES = {
    "litertjs-core-2.5.3.tgz": {
        "package/dist/index.js": "core.js",
        **{f"package/wasm/{name}{end}": f"wasm/{name}{end}" for name in WASM for end in (".js", ".wasm")},
    },
    "litertjs-wasm-utils-2.5.3.tgz": {"package/dist/index.js": "wasm-utils.js"},
}
TIME_LIMIT = 300


def write_litert_js(into: Path, tarballs: Path | None = None) -> None:
    """Write the files of LiteRT.js that a page needs into a folder, which is made.

    Args:
        tarballs: a folder with both packages as ``npm pack`` writes them; by default they are fetched once and kept in the
            user's cache.

    Raises:
        ExportError: a package is not there, cannot be fetched, or is not the one that it should be.
    """
    for package, (tarball, integrity) in PACKAGES.items():
        path = (tarballs or _cache()) / tarball
        if not path.is_file():
            if tarballs is not None:
                raise ExportError(f"{path}: no such file; write it with: npm pack {package}")
            _fetch(package, path, integrity)
        _check(path, integrity)
        with tarfile.open(path) as archive:
            for name, target in FILES[tarball].items():
                member = archive.extractfile(name)
                if member is None:
                    raise ExportError(f"{path}: has no file {name}")
                (into / target).parent.mkdir(parents=True, exist_ok=True)
                with member, (into / target).open("wb") as file:
                    shutil.copyfileobj(member, file)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgerec" / "npm"


def _fetch(package: str, path: Path, integrity: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ExportError(
            f"npm is not there to fetch {package} (12 MB, once); install Node.js, or write both packages elsewhere with: "
            f"npm pack {' '.join(PACKAGES)}, and name their folder with --litert"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", package, "--pack-destination", folder, "--silent"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIME_LIMIT, cwd=folder)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = next((line for line in str(error.stderr or error).splitlines() if line.strip()), "")
            raise ExportError(f"npm cannot fetch {package} ({said}); is there a network? Later exports need none") from None
        made = Path(folder) / path.name
        if not made.is_file():
            raise ExportError(f"npm wrote no {path.name} for {package}")
        _check(made, integrity)
        made.replace(path)


def _check(path: Path, integrity: str) -> None:
    digest = hashlib.sha512(path.read_bytes()).digest()
    if base64.b64encode(digest).decode() != integrity:
        raise ExportError(f"{path}: is not the package that it should be (its sha512 differs); remove it and try again")
