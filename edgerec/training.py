"""Training: cross-entropy over the catalogue or a sample of it, early stopping, resume after a kill."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.artifact import fingerprint
from edgerec.cluster import Workers
from edgerec.data.dataset import Dataset, Targets
from edgerec.data.user_features import encode_users
from edgerec.evaluation.ranking import NEVER, evaluate
from edgerec.logs import ScalarLog
from edgerec.losses import Loss, cross_entropy, multiplies_bfloat16, sampled_softmax
from edgerec.progress import Progress
from edgerec.recipe import Train
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.recommender import left_pad

# Steps in which the learning rate rises to its peak.
WARM_UP = 200
# Largest catalogue for which the full cross-entropy is the faster way to a given accuracy on CPU.
FULL_SOFTMAX_ITEMS = 20_000
# Sequences are batched with others of like length: half the time of padding all of them to L.
BUCKETS = (0.16, 0.32, 0.56, 1.0)
# Share of windows that are shown without the user's features, as these are optional on the device.
UNTOLD = 0.1


class Pruner(Protocol):
    """What pruning adds to a training loop (see ``edgerec.pruning``)."""

    network: keras.Model

    def finish(self) -> None: ...

    def is_final(self, epoch: int) -> bool: ...


@dataclass(frozen=True)
class Batch:
    """``inputs`` and ``targets`` int32 [B, T], left-padded with 0: the target at a place is the next event."""

    inputs: np.ndarray
    targets: np.ndarray


def training_batches(
    histories: list[np.ndarray],
    length: int,
    batch: int,
    seed: int,
    epoch: int,
    users: list[np.ndarray] | None = None,
) -> list[Batch]:
    """All batches of an epoch, in random order.

    A history longer than ``length`` gives its newest window, which serving will read, and windows over all of it, cut
    at a place drawn anew each epoch, so that events are seen with different contexts.

    Args:
        users: rows of each user's features, which all windows but some (``UNTOLD``) begin with; never targets.
    """
    rng = np.random.default_rng((seed, epoch))
    if users is None:
        windows = [w for history in histories for w in _windows(history, length, rng)]
    else:
        windows = list(_told_windows(histories, users, length, rng))
    first = min((int(rows.min(initial=NEVER)) for rows in users or ()), default=NEVER)
    bucket = np.searchsorted([max(1, round(b * length)) for b in BUCKETS], [len(w) - 1 for w in windows])
    batches = []
    for number in range(len(BUCKETS)):
        members = rng.permutation(np.flatnonzero(bucket == number))
        for start in range(0, len(members), batch):
            padded = left_pad([windows[i] for i in members[start : start + batch]], length + 1)
            inputs, targets = padded[:, :-1], padded[:, 1:]
            batches.append(Batch(inputs, targets * ((inputs > 0) & (targets < first))))
    return [batches[i] for i in rng.permutation(len(batches))]


def _windows(history: np.ndarray, length: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    end = len(history)
    if end > length + 1:
        yield history[-length - 1 :]
        end -= int(rng.integers(1, length + 1))
    while end >= 2:
        yield history[max(0, end - length - 1) : end]
        end -= length


def _told_windows(
    histories: list[np.ndarray], users: list[np.ndarray], length: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    for history, rows in zip(histories, users, strict=True):
        if len(history) == 1 and len(rows):
            yield np.concatenate([rows, history])
        for window in _windows(history, length - len(rows), rng):
            yield window if rng.random() < UNTOLD else np.concatenate([rows, window])


def batches_of(recommender: SequenceRecommender, dataset: Dataset, config: Train) -> Callable[[int], list[Batch]]:
    """What draws the batches of an epoch, given its number from 1 on; their count varies by a few."""
    histories, length = dataset.training_histories(), recommender.config.max_history
    users = encode_users(recommender.user_features, dataset.user_table) if recommender.user_features else None
    return lambda epoch: training_batches(histories, length, config.batch, config.seed, epoch, users)


def train(
    recommender: SequenceRecommender,
    dataset: Dataset,
    config: Train,
    checkpoints: Path,
    logs: Path,
    progress: Progress,
    title: str,
    pruner: Pruner | None = None,
    workers: Workers | None = None,
) -> dict[str, object]:
    """Fit ``recommender`` in place and leave it at the epoch with the best validation NDCG@10.

    Args:
        checkpoints: folder of the state after each epoch; an interrupted run goes on from there.
        logs: folder of the curve for TensorBoard.
        pruner: when given, its wrapped network is trained, and only epochs at final sparsity count as best.
        workers: who share each batch, under whose strategy ``recommender`` was made; default: this process alone. Only
            the chief writes.

    Returns:
        ``epochs`` run, ``best_epoch``, ``seconds``, the ``curve`` (epoch, loss, validation NDCG@10) and the loss used.
    """
    workers = workers or Workers.alone()
    network = pruner.network if pruner else recommender.network
    loss_name = config.loss
    if loss_name == "auto":
        loss_name = "cross-entropy" if dataset.items <= FULL_SOFTMAX_ITEMS else "sampled-softmax"
    tf.keras.utils.set_random_seed(config.seed + workers.index)  # each its own dropout and negatives
    draw = batches_of(recommender, dataset, config)
    steps = len(draw(1))
    with workers.strategy.scope():
        optimizer = keras.optimizers.Adam(LearningRate(config.learning_rate, steps * config.epochs, config.steady))
        optimizer.build(network.trainable_variables)
    weights = recommender.network.weights
    # Averages of pruned weights would not be sparse.
    averaged = [tf.Variable(w, trainable=False) for w in weights] if config.average and pruner is None else []
    loss = _loss(loss_name, config, dataset.items)
    step = _step_function(recommender, network, optimizer, loss, config.average, averaged, workers.strategy)

    state = tf.train.Checkpoint(
        network=network,
        optimizer=optimizer,
        averaged=averaged,
        best=[tf.Variable(w, trainable=False) for w in weights],
        progress=tf.Variable("{}", dtype=tf.string),
    )
    manager = tf.train.CheckpointManager(state, str(checkpoints), max_to_keep=1)
    curve: list[dict[str, float]] = []
    seconds = 0.0
    if manager.latest_checkpoint:
        state.restore(manager.latest_checkpoint).expect_partial()
        saved = json.loads(state.progress.numpy().decode())
        curve, seconds = saved["curve"], saved["seconds"]
        progress.say(f"{title}: going on after epoch {len(curve)}")
    workers.agree(fingerprint(curve), f"{checkpoints}: the folder must be shared by all workers")

    log = ScalarLog(logs, curve) if workers.is_chief else None
    validation = dataset.targets("validation")
    ranked = Targets(*map(workers.share, (validation.users, validation.histories, validation.items)))
    read = recommender.read(ranked, dataset)
    with progress.epochs(title, config.epochs, done=len(curve)) as bar:
        while not _finished(curve, config, seconds, pruner):
            start = time.monotonic()
            epoch = len(curve) + 1
            batches = draw(epoch)
            # Drawing and feeding from here takes 0.1 s of an epoch of 55 s (MovieLens-1M, GRU); a tf.data pipeline with
            # the loop in the graph saved half of that, which does not pay for its code.
            losses = []
            for number, batch in enumerate(batches, 1):
                losses.append(step(*_share(batch, workers)))
                bar.step(epoch - 1 + number / len(batches))
            if pruner:
                pruner.finish()
            with _in_place(weights, averaged):
                gained = evaluate(recommender.score, ranked, dataset, read=read).ndcg(10).sum() / len(validation)
                lost = np.mean([float(x) for x in losses])
                # The same figures for all, so that all decide the same.
                lost, ndcg = workers.total(np.array([lost, gained]))
                curve.append(
                    {
                        "epoch": epoch,
                        "loss": float(lost),
                        "ndcg@10": float(ndcg),
                        "learning_rate": float(optimizer.learning_rate.numpy()),
                    }
                )
                counted = _counted(curve, pruner)
                if counted and max(counted, key=lambda e: e["ndcg@10"]) is curve[-1]:
                    for kept, weight in zip(state.best, weights, strict=True):
                        kept.assign(weight)
            seconds = float(workers.of_chief(np.array([seconds + time.monotonic() - start]))[0])
            state.progress.assign(json.dumps({"curve": curve, "seconds": seconds}))
            if log:
                manager.save()
                log.add(curve[-1])
            bar.epoch(epoch, f"loss {curve[-1]['loss']:.4f}, validation NDCG@10 {ndcg:.4f}", seconds / epoch)
    if log:
        log.close()
    for weight, kept in zip(weights, state.best, strict=True):
        weight.assign(kept)
    best = max(_counted(curve, pruner), key=lambda e: e["ndcg@10"])
    return {
        "loss": loss_name,
        "epochs": len(curve),
        "best_epoch": best["epoch"],
        "validation_ndcg@10": best["ndcg@10"],
        "seconds": round(seconds, 1),
        "curve": curve,
    }


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear from zero to ``peak`` in ``WARM_UP`` steps, steady, then linear to zero at ``steps``."""

    def __init__(self, peak: float, steps: int, steady: float) -> None:
        super().__init__()
        self.peak, self.steps, self.steady = peak, steps, steady

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        done = tf.cast(step, tf.float32)
        falling = (self.steps - done) / max(1.0, (1 - self.steady) * self.steps)
        return self.peak * tf.minimum((done + 1) / WARM_UP, tf.clip_by_value(falling, 0.0, 1.0))

    def get_config(self) -> dict[str, float]:
        return {"peak": self.peak, "steps": self.steps, "steady": self.steady}


def _share(batch: Batch, workers: Workers) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A worker's lines of a batch, and one over the real targets of the whole batch.

    A worker without a line takes another's, and counts it for nothing: each has to take part in each step.
    """
    inputs, targets = workers.share(batch.inputs), workers.share(batch.targets)
    scale = 1 / np.count_nonzero(batch.targets)
    if not len(inputs):
        inputs, targets, scale = batch.inputs[:1], batch.targets[:1], 0.0
    return tf.constant(inputs), tf.constant(targets), tf.constant(scale, tf.float32)


def _loss(name: str, config: Train, items: int) -> Loss:
    if name == "sampled-softmax":
        return sampled_softmax(config.negatives, items)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if multiplies_bfloat16() else "float32"
    return cross_entropy(precision)


@contextmanager
def _in_place(weights: list[tf.Variable], averaged: list[tf.Variable]) -> Iterator[None]:
    """Put averaged weights in the place of the trained ones for a while."""
    trained = [weight.numpy() for weight, _ in zip(weights, averaged, strict=False)]
    for weight, mean in zip(weights, averaged, strict=False):
        weight.assign(mean)
    yield
    for weight, value in zip(weights, trained, strict=False):
        weight.assign(value)


def _finished(curve: list[dict[str, float]], config: Train, seconds: float, pruner: Pruner | None) -> bool:
    counted = _counted(curve, pruner)
    if not counted:
        return False
    late = config.max_minutes is not None and seconds >= 60 * config.max_minutes
    return len(curve) >= config.epochs or late or _since_best(counted) >= config.patience


def _counted(curve: list[dict[str, float]], pruner: Pruner | None) -> list[dict[str, float]]:
    return [entry for entry in curve if pruner is None or pruner.is_final(int(entry["epoch"]))]


def _since_best(counted: list[dict[str, float]]) -> int:
    best = max(range(len(counted)), key=lambda i: counted[i]["ndcg@10"])
    return len(counted) - 1 - best


def _step_function(
    recommender: SequenceRecommender,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss_of: Loss,
    average: float,
    averaged: list[tf.Variable],
    strategy: tf.distribute.Strategy,
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """A step on a worker's share of a batch: inputs, targets, and one over the real targets of the whole batch."""
    variables = network.trainable_variables
    kept = recommender.network.weights

    def step(inputs: tf.Tensor, targets: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        real = targets > 0  # the catalogue is scored at real positions only: about half of the slots
        with tf.GradientTape() as tape:
            hidden = tf.boolean_mask(network(inputs, training=True), real)
            loss = scale * loss_of(hidden, recommender.item_vectors(), tf.boolean_mask(targets, real))
        # Gradients are summed over the workers here.
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        if averaged:
            # At first the mean of all steps so far, so that the starting values are soon forgotten.
            steps = tf.cast(optimizer.iterations, tf.float32)
            decay = tf.minimum(average, (1 + steps) / (10 + steps))
            for mean, weight in zip(averaged, kept, strict=True):
                mean.assign_add((1 - decay) * (weight - mean))
        return loss

    batch = [tf.TensorSpec([None, None], tf.int32)] * 2

    @tf.function(input_signature=[*batch, tf.TensorSpec([], tf.float32)])
    def distributed(*given: tf.Tensor) -> tf.Tensor:
        return strategy.experimental_local_results(strategy.run(step, given))[0]

    return distributed  # type: ignore[no-any-return]
