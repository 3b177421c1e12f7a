import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from conftest import small_recipe
from tensorflow.python.summary.summary_iterator import summary_iterator

from edgerec.pipeline import Run
from edgerec.training.tensorboard import SCALARS, ScalarLog


def logged(folder: Path) -> list[tuple[str, int, float]]:
    """Name, step and value of every scalar in the folder's event files."""
    return [
        (value.tag, event.step, float(tf.make_ndarray(value.tensor)))
        for path in sorted(folder.iterdir())
        for event in summary_iterator(str(path))
        for value in event.summary.value
    ]


def expected(curve: list[dict[str, float]]) -> list[tuple[str, int, float]]:
    return [
        (name, entry["epoch"], float(np.float32(entry[key])))
        for entry in curve
        for key, name in SCALARS.items()
        if key in entry
    ]


def test_the_event_files_hold_the_curves_of_every_stage(small_run: Run) -> None:
    for stage, folder in (("train", small_run.trained), ("prune", small_run.pruned)):
        curve = json.loads((folder / "training.json").read_text())["curve"]
        assert len(curve) >= 2
        assert logged(small_run.folder / "logs" / stage) == expected(curve)


def test_a_resumed_log_holds_every_epoch_once(tmp_path: Path) -> None:
    curve = [{"epoch": n, "loss": 7 / n, "ndcg@10": n / 10, "learning_rate": 1e-3} for n in (1, 2, 3, 4)]
    killed = ScalarLog(tmp_path / "train", [])
    for entry in curve[:3]:
        killed.add(entry)
    # The third epoch's checkpoint had not been written.
    resumed = ScalarLog(tmp_path / "train", curve[:2])
    for entry in curve[2:]:
        resumed.add(entry)
    assert logged(tmp_path / "train") == expected(curve)  # before close: a running training can be watched
    resumed.close()


def test_another_recipes_log_is_replaced(small_run: Run, purchases: Path, tmp_path: Path) -> None:
    from edgerec.progress import Progress

    (tmp_path / "dataset").symlink_to(small_run.folder / "dataset")
    for epochs in (2, 1):
        run = Run(small_recipe(purchases, train={"epochs": epochs}), tmp_path, Progress())
        curve = json.loads((run.trained / "training.json").read_text())["curve"]
        assert len(curve) == epochs
        assert logged(tmp_path / "logs" / "train") == expected(curve)
