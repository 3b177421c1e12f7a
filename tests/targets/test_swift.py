"""The export to iOS; and the package itself, compiled and run by Swift on Linux (``make check-swift``)."""

import os
import random
import re
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters.bundle_writer import bundle_bytes
from device_runner.bundle import Bundle
from edgerec.cli.main import main

HERE = Path(__file__).parent / "swift"
sys.path.insert(0, str(HERE))
from trixie import LIBRARIES, PACKAGE, PROJECT, REPOSITORY, missing, run  # noqa: E402

sys.path.insert(0, str(PROJECT / "tests"))
from hostile_files import KINDS  # noqa: E402

TEMPLATE = PROJECT / "converters" / "targets" / "ios"
GROCERY = PROJECT / "models" / "grocery" / "model.tflite"
SUITE = PROJECT / "converters" / "targets" / "conformance"
PLAIN, RANKING = (SUITE / "bundles" / f"{name}.tflite" for name in ("plain", "ranking"))
# TFLite 2.17, which runs here for LiteRT's framework, has no kernel for tables of 4 bits.
LEFT_OUT = GROCERY.relative_to(PROJECT).as_posix()
# Files of each kind and bundle. The kinds that change the graph or its weights are left out: TFLite trusts them.
HOSTILE_FILES, HOSTILE_KINDS = 12, ("raw", "archive", "members", "manifest")
SYSTEM_MODULES = ("CTensorFlowLite", "CSystem", "CCrypto")
in_swift = pytest.mark.skipif(not os.environ.get("EDGEREC_SWIFT"), reason="make check-swift compiles Swift")


def export(*arguments: str | Path) -> "tuple[int, str]":
    result = CliRunner().invoke(main, ["export", "ios", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_export_has_the_very_bundles_and_a_readme_without_gaps(tmp_path: Path) -> None:
    code, output = export(GROCERY, tmp_path / "out", "--ranker", RANKING)
    assert code == 0, output
    models = tmp_path / "out" / "Sources" / "EdgeRec" / "Model"
    assert (models / "model.tflite").read_bytes() == GROCERY.read_bytes()
    assert (models / "ranker.tflite").read_bytes() == RANKING.read_bytes()
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "3,885 items" in readme and not re.search(r"@[A-Z]+@", readme)


def test_the_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    assert export(PLAIN, tmp_path / "out", "--ranker", RANKING)[0] == 0
    assert export(PLAIN, tmp_path / "out")[0] == 0
    assert not list((tmp_path / "out").rglob("ranker.tflite"))
    (tmp_path / "mine").write_text("x")
    code, output = export(PLAIN, tmp_path)
    assert code == 1 and "no earlier export" in output
    assert (tmp_path / "mine").read_text() == "x"


def test_the_export_refuses_a_model_that_was_not_verified_on_its_runtime(tmp_path: Path) -> None:
    plain = Bundle.read(PLAIN)
    facts = {"runtimes": {"tflite-runtime": plain.runtimes["tflite-runtime"]}}
    (tmp_path / "old.tflite").write_bytes(bundle(plain, list(plain.items[1:]), facts))
    code, output = export(tmp_path / "old.tflite", tmp_path / "out")
    assert code == 1 and "was verified on tflite-runtime" in output and "LiteRT 2.3" in output
    assert not (tmp_path / "out").exists()


def test_the_export_refuses_files_that_are_no_bundles_of_their_kind(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\0" * 100)
    for arguments, reason in (
        ([tmp_path / "x.tflite"], "not a TFLite file"),
        ([RANKING], "a ranking model, not a retrieval model"),
        ([PLAIN, "--ranker", PLAIN], "a retrieval model, not a ranking model"),
    ):
        code, output = export(arguments[0], tmp_path / "out", *arguments[1:])
        assert code == 1 and reason in output
        assert not (tmp_path / "out").exists()


def test_the_readme_names_the_runtime_of_the_package() -> None:
    version = re.search(r"LiteRT/releases/download/v([0-9.]+)/", (TEMPLATE / "Package.swift").read_text())
    assert version and f"LiteRT {version[1]}," in (TEMPLATE / "README.md").read_text("utf-8")


def bundle(plain: Bundle, items: list[str], facts: dict[str, object]) -> bytes:
    """The plain bundle with other ids and facts, and the golden vectors that it has."""
    flatbuffer = PLAIN.read_bytes()[: plain.manifest["flatbuffer_bytes"]]
    given = {name: plain.manifest[name] for name in ("runtimes", "dataset")} | facts
    return bundle_bytes(flatbuffer, "new", "float32", plain.contract, items, golden=plain.golden(), facts=given)


def write_releases(folder: Path) -> None:
    """Releases 2, 3 and 9 of a model, each with its items in another order."""
    plain = Bundle.read(PLAIN)
    folder.mkdir()
    for name, release in (("two", 2), ("three", 3), ("nine", 9)):
        items = list(plain.items[1:])
        random.Random(release).shuffle(items)
        (folder / f"{name}.tflite").write_bytes(bundle(plain, items, {"release": release}))


def write_hostile_files(folder: Path) -> int:
    """Damaged and crafted files; returns how many."""
    folder.mkdir()
    for path in sorted((SUITE / "bundles").glob("*.tflite")):
        for kind in HOSTILE_KINDS:
            for seed in range(HOSTILE_FILES):
                content = KINDS[kind][0](path.read_bytes(), random.Random(f"{path.stem}:{kind}:{seed}"))
                (folder / f"{path.stem}-{kind}-{seed}.tflite").write_bytes(content)
    return len(list(folder.iterdir()))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with the tests of this folder, compiled."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("swift") / "package"
    assert export(PLAIN, folder, "--ranker", RANKING)[0] == 0
    for path in HERE.glob("*.swift"):
        shutil.copyfile(path, folder / "Tests" / "EdgeRecTests" / path.name)
    done = run(folder, "swift", "build", "-j", "2", "--build-tests", "-Xlinker", f"-L{LIBRARIES}")
    assert done.returncode == 0, done.stdout[-5000:]
    assert not re.findall(r"warning: .*", done.stdout)
    return folder


@in_swift
def test_swift_passes_the_conformance_suite_and_its_own_tests(package: Path) -> None:
    write_releases(package / "releases")
    files = write_hostile_files(package / "hostile")
    done = run(
        package, "swift", "test", "--skip-build", "-Xlinker", f"-L{LIBRARIES}", EDGEREC_ROOT=REPOSITORY,
        EDGEREC_LEFT_OUT=LEFT_OUT, EDGEREC_RELEASES=f"{PACKAGE}/releases", EDGEREC_HOSTILE=f"{PACKAGE}/hostile",
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.findall(r"^\S+\.json: ([1-9][0-9]*) passed, 0 failed", done.stdout, re.M)
    assert len(passed) == len(list(SUITE.glob("cases/*.json"))) - 1
    tried = re.search(r"hostile files: ([0-9]+) answered, ([0-9]+) refused", done.stdout)
    assert tried and int(tried[1]) + int(tried[2]) == files
    tests = sum(path.read_text().count("    func test") for path in package.glob("Tests/*/*.swift"))
    assert f"Executed {tests} tests, with 0 failures" in done.stdout


@in_swift
def test_the_sample_app_is_swift(package: Path) -> None:
    """SwiftUI is for Apple's systems only, so the sample is parsed here, not compiled."""
    files = [f"Sample/{path.name}" for path in (package / "Sample").glob("*.swift")]
    done = run(package, "swiftc", "-frontend", "-parse", *files)
    assert files and done.returncode == 0, done.stderr


@in_swift
def test_the_swift_is_formatted(package: Path) -> None:
    configuration = f"{REPOSITORY}/{(HERE / 'format.json').relative_to(PROJECT)}"
    parts = ("Package.swift", "Sources", "Tests", "Sample")
    done = run(package, "swift-format", "lint", "--strict", "--configuration", configuration, "-r", *parts)
    assert done.returncode == 0, done.stderr[-3000:]


@in_swift
def test_the_swift_of_the_readme_compiles(package: Path) -> None:
    blocks = re.findall(r"```swift\n(.*?)```", (package / "README.md").read_text("utf-8"), re.S)
    assert len(blocks) == 2
    functions = [
        f"func example{number}(key: Data, downloaded: Data, text: String) async throws {{\n{block}}}\n"
        for number, block in enumerate(block.replace("import EdgeRec\n", "") for block in blocks)
    ]
    (package / "Readme.swift").write_text("import EdgeRec\nimport Foundation\n" + "".join(functions), "utf-8")
    modules = [f"-I{path}" for path in (".build/debug/Modules", *(f"Sources/{name}" for name in SYSTEM_MODULES))]
    done = run(package, "swiftc", "-typecheck", "-swift-version", "5", *modules, "Readme.swift")
    assert done.returncode == 0, done.stderr
