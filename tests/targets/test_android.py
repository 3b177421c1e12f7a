"""The export to Android; and the module itself, compiled and run on the JVM (``make check-targets``)."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters.bundle_writer import with_facts
from edgerec.cli.main import main

sys.path.insert(0, str(Path(__file__).parent / "android"))
from build import ROOT, Built, build

GROCERY = ROOT / "models" / "grocery" / "model.tflite"
SUITE = ROOT / "converters" / "targets" / "conformance"
PLAIN = SUITE / "bundles" / "plain.tflite"
on_the_jvm = pytest.mark.skipif(not os.environ.get("EDGEREC_TARGETS"), reason="make check-targets compiles Kotlin")


def export(*arguments: str | Path) -> "tuple[int, str]":
    result = CliRunner().invoke(main, ["export", "android", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_export_has_the_very_bundle_and_a_readme_without_gaps(tmp_path: Path) -> None:
    code, output = export(GROCERY, tmp_path / "out")
    assert code == 0, output
    assets = tmp_path / "out" / "recommender" / "src" / "main" / "assets" / "edgerec"
    assert (assets / "model.tflite").read_bytes() == GROCERY.read_bytes()
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "3,885 items" in readme and not re.search(r"@[A-Z]+@", readme)
    assert "edgerec.runtime=litert\n" in (tmp_path / "out" / "gradle.properties").read_text()


def test_the_export_refuses_a_scheme_that_the_library_does_not_run(tmp_path: Path) -> None:
    code, output = export(GROCERY, tmp_path / "out", "--runtime", "tensorflow-lite")
    assert code == 1 and "does not run the scheme int4" in output
    assert list(tmp_path.iterdir()) == []


def test_the_export_leaves_a_folder_alone_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    code, output = export(PLAIN, tmp_path)
    assert code == 1 and "not an empty folder" in output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_export_refuses_a_file_that_is_no_retrieval_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\0" * 100)
    code, output = export(tmp_path / "x.tflite", tmp_path / "out")
    assert code == 1 and "not a TFLite file" in output


def test_the_readme_names_the_versions_that_gradle_takes() -> None:
    template = ROOT / "converters" / "targets" / "android"
    versions = dict(
        re.findall(r'^([a-z-]+) = "([^"]+)"$', (template / "gradle" / "libs.versions.toml").read_text(), re.M)
    )
    readme = (template / "README.md").read_text()
    poms = "".join(path.read_text() for path in (Path(__file__).parent / "android").glob("*.xml"))
    assert f"litert:litert:{versions['litert']}`" in readme
    assert f"tensorflow-lite:{versions['tensorflow-lite']}`" in readme
    for name in versions.keys() - {"agp", "litert", "compose-bom"}:  # the others are compiled and run here
        assert f"<version>{versions[name]}</version>" in poms, name


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("android"), ROOT / "build" / "targets" / "android")


@on_the_jvm
def test_kotlin_passes_the_conformance_suite(built: Built) -> None:
    done = built.run("org.edgerec.SuiteKt", SUITE, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"[1-9][0-9]* passed, 0 failed", done.stdout)) == len(list(SUITE.glob("cases/*.json")))


@on_the_jvm
def test_a_newer_model_in_an_update_of_the_app_wins_over_a_replacement(built: Built, tmp_path: Path) -> None:
    def released(release: int) -> Path:
        path = tmp_path / f"release-{release}.tflite"
        path.write_bytes(with_facts(PLAIN, {"release": release}))
        return path

    steps = [
        (f"replace={released(2)}", 2, ""),
        (f"replace={released(1)}", 2, "release 1 is older than release 2"),
        (f"ship={released(1)}", 2, ""),
        (f"ship={released(9)}", 9, ""),
        ("rollback", 9, "no model before"),
    ]
    done = built.run("org.edgerec.ShippingKt", PLAIN, tmp_path / "folder", *(step for step, _, _ in steps))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for (step, release, refusal), answer in zip(steps, answers, strict=True):
        assert answer["release"] == release and len(answer["items"]) == 3, (step, answer)
        assert bool(answer["refusal"]) == bool(refusal) and refusal in answer["refusal"], (step, answer)


@on_the_jvm
def test_a_model_that_ended_the_app_twice_is_not_tried_again(built: Built, tmp_path: Path) -> None:
    new = tmp_path / "new.tflite"
    new.write_bytes(with_facts(PLAIN, {"release": 1}))
    folder = tmp_path / "folder"
    folder.mkdir()
    for ends, release in ((2, 0), (1, 1)):
        (folder / "trial").write_text(f"{hashlib.sha256(new.read_bytes()).hexdigest()} {ends}")  # as a crash leaves it
        done = built.run("org.edgerec.ShippingKt", PLAIN, folder, f"replace={new}")
        answer = json.loads(done.stdout)
        assert answer["release"] == release and ("ended 2 times" in answer["refusal"]) == (ends == 2)
    assert not (folder / "trial").exists()


@on_the_jvm
def test_the_self_test_of_the_export_and_the_history_store_pass_on_android_classes(built: Built) -> None:
    done = built.on_android(GROCERY)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "OK (6 tests)" in done.stdout


@on_the_jvm
def test_the_sample_app_compiles_against_compose(built: Built) -> None:
    assert built.sample().stat().st_size > 10_000


@on_the_jvm
def test_the_native_library_of_the_switch_has_pages_of_4_kb_as_the_readme_says(built: Built, tmp_path: Path) -> None:
    readelf = shutil.which("readelf")
    if not readelf:
        pytest.skip("readelf is not installed")
    aar = next((ROOT / "build" / "targets" / "android" / "jars").glob("tensorflow-lite-2*.aar"))
    shutil.unpack_archive(aar, tmp_path, "zip")
    library = tmp_path / "jni" / "arm64-v8a" / "libtensorflowlite_jni.so"
    segments = subprocess.run([readelf, "-lW", library], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in segments.splitlines() if "LOAD" in line} == {"0x1000"}
