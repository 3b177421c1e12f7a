"""The wheel on emulated ARM processors: what bundles answer, and every command of the device."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine import CPUS, PROJECT, Architecture, Cpu, device, environment, guest, pinned

from device_runner.bundle import Bundle
from device_runner.contract import Ranking, Retrieval
from models import bundles

HERE = Path(__file__).parent
CASES = [(cpu, runtime) for cpu in CPUS.values() for runtime in cpu.architecture.runtimes]
NAMES = [f"{cpu.name}-{runtime}" for cpu, runtime in CASES]
# Of the largest score: by how much scores may differ from those on x86-64, and where items may change places.
TOLERANCE = 1e-4
# Integer schemes round activations to 8 bits, and the last digit of one decides to which side. A recurrent model
# carries the other value on: 0.6 % at most was seen, on all processors. The golden vectors allow as much.
TOLERANCE_OF_ROUNDING = 0.02
ROUNDING = ("int8", "int8-channel", "int8-sparse", "int2", "int4", "int4-block", "int4-table", "int4-tensor")
# tflite-runtime 2.14.0 reads beyond the weights in its int8 kernel for processors with dot products.
CRASHES = {("cortex-a76", "tflite-runtime", "lru-int8")}
SECONDS = 300

on_every_processor = pytest.mark.parametrize(("cpu", "runtime"), CASES, ids=NAMES)


@dataclass(frozen=True)
class Command:
    """A command line of ``edgerec-device``. ``{model}``, ``{history}`` and such are filled in.

    Attributes:
        line: without the program.
        exact: whether it must print what it prints on x86-64; else only the same keys and kinds of values.
        everywhere: whether it is run on every processor; else only on one of each architecture, with every runtime.
    """

    line: str
    exact: bool = True
    everywhere: bool = False


ALL_COMMANDS_ON = ("cortex-a72", "cortex-a7")
# Run in this order, in one folder.
COMMANDS = [
    Command("inspect {model} --json", everywhere=True),
    Command("doctor {model} --json", exact=False, everywhere=True),
    Command("recommend {model} --history {history} --backend {runtime} --json", everywhere=True),
    Command("recommend {model} --history {history} --backend {runtime} -k 80 --exclude {item} --explain --json"),
    Command("score {model} --history {history} --backend {runtime} {item} {other} --json"),
    Command("similar {model} {item} --backend {runtime} --json"),
    Command("score {ranker} --user age=31 --context hour=18 --backend {runtime} i5 i6 --json"),
    Command("history import user.db {history}", everywhere=True),
    Command("recommend {model} --history-db user.db --backend {runtime} --json", everywhere=True),
    Command("history add user.db {item} --time 1700000000"),
    Command("recommend {model} --history-db user.db --backend {runtime} --json"),
    Command("history list user.db --last 1 --json", exact=False),
    Command("history clear user.db --yes"),
    Command("update slot.tflite {newer} --backend {runtime} --json", everywhere=True),
    Command("recommend slot.tflite --history {history} --backend {runtime} --json"),
    Command("rollback slot.tflite --json"),
    Command("bench {model} --history {history} --backend {runtime} --runs 5 --processes 1 --json", exact=False),
    Command("inspect {ranker} --json"),
    Command("doctor {ranker} --json", exact=False),
    Command("bench {ranker} --backend {runtime} --runs 2 --processes 1 --json", exact=False),
]


def on_this_machine(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the arguments here, with the project's source."""
    variables = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=SECONDS, env=variables, cwd=folder
    )


@functools.cache
def claiming(runtime: str) -> dict[str, Path]:
    """The bundles that were verified on the runtime, by name."""
    return {name: path for name, path in bundles().items() if runtime in Bundle.read(path).runtimes}


@functools.cache
def expected(runtime: str) -> list[list[dict[str, Any]]]:
    """The answers of these bundles on this machine."""
    done = on_this_machine([HERE / "guest_answers.py", runtime, *claiming(runtime).values()], PROJECT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["answers"]


@on_every_processor
def test_every_bundle_answers_its_golden_vectors_as_on_x86(cpu: Cpu, runtime: str) -> None:
    answers = dict(zip(claiming(runtime), expected(runtime), strict=True))
    paths = {name: path for name, path in claiming(runtime).items() if (cpu.name, runtime, name) not in CRASHES}
    assert any(name.startswith("grocery-shaped") for name in paths)
    done = guest(cpu, HERE / "guest_answers.py", runtime, *paths.values())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["about"]["machine"] == {"arm64": "aarch64", "armhf": "armv7l"}[cpu.architecture.name]
    for (name, path), there in zip(paths.items(), found["answers"], strict=True):
        bundle = Bundle.read(path)
        assert len(bundle.golden()) == len(there) == len(answers[name]) > 0
        for answer, reference in zip(there, answers[name], strict=True):
            assert answer.keys() == reference.keys()
            if isinstance(bundle.contract, Ranking):
                assert answer["scores"] == pytest.approx(reference["scores"], rel=TOLERANCE), name
                continue
            tolerance = TOLERANCE_OF_ROUNDING if bundle.scheme in ROUNDING and bundle.contract.state else TOLERANCE
            for items, scores in (("ids", "scores"), ("items", "item_scores"), ("state_items", "state_scores")):
                if items in reference:
                    same_list(name, answer[items], answer[scores], reference[items], reference[scores], tolerance)


@pytest.mark.parametrize(("processor", "runtime", "name"), sorted(CRASHES))
def test_the_files_that_crash_a_runtime_still_do(processor: str, runtime: str, name: str) -> None:
    """If one does not any more, its place is among the others. Their bundles say it."""
    assert "asimddp" in Bundle.read(claiming(runtime)[name]).runtimes[runtime]["not_on"]
    done = guest(CPUS[processor], HERE / "guest_answers.py", runtime, claiming(runtime)[name])
    assert done.returncode == -signal.SIGSEGV, done.stderr


@on_every_processor
def test_every_command_of_the_installed_wheel_does_what_it_does_on_x86(cpu: Cpu, runtime: str, tmp_path: Path) -> None:
    paths = claiming(runtime)
    model = paths.get("grocery", paths["grocery-shaped-int8"])
    bundle = Bundle.read(model)
    assert isinstance(bundle.contract, Retrieval)
    items = [bundle.items[row] for row in range(7, 40)]
    (tmp_path / "history.csv").write_text("\n".join(["item_id", *items, ""]))
    given = {
        "model": model, "history": tmp_path / "history.csv", "runtime": runtime, "item": bundle.items[1],
        "other": bundle.items[2], "ranker": paths["ranker-float32"], "newer": paths["grocery-shaped-int8-weights"],
    }  # fmt: skip
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        shutil.copy(paths["grocery-shaped-float32"], tmp_path / folder / "slot.tflite")
    tolerance = TOLERANCE_OF_ROUNDING if bundle.scheme in ROUNDING else TOLERANCE
    program = "from device_runner.cli import main; main(prog_name='edgerec-device')"
    for command in COMMANDS:
        if not command.everywhere and cpu.name not in ALL_COMMANDS_ON:
            continue
        arguments = command.line.format_map(given).split()
        there = device(cpu, *arguments, folder=tmp_path / "there")
        assert there.returncode == 0, f"{command.line}: {there.stderr}"
        here = on_this_machine(["-c", program, *arguments], tmp_path / "here")
        assert here.returncode == 0, f"{command.line}: {here.stderr}"
        if arguments[-1] != "--json":
            assert there.stdout == here.stdout, command.line
        elif command.exact:
            same_document(command.line, json.loads(there.stdout), json.loads(here.stdout), tolerance)
        else:
            assert kinds(json.loads(there.stdout)) == kinds(json.loads(here.stdout)), command.line


@pytest.mark.parametrize("architecture", {cpu.architecture.name: cpu.architecture for cpu in CPUS.values()}.values())
def test_pip_installs_the_wheel_with_the_runtimes_of_the_architecture(architecture: Architecture) -> None:
    """By the markers in its metadata, beside Debian's numpy, which fits them."""
    cpu = next(cpu for cpu in CPUS.values() if cpu.architecture == architecture)
    (packages,) = (environment(architecture) / "lib").glob("python*/site-packages")
    installed = {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert {"edgerec", "click", "tflite_runtime"} <= installed
    assert ("ai_edge_litert" in installed) == ("litert" in architecture.runtimes)
    assert "numpy" not in installed
    program = "import device_runner, numpy; print(device_runner.__file__, numpy.__file__, numpy.__version__)"
    runner, numpy, version = guest(cpu, "-c", program).stdout.split()
    assert runner.startswith(str(packages)) and "/root-" in numpy
    assert version.startswith("1.")
    versions = set(pinned(["click", "tflite-runtime"]))
    names = {path.name.removesuffix(".dist-info").replace("-", "==").replace("_", "-") for path in packages.iterdir()}
    assert versions <= names


def same_list(
    about: str, items: list[Any], scores: list[float], other: list[Any], others: list[float], tolerance: float
) -> None:
    """Two rankings have equal scores, within the tolerance, and equal items where no other score is as near."""
    assert len(items) == len(other), about
    largest = max(map(abs, others), default=0.0)
    assert scores == pytest.approx(others, abs=tolerance * largest), about
    for place, (one, two) in enumerate(zip(items, other, strict=True)):
        around = others[max(0, place - 1) : place] + others[place + 1 : place + 2]
        last = place == len(other) - 1  # what follows it is not known
        near = last or any(abs(score - others[place]) <= 2 * tolerance * largest for score in around)
        assert one == two or near, f"{about}: place {place + 1} of {items}, {other}"


def same_document(about: str, one: Any, two: Any, tolerance: float) -> None:
    """Two JSON documents are equal, but for the last digits of numbers."""
    if isinstance(two, dict):
        assert one.keys() == two.keys(), about
        for key in two:
            same_document(f"{about}: {key}", one[key], two[key], tolerance)
    elif isinstance(two, list):
        assert len(one) == len(two), about
        if two and isinstance(two[0], dict) and {"item", "score"} <= two[0].keys():
            lists = ([entry["item"] for entry in document] for document in (one, two))
            scores = ([entry["score"] for entry in document] for document in (one, two))
            (items, other), (scored, others) = lists, scores
            same_list(about, items, scored, other, others, tolerance)
        else:
            for place, pair in enumerate(zip(one, two, strict=True)):
                same_document(f"{about}[{place}]", *pair, tolerance)
    elif isinstance(two, float):
        assert one == pytest.approx(two, rel=tolerance, abs=tolerance), about
    else:
        assert one == two, about


def kinds(document: Any) -> Any:
    """The keys of a JSON document and the kinds of its values, of which nothing and numbers are one."""
    if isinstance(document, dict):
        return {key: kinds(value) for key, value in document.items()}
    if isinstance(document, list):
        return [kinds(document[0])] if document else []
    return "text" if isinstance(document, str) else "number"
