"""Killed at any moment, the pipeline goes on from what it had finished, and leaves nothing behind."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import small_recipe

from device_runner.child_process import child_environment
from edgerec.artifact import new_folder, stamp_of, write_file
from edgerec.data.dataset import Dataset
from edgerec.evaluation.ranking import Evaluation, evaluate
from edgerec.pipeline import Run
from edgerec.progress import Progress

EPOCHS = 10
# Where each of five processes is killed: in its n-th epoch, while it trains, evaluates or writes a checkpoint. Epochs
# are counted by each process, so that at most 4 + 2 of the 10 are done before the last one starts.
KILLS = [(1, "training"), (3, "checkpoint"), (2, "evaluation"), (1, "checkpoint"), (2, "training")]

# ``edgerec train``, which tells beside its own lines when it begins to evaluate and to write a checkpoint.
PROGRAM = """
import sys
import edgerec
import tensorflow as tf
from pathlib import Path
from edgerec.training import objective
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe

def told(name, function):
    def call(*arguments, **options):
        print(f"now: {name}", file=sys.stderr, flush=True)
        return function(*arguments, **options)
    return call

objective.evaluate = told("evaluation", objective.evaluate)
objective.training_batches = told("training", objective.training_batches)
tf.train.CheckpointManager.save = told("checkpoint", tf.train.CheckpointManager.save)
Run(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Progress()).trained
"""


def start(recipe: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(recipe), str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=child_environment())


def kill_in(process: subprocess.Popen[str], epoch: int, phase: str, rng: random.Random, took: dict[str, float]) -> str:
    """Kill ``process`` at a random moment of a phase of its ``epoch``-th epoch; what it had said until then.

    ``took``: how long the phases were when last seen, which the moment is drawn from.
    """
    said, now, since, done = [], "", 0.0, 0
    assert process.stderr
    for line in process.stderr:
        said.append(line)
        told = re.fullmatch(r"now: (\w+)\n", line)
        if told or "train: epoch" in line:
            if now:
                took[now] = time.monotonic() - since
            now, since = told[1] if told else "", time.monotonic()
            done += not told
        if done == epoch - 1 and now == phase and "going on" not in line:
            time.sleep(rng.random() * took.get(phase, 0.05))
            break
    process.send_signal(signal.SIGKILL)
    said.append(process.stderr.read())
    assert process.wait() == -signal.SIGKILL, "".join(said)
    return "".join(said)


@pytest.mark.slow
def test_a_training_killed_five_times_ends_like_one_that_was_not(purchases: Path, tmp_path: Path) -> None:
    # As many epochs in both, from the initial weights of one seed, so that they can be compared one by one.
    recipe = small_recipe(purchases, train={"epochs": EPOCHS, "patience": EPOCHS})
    undisturbed = Run(recipe, tmp_path / "undisturbed", Progress()).trained.parent
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    folder = tmp_path / "killed"
    rng = random.Random(1)
    took: dict[str, float] = {}

    preparing = start(tmp_path / "recipe.json", folder)
    while not list(folder.glob(".dataset.*.tmp")):
        assert preparing.poll() is None
        time.sleep(0.001)
    preparing.kill()
    preparing.communicate()
    assert list(folder.glob(".dataset.*.tmp"))

    finished = 0
    for epoch, phase in KILLS:
        process = start(tmp_path / "recipe.json", folder)
        said = kill_in(process, epoch, phase, rng, took)
        went_on = re.search(r"going on after epoch (\d+)", said)
        # The checkpoint of an epoch may have been complete before its line was.
        assert int(went_on[1] if went_on else 0) - finished in (0, 1), said
        ran = [int(number) for number in re.findall(r"train: epoch (\d+),", said)]
        before = int(went_on[1]) if went_on else 0
        assert ran == list(range(before + 1, before + len(ran) + 1))
        finished = before + len(ran)
        assert not list(folder.glob(".dataset.*.tmp"))
    assert not (folder / "trained").exists()

    last = start(tmp_path / "recipe.json", folder)
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert re.search(rf"going on after epoch ({finished}|{finished + 1})\n", said)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".lock"]
    assert not list((folder / "checkpoints").iterdir())

    one, other = (json.loads((run / "trained" / "training.json").read_text())["curve"] for run in (undisturbed, folder))
    assert [entry["epoch"] for entry in other] == list(range(1, EPOCHS + 1))
    assert [entry["learning_rate"] for entry in other] == [entry["learning_rate"] for entry in one]
    fingerprints = {Dataset.load(run / "dataset").split_fingerprint for run in (undisturbed, folder)}
    assert len(fingerprints) == 1
    # A checkpoint keeps the state of dropout too, so that nothing is left to chance.
    for key in ("loss", "ndcg@10"):
        values = [[entry[key] for entry in curve] for curve in (one, other)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-6)


@pytest.mark.slow
def test_an_interrupted_training_is_the_uninterrupted_one(
    purchases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a checkpoint lacks (moments, averages, random states, the epoch's number) shows at once. Issue 10,
    item 34.
    """
    recipe = small_recipe(purchases, train={"epochs": 5, "patience": 5})
    curves = []
    # How many epochs each process gets through before it is interrupted.
    for name, lives in (("one", ()), ("other", (1, 2))):
        if curves:
            (tmp_path / name).mkdir()
            (tmp_path / name / "dataset").symlink_to(tmp_path / "one" / "dataset")
        for epochs in lives:
            with monkeypatch.context() as patch:
                patch.setattr("edgerec.training.objective.evaluate", interrupted_after(epochs))
                with pytest.raises(KeyboardInterrupt):
                    _ = Run(recipe, tmp_path / name, Progress()).trained
        curves.append(json.loads((Run(recipe, tmp_path / name, Progress()).trained / "training.json").read_text()))
    for one, other in zip(*(log["curve"] for log in curves), strict=True):
        assert other == pytest.approx(one, rel=1e-6)


def interrupted_after(times: int) -> Callable[..., Evaluation]:
    """``evaluate``, for so many times."""
    left = iter(range(times))

    def call(*arguments: Any, **options: Any) -> Evaluation:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    return call


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_ended_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = ended_process()
    left = [tmp_path / f".dataset.{dead}.tmp", tmp_path / f".report.json.{dead}.tmp"]
    others = [
        tmp_path / name
        for name in (
            ".dataset.1.tmp",
            f".data.{dead}.tmp",
            f"x.dataset.{dead}.tmp",
            f".dataset.{dead}.tmp2",
            ".dataset.x.tmp",
        )
    ]
    for folder in (left[0], *others):
        folder.mkdir()
        (folder / "part").write_text("half")
    left[1].write_text("half")
    with new_folder(tmp_path / "dataset", {"fingerprint": "key"}) as new:
        (new / "whole").write_text("")
        assert not left[0].exists()
        assert left[1].exists()  # another target's
    write_file(tmp_path / "report.json", "{}")
    assert stamp_of(tmp_path / "dataset")["fingerprint"] == "key"
    assert {path.name for path in tmp_path.iterdir()} == {"dataset", "report.json", *(path.name for path in others)}


def test_a_running_processes_folder_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        running = tmp_path / f".dataset.{process.pid}.tmp"
        running.mkdir()
        with new_folder(tmp_path / "dataset", {"fingerprint": "key"}):
            pass
        assert running.is_dir()
