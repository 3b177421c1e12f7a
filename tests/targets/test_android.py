"""The export to Android; and the module itself, compiled and run on the JVM (``make check-targets``)."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters.bundle_writer import bundle_bytes, with_facts
from device_runner.bundle import Bundle
from edgerec.cli.main import main

sys.path.insert(0, str(Path(__file__).parent / "android"))
from build import MODULE, ROOT, Built, build

GROCERY = ROOT / "models" / "grocery" / "model.tflite"
SUITE = ROOT / "converters" / "targets" / "conformance"
PLAIN = SUITE / "bundles" / "plain.tflite"
# TFLite 2.17, which runs here for the Android library, has no kernel for tables of 4 bits.
LEFT_OUT = [GROCERY.relative_to(ROOT).as_posix()]
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


def test_the_statements_of_the_history_store_keep_the_newest_events_in_order() -> None:
    source = (MODULE / "org" / "edgerec" / "android" / "HistoryStore.kt").read_text("utf-8")
    sql = dict(re.findall(r'const val ([A-Z_]+) =\s*"([^"]+)"', source))
    database = sqlite3.connect(":memory:")
    database.execute(sql["CREATE"])

    def items() -> list[str]:
        return [row[0] for row in database.execute(sql["NEWEST"], (10,))][::-1]

    for time, item in enumerate("abcabd"):
        database.execute("insert into event (item, value, time) values (?, ?, ?)", (item, None, time))
    database.execute(sql["REMOVE"], ("c",))
    assert items() == list("ababd")
    database.execute(sql["FORGET_OLDEST"], (3,))
    assert items() == list("abd")
    database.execute(sql["CLEAR"])
    assert items() == []


def test_the_readme_names_the_versions_that_gradle_takes() -> None:
    template = ROOT / "converters" / "targets" / "android"
    versions = dict(
        re.findall(r'^([a-z-]+) = "([^"]+)"$', (template / "gradle" / "libs.versions.toml").read_text(), re.M)
    )
    readme, pom = (template / "README.md").read_text(), (Path(__file__).parent / "android" / "pom.xml").read_text()
    assert f"litert:litert:{versions['litert']}`" in readme
    assert f"tensorflow-lite:{versions['tensorflow-lite']}`" in readme
    for name in ("tensorflow-lite", "tink", "coroutines", "kotlin"):
        assert f"<version>{versions[name]}</version>" in pom


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("android"), ROOT / "build" / "targets" / "android")


@on_the_jvm
def test_kotlin_passes_the_conformance_suite(built: Built) -> None:
    done = built.run("org.edgerec.SuiteKt", SUITE, ROOT, *LEFT_OUT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"[1-9][0-9]* passed, 0 failed", done.stdout)) == len(list(SUITE.glob("cases/*.json"))) - 1


@on_the_jvm
def test_kotlin_refuses_replacements_and_the_old_model_goes_on_answering(built: Built, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    own, foreign = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()

    def signed(name: str, content: bytes, key: Ed25519PrivateKey | None = own, of: bytes | None = None) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        if key:
            public = key.public_key().public_bytes_raw()
            line = b64encode(key.sign(content if of is None else of)).decode()
            text = f"edgerec-signature 1\ned25519 {hashlib.sha256(public).hexdigest()[:16]} {line}\n"
            path.with_name(name + ".sig").write_text(text)
        return f"replace={path}"

    plain = Bundle.read(PLAIN)
    flatbuffer = PLAIN.read_bytes()[: plain.manifest["flatbuffer_bytes"]]

    def bundle(release: int, golden: object = None, items: "list[str] | None" = None) -> bytes:
        facts = {key: plain.manifest[key] for key in ("runtimes", "dataset")} | {"release": release}
        cases = plain.golden() if golden is None else golden
        ids = list(plain.items[1:]) if items is None else items
        return bundle_bytes(flatbuffer, "new", "float32", plain.contract, ids, golden=cases, facts=facts)

    swapped = list(plain.items[1:])
    swapped[18], swapped[19] = swapped[19], swapped[18]
    two, three = bundle(2, items=swapped), bundle(3)
    wrong = [{**plain.golden()[0], "scores": [9.0] * 5}]
    altered = bytearray(three)
    altered[len(flatbuffer) // 2] ^= 1
    other_kind = with_facts(PLAIN, {"release": 9})
    steps = [
        (signed("two", two), 2, ""),
        ("reopen", 2, ""),
        (signed("unsigned", three, None), 2, "not signed"),
        (signed("foreign", three, foreign), 2, "not signed with the key"),
        (signed("swapped", three, own, two), 2, "not of this model"),
        (signed("altered", bytes(altered)), 2, "altered"),
        (signed("cut", three[:-30]), 2, ""),
        (signed("older", bundle(1)), 2, "release 1 is older than release 2"),
        (signed("golden", bundle(4, wrong)), 2, "golden vectors fail"),
        (signed("untold", bundle(4, [])), 2, "no golden vectors"),
        (signed("foreign items", bundle(4, items=[f"x{row}" for row in range(40)])), 2, "no item in common"),
        (signed("three", three), 3, ""),
        ("rollback", 2, ""),
        ("rollback", 3, ""),
        ("reopen", 3, ""),
        (f"ship={signed('nine', other_kind).removeprefix('replace=')}", 9, ""),
        ("rollback", 9, "no model before"),
    ]
    key = own.public_key().public_bytes_raw().hex()
    done = built.run("org.edgerec.ReplacementsKt", PLAIN, tmp_path / "folder", key, *(step for step, _, _ in steps))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == len(steps)
    for (step, release, refusal), answer in zip(steps, answers, strict=True):
        assert answer["release"] == release, (step, answer)
        assert len(answer["items"]) == 3
        assert bool(answer["refusal"]) == bool(refusal or step.endswith("cut")), (step, answer)
        assert refusal in answer["refusal"], (step, answer)


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
