"""``edgerec-device doctor``: each problem that is known, with its remedy."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from toys import toys

from converters.bundle_writer import bundle_bytes
from device_runner import Bundle, BundleError
from device_runner.backends import installed_backends
from device_runner.cli import main
from device_runner.contract import Retrieval
from device_runner.doctor import Finding, Machine, examine
from device_runner.golden import check_in_child

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"
PI = Machine("aarch64", 64, (3, 11), ("glibc", "2.36"), "2.1.0", {"litert": "2.3.0"}, Path("/absent"))


def problems(machine: Machine, model: Path | None = None) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(model, machine) if finding.status != "ok"}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machines of these tests are made up, so there is nothing to import."""
    monkeypatch.setattr("device_runner.doctor.run_module", lambda *_, **__: "")


def test_a_healthy_machine_has_no_problem() -> None:
    assert problems(PI) == {}
    assert (
        problems(Machine("armv7l", 32, (3, 11), ("glibc", "2.36"), "1.24.2", {"tflite-runtime": "2.14.0"}, PI.root))
        == {}
    )


@pytest.mark.parametrize(
    ("changes", "subject", "remedy"),
    [
        ({"architecture": "armv6l", "bits": 32}, "architecture", "Zero 2 W"),
        ({"architecture": "riscv64"}, "architecture", "no TFLite runtime"),
        ({"python": (3, 10)}, "Python", "3.11 or later"),
        ({"python": (3, 15)}, "Python", "use Python 3.14"),
        (
            {"architecture": "armv7l", "bits": 32, "python": (3, 13), "runtimes": {}},
            "Python",
            "64-bit operating system",
        ),
        ({"bits": 32, "python": (3, 13), "runtimes": {}}, "Python", "64-bit operating system"),
        ({"libc": ("glibc", "2.24")}, "C library", "needs 2.27"),
        ({"libc": ("", "")}, "C library", "Alpine"),
        ({"libc": ("glibc", "2.31"), "numpy": "1.24", "runtimes": {"tflite-runtime": "2.14.0"}}, "C library", "2.34"),
        ({"runtimes": {}}, "runtime", "pip install ai-edge-litert"),
        ({"bits": 32, "runtimes": {}}, "runtime", "pip install tflite-runtime"),
        ({"runtimes": {"tflite-runtime": "2.14.0"}}, "runtime", "numpy<2"),
    ],
)
def test_every_known_problem_has_its_remedy(changes: dict[str, object], subject: str, remedy: str) -> None:
    found = problems(replace(PI, **changes))[subject]  # type: ignore[arg-type]
    assert found.status == "problem" and remedy in found.remedy


def test_a_runtime_that_is_not_needed_is_only_a_warning() -> None:
    found = problems(replace(PI, runtimes={"litert": "2.3.0", "tflite-runtime": "2.14.0"}))
    assert found["runtime"].status == "warning" and "pip uninstall tflite-runtime" in found["runtime"].remedy


def test_too_little_memory_and_a_weak_supply_are_told(tmp_path: Path) -> None:
    for name, text in {
        "proc/meminfo": "MemAvailable: 20000 kB",
        "proc/cpuinfo": "Features\t: fp crc32",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50000",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = problems(replace(PI, root=tmp_path))
    assert found["memory"].status == "problem" and "20 MB free" in found["memory"].found
    assert found["power"].status == "warning" and "power supply" in found["power"].remedy
    assert found["CPU"].status == "problem" and "NEON" in found["CPU"].remedy


def test_a_runtime_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_runner.doctor.run_module", lambda *_, **__: "the process was killed by signal 11")
    found = problems(PI)["import"]
    assert "signal 11" in found.found and "--force-reinstall ai-edge-litert" in found.remedy


def test_a_good_bundle_gives_the_right_answers_here() -> None:
    result = CliRunner().invoke(main, ["doctor", str(MODEL), "--json"])
    document = json.loads(result.stdout)
    assert result.exit_code == 0 and document["healthy"]
    (inference,) = [finding for finding in document["findings"] if finding["subject"] == "inference"]
    assert inference["status"] == "ok" and "5 golden vectors agree" in inference["found"]
    shown = CliRunner().invoke(main, ["doctor", str(MODEL)])
    assert shown.exit_code == 0 and shown.output.endswith("Nothing keeps it from running.\n")


def changed(path: Path, change: str) -> Path:
    """A copy of the grocery bundle with wrong golden vectors."""
    good = Bundle.read(MODEL)
    cases = good.golden()
    if change == "scores":
        cases[2]["scores"][0] *= 1.5
    elif change == "items":
        cases[2]["ids"][0] = cases[2]["ids"][-1] + 1000
    elif change == "length":
        cases[2]["exclude"] = list(range(1, good.contract_of(Retrieval).items - 3))
    content = MODEL.read_bytes()[: good.manifest["flatbuffer_bytes"]]
    facts = {"runtimes": good.runtimes, "exclude_history": good.exclude_history}
    path.write_bytes(bundle_bytes(content, "x", "int4", good.contract, good.items[1:], golden=cases, facts=facts))
    return path


@pytest.mark.parametrize(
    ("change", "said"), [("scores", "the score at"), ("items", "the score at"), ("length", "4 items were")]
)
def test_wrong_answers_are_found(tmp_path: Path, change: str, said: str) -> None:
    path = changed(tmp_path / "m.tflite", change)
    with pytest.raises(BundleError, match=rf"golden vector 3 of 5: .*{said}"):
        check_in_child(path)


def test_a_bundle_with_wrong_answers_is_a_problem(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", str(changed(tmp_path / "m.tflite", "scores"))])
    assert result.exit_code == 1
    assert "PROBLEM  inference" in result.output and "golden vector 3 of 5" in result.output


def test_a_damaged_bundle_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(MODEL.read_bytes()[:-100])
    result = CliRunner().invoke(main, ["doctor", str(tmp_path / "m.tflite")])
    assert result.exit_code == 1 and "copy the file again" in result.output
    assert CliRunner().invoke(main, ["doctor", str(tmp_path / "absent.tflite")]).exit_code == 1


def test_a_file_that_crashes_the_runtime_takes_nobody_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = tmp_path / "sitecustomize.py"
    crash.write_text("import os, sys\nif 'device_runner.golden' in sys.argv: os.abort()\n")
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    with pytest.raises(BundleError, match="killed by signal 6"):
        check_in_child(MODEL)


def test_a_bundle_for_another_runtime_says_which_to_install() -> None:
    found = problems(replace(PI, runtimes={"tflite-runtime": "2.14.0"}, numpy="1.26.4"), MODEL)["inference"]
    assert found.status == "problem" and found.remedy == "pip install ai-edge-litert"
    found = problems(Machine("armv7l", 32, (3, 11), ("glibc", "2.36"), "1.24", {"tflite-runtime": "2.14.0"}), MODEL)[
        "inference"
    ]
    assert "another scheme" in found.remedy or "convert the model" in found.remedy


@pytest.mark.skipif("litert" not in installed_backends(), reason="litert is not installed")
def test_a_bundle_without_golden_vectors_is_a_warning() -> None:
    here = Machine.here()
    found = [
        finding
        for finding in examine(toys()["plain"], here)
        if finding.subject == "inference" and "litert:" in finding.found
    ]
    assert [finding.status for finding in found] == ["warning"]
