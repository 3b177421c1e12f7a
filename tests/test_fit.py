"""When a fit ends, why, and which weights are kept (issue 10, items 15 and 27)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tiny import architecture, tiny_dataset

from edgerec.data.dataset import Dataset
from edgerec.errors import TrainingError
from edgerec.progress import Progress
from edgerec.recipe import Train
from edgerec.recommenders import SequenceRecommender
from edgerec.training import loop
from edgerec.training.hooks import AverageWeights
from edgerec.training.loop import Fit
from edgerec.training.objective import NextItem
from edgerec.training.schedule import LearningRate, Schedule


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rng = np.random.default_rng(0)
    return tiny_dataset(
        tmp_path_factory.mktemp("fit") / "d", [rng.permutation(np.arange(1, 13))[:8].tolist() for _ in range(40)]
    )


def objective(dataset: Dataset, **train: object) -> NextItem:
    keras.utils.set_random_seed(1)
    shape = architecture(encoder="gru", dim=4, blocks=1, max_history=6)
    return NextItem(SequenceRecommender(shape, dataset.items, "tiny"), dataset, Train(batch=8, **train))


def fit(folder: Path, fitted: NextItem, **schedule: Any) -> dict[str, Any]:
    settings = {"epochs": 4, "patience": 4, "learning_rate": 1e-3, "steady": 0.5, "seed": 1, **schedule}
    hooks = [AverageWeights(fitted.weights, 0.9)]
    return Fit("fit", fitted, Schedule(**settings), folder / "c", folder / "l", Progress(), hooks).run()


def test_the_log_says_why_the_fit_ended(dataset: Dataset, tmp_path: Path) -> None:
    assert fit(tmp_path / "all", objective(dataset))["stopped"] == "all epochs were run"
    still = objective(dataset)
    still.validate = lambda: 0.5  # type: ignore[method-assign]
    log = fit(tmp_path / "patience", still, patience=2)
    assert (log["epochs"], log["best_epoch"], log["stopped"]) == (3, 1, "no better epoch in 2")


def test_the_epochs_that_fit_the_time_are_planned_from_those_done() -> None:
    """Issue 10, item 15: ``max_minutes`` cut training before the learning rate had fallen."""
    schedule = Schedule(epochs=50, patience=5, learning_rate=1e-3, steady=0.5, seed=1, max_minutes=10)
    assert schedule.planned_epochs(0, 0) == 50
    assert schedule.planned_epochs(1, 60) == 10
    assert schedule.planned_epochs(5, 400) == 7
    assert schedule.planned_epochs(8, 700) == 8  # too late: it ends here
    assert schedule.planned_epochs(1, 1) == 50


def test_the_learning_rate_falls_to_zero_within_the_time(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 10, item 15, with a clock that makes every epoch last a minute."""
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    log = fit(tmp_path, objective(dataset), epochs=50, max_minutes=6, patience=50)
    assert log["stopped"] == "the time limit of 6 minutes allowed 6 of 50 epochs"
    rates = [entry["learning_rate"] for entry in log["curve"]]
    # Five steps an epoch, 30 in all: the last one has a fifteenth of the peak, on the way to zero.
    assert len(rates) == 6 and rates[-1] == pytest.approx(1e-3 / 15, rel=1e-3) and rates[-1] < rates[-2]


def test_the_rate_follows_the_steps_that_are_left() -> None:
    rate = LearningRate(1.0, 1000, 0.5)
    assert float(rate(tf.constant(499))) == 1
    rate.steps.assign(600.0)
    assert float(rate(tf.constant(450))) == pytest.approx(0.5)


def test_a_loss_that_is_not_finite_ends_the_fit_with_the_last_sound_epoch(dataset: Dataset, tmp_path: Path) -> None:
    """Issue 10, item 27: a diverged model was kept, and conversion then blamed the runtimes."""
    fitted = objective(dataset)
    sound = fitted.loss
    factor = tf.Variable(1.0, trainable=False)
    fitted.loss = lambda *tensors: sound(*tensors) * factor  # type: ignore[method-assign]
    batches = fitted.batches

    def drawn(epoch: int) -> Any:
        factor.assign(np.nan if epoch == 3 else 1.0)
        return batches(epoch)

    fitted.batches = drawn  # type: ignore[method-assign]
    log = fit(tmp_path, fitted)
    assert (log["epochs"], log["stopped"]) == (3, "the loss was not finite in epoch 3")
    assert log["best_epoch"] in (1, 2)
    assert all(np.isfinite(weight.numpy()).all() for weight in fitted.weights)
    json.dumps(log)


def test_a_fit_that_diverges_at_once_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    """Issue 10, item 27."""
    fitted = objective(dataset)
    sound = fitted.loss
    fitted.loss = lambda *tensors: sound(*tensors) * np.nan  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"not finite in epoch 1, and no earlier epoch .* lower the learning rate"):
        fit(tmp_path, fitted)
