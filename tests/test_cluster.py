import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_recipe
from test_logs import logged

from device_runner.child_process import child_environment
from edgerec.errors import ClusterError
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe
from edgerec.training.batches import Batch, training_batches
from edgerec.training.cluster import Place, Workers, check_may_run, place_of
from edgerec.training.objective import share_of

# Without dropout, and with the item scores of the loss in full, only the order of sums differs.
EXACT = {"model": {"dropout": 0.0}, "train": {"precision": "float32", "epochs": 3}}


def tf_config(index: int, kind: str = "worker", **cluster: object) -> str:
    cluster = cluster or {"worker": ["a:1", "b:1", "c:1"]}
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_the_chief_is_the_one_named_so_or_the_first_worker() -> None:
    assert place_of(tf_config(2)) == Place(2, 3)
    assert place_of(tf_config(0)).is_chief
    named = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    assert place_of(tf_config(0, "chief", **named)) == Place(0, 3)
    assert place_of(tf_config(0, **named)) == Place(1, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"needs TF_CONFIG in the environment, such as \{"),
        ("", r"needs TF_CONFIG in the environment, such as \{"),
        ("{", "TF_CONFIG is not of the form"),
        ("[]", "TF_CONFIG is not of the form"),
        ('{"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}', "TF_CONFIG is not of the form"),
        ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG is not of the form"),
        (tf_config(3), "the task worker 3 is not in the cluster"),
        (tf_config(-1), "the task worker -1 is not in the cluster"),
        (tf_config(0, "ps", worker=["a:1"], ps=["b:1"]), "a cluster has workers and at most one chief"),
        (tf_config(0, worker=["a"]), "write every address as HOST:PORT"),
        (tf_config(0, worker=[1]), "write every address as HOST:PORT"),
        (tf_config(0, worker=["a:1", "a:1"]), "an address is listed twice"),
    ],
)
def test_a_tf_config_that_is_absent_or_malformed_is_explained(text: str | None, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        place_of(text)


def test_only_the_chief_does_more_than_train(monkeypatch: pytest.MonkeyPatch) -> None:
    check_may_run("run")
    monkeypatch.setenv("TF_CONFIG", tf_config(0))
    check_may_run("run")
    monkeypatch.setenv("TF_CONFIG", tf_config(1))
    check_may_run("train")
    with pytest.raises(
        ClusterError,
        match="TF_CONFIG makes this process worker 1, which can only run edgerec train; run edgerec run on",
    ):
        check_may_run("run")


def test_multiworker_without_tf_config_is_refused_before_any_work(
    purchases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    run = Run(small_recipe(purchases, train={"strategy": "multiworker"}), tmp_path / "run", Progress())
    with pytest.raises(ClusterError, match="needs TF_CONFIG"):
        _ = run.trained
    assert not (tmp_path / "run").exists()


def test_what_one_worker_trained_is_not_trained_again_by_several(small_run: Run, purchases: Path) -> None:
    recipe = small_recipe(purchases, train={"strategy": "multiworker"})
    assert Run(recipe, small_run.folder, Progress()).trained == small_run.trained


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_the_shares_of_a_batch_add_up_to_it(lines: int) -> None:
    inputs = np.arange(1, 4 * lines + 1, dtype=np.int32).reshape(lines, 4)
    batch = Batch(inputs, inputs * (inputs % 3 > 0), np.zeros_like(inputs))
    strategy = tf.distribute.get_strategy()
    shares = [share_of(batch, Workers(Place(index, 3), strategy)) for index in range(3)]
    counted = [targets for _, targets, scale in shares if scale > 0]
    assert sorted(np.concatenate(counted).ravel()) == sorted(batch.targets.ravel())
    assert {float(scale) for *_, scale in shares if scale > 0} == {np.float32(1 / np.count_nonzero(batch.targets))}
    # A worker without lines still has real targets: a step over none would be no step.
    assert all(len(given) and np.count_nonzero(targets) for given, targets, _ in shares)


def write_recipe(recipe: Recipe, path: Path) -> Path:
    def text(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {text(inner)}" for key, inner in value.items()) + "}"
        return json.dumps(value)

    sections = json.loads(recipe.model_dump_json(exclude_none=True))
    kind = sections.pop("kind")
    path.write_text(
        f'kind = "{kind}"\n'
        + "\n".join(
            f"[{name}]\n" + "\n".join(f"{key} = {text(value)}" for key, value in section.items())
            for name, section in sections.items()
        )
    )
    return path


def start(recipe: Path, out: Path, *commands: tuple[str, ...]) -> list[subprocess.Popen[str]]:
    """One process a worker, each with its ``edgerec`` command; stderr is a file of its own."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in commands]
    addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    for free in sockets:
        free.close()
    processes = []
    for index, (command, *more) in enumerate(commands):
        environment = {**child_environment(), "TF_CONFIG": tf_config(index, worker=addresses)}
        program = [sys.executable, "-c", "from edgerec.cli.main import main; main()", command, str(recipe)]
        with said(recipe, index).open("w") as stderr:
            processes.append(
                subprocess.Popen(
                    [*program, "--out", str(out), *more], env=environment, stdout=subprocess.DEVNULL, stderr=stderr
                )
            )
    return processes


def said(recipe: Path, index: int) -> Path:
    return recipe.with_suffix(f".{index}.stderr")


def ends(processes: list[subprocess.Popen[str]]) -> list[int]:
    try:
        return [process.wait(200) for process in processes]
    finally:
        for process in processes:
            process.kill()


def curve_of(folder: Path) -> dict[str, np.ndarray]:
    curve = json.loads((folder / "training.json").read_text())["curve"]
    return {name: np.array([entry[name] for entry in curve]) for name in curve[0]}


def odd_batch(run: Run) -> int:
    """A batch size with which a batch of one line is left over: one of two workers then has none."""
    histories = run.dataset.training_histories()
    for size in range(24, 64):
        if any(len(batch.inputs) == 1 for batch in training_batches(histories, 20, size, 1, 1)):
            return size
    raise AssertionError


@pytest.mark.slow
def test_two_workers_learn_what_one_learns(small_run: Run, purchases: Path, tmp_path: Path) -> None:
    changes = {**EXACT, "train": {**EXACT["train"], "batch": odd_batch(small_run)}}
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "dataset").symlink_to(small_run.folder / "dataset")
    alone = curve_of(Run(small_recipe(purchases, **changes), tmp_path / "one", Progress()).trained)
    changes["train"]["strategy"] = "multiworker"
    recipe = write_recipe(small_recipe(purchases, **changes), tmp_path / "recipe.toml")
    # The chief prunes on, alone.
    assert ends(start(recipe, tmp_path / "two", ("prune",), ("train",))) == [0, 0], said(recipe, 0).read_text()
    together = curve_of(tmp_path / "two" / "trained")
    assert len(together["epoch"]) == 3
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=1e-3)
    np.testing.assert_allclose(together["learning_rate"], alone["learning_rate"], rtol=1e-6)
    np.testing.assert_allclose(together["ndcg@10"], alone["ndcg@10"], atol=0.01)  # of 232 users: a few change places
    # Both workers saw the same figures, and the chief alone wrote.
    reports = [
        [line for line in said(recipe, index).read_text().splitlines() if line.startswith("train: epoch")]
        for index in (0, 1)
    ]
    assert [line.split(" (")[0] for line in reports[0]] == [line.split(" (")[0] for line in reports[1]]
    assert "prune: epoch 2" in said(recipe, 0).read_text()
    assert "prune" not in said(recipe, 1).read_text()
    losses = [value for name, _, value in logged(tmp_path / "two" / "logs" / "train") if name == "loss"]
    np.testing.assert_allclose(losses, together["loss"], rtol=1e-6)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        ".lock", "checkpoints", "dataset", "logs", "pruned", "trained",
    ]  # fmt: skip
    assert not list((tmp_path / "two" / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_worker_is_killed_the_other_says_so_and_both_go_on_later(
    purchases: Path, tmp_path: Path, victim: int
) -> None:
    changes = {**EXACT, "train": {**EXACT["train"], "epochs": 12, "patience": 12, "strategy": "multiworker"}}
    recipe = write_recipe(small_recipe(purchases, **changes), tmp_path / "recipe.toml")
    processes = start(recipe, tmp_path / "run", ("train",), ("train",))
    while "train: epoch 3," not in said(recipe, 0).read_text():
        assert [process.poll() for process in processes] == [None, None], said(recipe, 0).read_text()
        time.sleep(0.05)
    processes[victim].send_signal(signal.SIGKILL)
    codes = ends(processes)
    other = said(recipe, 1 - victim).read_text()
    assert codes[1 - victim] == 1, other
    assert "Error: another worker has ended" in other
    assert "Traceback" not in other
    assert not (tmp_path / "run" / "trained").exists()
    assert ends(start(recipe, tmp_path / "run", ("train",), ("train",))) == [0, 0], said(recipe, 0).read_text()
    resumed = [said(recipe, index).read_text() for index in (0, 1)]
    assert all("going on after epoch" in text and "train: epoch 2," not in text for text in resumed)
    assert curve_of(tmp_path / "run" / "trained")["epoch"].tolist() == list(range(1, 13))
    whole = curve_of(tmp_path / "run" / "trained")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "dataset").symlink_to(tmp_path / "run" / "dataset")
    changes["train"]["strategy"] = "single"
    alone = curve_of(Run(small_recipe(purchases, **changes), tmp_path / "one", Progress()).trained)
    np.testing.assert_allclose(whole["loss"], alone["loss"], rtol=2e-3)


@pytest.mark.slow
def test_workers_that_differ_in_recipe_or_folder_stop(purchases: Path, tmp_path: Path) -> None:
    changes = {**EXACT, "train": {**EXACT["train"], "strategy": "multiworker"}}
    recipe = write_recipe(small_recipe(purchases, **changes), tmp_path / "recipe.toml")
    assert ends(start(recipe, tmp_path / "run", ("train",), ("train", "--set", "train.batch=30"))) == [1, 1]
    for index in (0, 1):
        assert "worker 1 and the chief (worker 0) differ" in said(recipe, index).read_text()
    other = str(tmp_path / "other")
    assert ends(start(recipe, tmp_path / "run", ("train",), ("train", "--out", other))) == [1, 1]
    assert f"{other}: the chief wrote no data set here" in said(recipe, 1).read_text()
    assert "another worker has ended" in said(recipe, 0).read_text()
    assert not (tmp_path / "other").exists()
