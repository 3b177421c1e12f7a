"""The loop that fits every objective: early stopping, resumption after a kill, several workers."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.artifact import fingerprint
from edgerec.errors import TrainingError, plain_reason
from edgerec.progress import Progress
from edgerec.training.cluster import Workers
from edgerec.training.hooks import Hook
from edgerec.training.objective import Objective
from edgerec.training.schedule import LearningRate, Schedule
from edgerec.training.tensorboard import ScalarLog

Entry = dict[str, float]


@dataclass(frozen=True)
class Fit:
    """A fit of ``objective``, in place.

    Attributes:
        title: what is done, in messages.
        checkpoints: folder of the state after each epoch; an interrupted fit goes on from there.
        logs: folder of the curve for TensorBoard.
        workers: who share each batch, under whose strategy the model was made. Only the chief writes.
    """

    title: str
    objective: Objective
    schedule: Schedule
    checkpoints: Path
    logs: Path
    progress: Progress
    hooks: Sequence[Hook] = ()
    workers: Workers = field(default_factory=Workers.alone)

    def run(self) -> dict[str, Any]:
        """Fit, and leave the model at the epoch with the best validation figure.

        Returns:
            ``loss`` (its name), ``epochs`` run, ``best_epoch``, ``validation_FIGURE``, ``seconds``, ``stopped`` (why
            it ended) and the ``curve``: for each epoch ``epoch``, ``loss``, ``FIGURE`` and ``learning_rate``. FIGURE
            is the name of the objective's figure, such as ``ndcg@10``.

        Raises:
            TrainingError: the loss was not finite before any epoch could be kept.
        """
        with self.workers.strategy.scope():
            # For dropout and sampled negatives; each worker has its own.
            generator = tf.random.Generator.from_seed(self.schedule.seed + self.workers.index)
        tf.random.set_global_generator(generator)
        return _Fitting(self, generator).run()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn the errors that TensorFlow raises for a full disk or a folder that cannot be written into one of ours."""
    try:
        yield
    except tf.errors.OpError as error:
        raise TrainingError(
            f"{folder}: cannot be written: {plain_reason(error)}; run again to go on from there"
        ) from None


class _Fitting:
    """A fit that is under way: the optimizer, the best weights so far, and the curve."""

    def __init__(self, fit: Fit, generator: tf.random.Generator) -> None:
        self.fit = fit
        self.weights = list(fit.objective.weights)
        self.steps_per_epoch = len(fit.objective.batches(1))
        self.planned = fit.schedule.epochs
        with fit.workers.strategy.scope():
            steps = self.steps_per_epoch * self.planned
            self.rate = LearningRate(fit.schedule.learning_rate, steps, fit.schedule.steady)
            self.optimizer = keras.optimizers.Adam(self.rate)
            self.optimizer.build(fit.objective.network.trainable_variables)
        self.step = self._step_function()
        self.saved = tf.train.Checkpoint(
            network=fit.objective.network,
            optimizer=self.optimizer,
            generator=generator,
            hooks=[variable for hook in fit.hooks for variable in hook.variables()],
            best=[tf.Variable(weight, trainable=False) for weight in self.weights],
            progress=tf.Variable("{}", dtype=tf.string),
        )
        self.manager = tf.train.CheckpointManager(self.saved, str(fit.checkpoints), max_to_keep=1)
        self.curve: list[Entry] = []
        self.seconds = 0.0

    def run(self) -> dict[str, Any]:
        fit = self.fit
        self._restore()
        with _writing(fit.logs):
            log = ScalarLog(fit.logs, self.curve) if fit.workers.is_chief else None
        with fit.progress.epochs(fit.title, fit.schedule.epochs, done=len(self.curve)) as bar:
            while not (stopped := self._reason_to_stop()):
                self._epoch(bar.step)
                entry = self.curve[-1]
                if log:
                    with _writing(fit.checkpoints):
                        self.manager.save()
                        log.add(entry)
                figure = fit.objective.figure
                text = f"loss {entry['loss']:.4f}, validation {figure.title} {entry[figure.name]:.4f}"
                bar.epoch(len(self.curve), text, self.seconds / len(self.curve), self.planned)
        if log:
            log.close()
        return self._finish(stopped)

    def _restore(self) -> None:
        fit = self.fit
        if self.manager.latest_checkpoint:
            self.saved.restore(self.manager.latest_checkpoint).expect_partial()
            progress = json.loads(self.saved.progress.numpy().decode())
            self.curve, self.seconds = progress["curve"], progress["seconds"]
            fit.progress.say(f"{fit.title}: going on after epoch {len(self.curve)}")
            self._plan()
        fit.workers.agree(fingerprint(self.curve), f"{fit.checkpoints}: the folder must be shared by all workers")

    def _epoch(self, advance: Callable[[float], None]) -> None:
        fit, start, done = self.fit, time.monotonic(), len(self.curve)
        batches = fit.objective.batches(done + 1)
        # Drawing and feeding from here takes 0.1 s of an epoch of 55 s (MovieLens-1M, GRU); a tf.data pipeline with
        # the loop in the graph saved half of that, which does not pay for its code.
        losses = []
        for number, batch in enumerate(batches, 1):
            losses.append(self.step(*fit.objective.tensors(batch)))
            advance(done + number / len(batches))
        for hook in fit.hooks:
            hook.after_epoch()
        with self._kept_weights():
            figures = np.array([np.mean([float(loss) for loss in losses]), fit.objective.validate()])
            # Summed over the workers, so that all decide alike.
            loss, found = (float(figure) for figure in fit.workers.total(figures))
            rate = float(self.optimizer.learning_rate.numpy())
            name = fit.objective.figure.name
            self.curve.append({"epoch": done + 1, "loss": loss, name: found, "learning_rate": rate})
            if self._best() is self.curve[-1]:
                for kept, weight in zip(self.saved.best, self.weights, strict=True):
                    kept.assign(weight)
        took = np.array([self.seconds + time.monotonic() - start])
        self.seconds = float(fit.workers.of_chief(took)[0])
        self.saved.progress.assign(json.dumps({"curve": self.curve, "seconds": self.seconds}))
        self._plan()

    def _plan(self) -> None:
        """Let the learning rate fall to zero at the end of the last epoch for which there is time."""
        self.planned = self.fit.schedule.planned_epochs(len(self.curve), self.seconds)
        self.rate.steps.assign(float(self.planned * self.steps_per_epoch))

    def _finish(self, stopped: str) -> dict[str, Any]:
        best = self._best()
        if best is None:
            raise TrainingError(
                f"{self.fit.title}: {stopped}, and no earlier epoch can be kept; lower the learning rate "
                f"({self.fit.schedule.learning_rate:g})"
            )
        for weight, kept in zip(self.weights, self.saved.best, strict=True):
            weight.assign(kept)
        figure = self.fit.objective.figure.name
        return {
            "loss": self.fit.objective.name,
            "epochs": len(self.curve),
            "best_epoch": int(best["epoch"]),
            f"validation_{figure}": best[figure],
            "seconds": round(self.seconds, 1),
            "stopped": stopped,
            "curve": self.curve,
        }

    def _counted(self) -> list[Entry]:
        """Epochs whose weights may be kept."""
        return [
            entry
            for entry in self.curve
            if np.isfinite(entry["loss"]) and all(hook.counts(int(entry["epoch"])) for hook in self.fit.hooks)
        ]

    def _best(self) -> Entry | None:
        """The best epoch so far, the first of equal ones."""
        figure = self.fit.objective.figure
        best = max if figure.higher_is_better else min
        return best(self._counted(), key=lambda entry: entry[figure.name], default=None)

    def _reason_to_stop(self) -> str:
        """Why the fit ends here, in words; ``""`` if it goes on."""
        schedule, best = self.fit.schedule, self._best()
        if self.curve and not np.isfinite(self.curve[-1]["loss"]):
            return f"the loss was not finite in epoch {len(self.curve)}"
        if len(self.curve) >= schedule.epochs:
            return "all epochs were run"
        if best is None:
            return ""
        if self.curve[-1]["epoch"] - best["epoch"] >= schedule.patience:
            return f"no better epoch in {schedule.patience}"
        if len(self.curve) >= self.planned:
            limit = f"{schedule.max_minutes:g} minutes"
            return f"the time limit of {limit} allowed {self.planned} of {schedule.epochs} epochs"
        return ""

    @contextmanager
    def _kept_weights(self) -> Iterator[None]:
        with ExitStack() as stack:
            for hook in self.fit.hooks:
                stack.enter_context(hook.kept_weights())
            yield

    def _step_function(self) -> Callable[..., tf.Tensor]:
        """One step of the optimizer on a worker's share of a batch; returns the share's loss."""
        objective, optimizer, strategy = self.fit.objective, self.optimizer, self.fit.workers.strategy
        variables = objective.network.trainable_variables

        def step(*tensors: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = objective.loss(*tensors)
            # Gradients are summed over the workers here.
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            for hook in self.fit.hooks:
                hook.after_step(optimizer.iterations)
            return loss

        @tf.function(input_signature=objective.signature)
        def distributed(*tensors: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(step, tensors))[0]

        return distributed  # type: ignore[no-any-return]
