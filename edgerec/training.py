"""Training: cross-entropy over the catalogue or a sample of it, early stopping, resume after a kill."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.data.dataset import Dataset
from edgerec.evaluation.ranking import evaluate
from edgerec.progress import Progress
from edgerec.recipe import Train
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.recommender import left_pad

# Largest catalogue for which the full cross-entropy is the faster way to a given accuracy on CPU.
FULL_SOFTMAX_ITEMS = 20_000
# Sequences are batched with others of like length: half the time of padding all of them to L.
BUCKETS = (0.16, 0.32, 0.56, 1.0)
# The learning rate is halved after this many epochs without a better validation NDCG@10.
PLATEAU = 2


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


def training_batches(histories: list[np.ndarray], length: int, batch: int, seed: int, epoch: int) -> list[Batch]:
    """All batches of an epoch, in random order.

    A history longer than ``length`` gives its newest window, which serving will read, and windows over all of it, cut
    at a place drawn anew each epoch, so that events are seen with different contexts.
    """
    rng = np.random.default_rng((seed, epoch))
    windows = [w for history in histories for w in _windows(history, length, rng)]
    bucket = np.searchsorted([max(1, round(b * length)) for b in BUCKETS], [len(w) - 1 for w in windows])
    batches = []
    for number in range(len(BUCKETS)):
        members = rng.permutation(np.flatnonzero(bucket == number))
        for start in range(0, len(members), batch):
            padded = left_pad([windows[i] for i in members[start : start + batch]], length + 1)
            batches.append(Batch(padded[:, :-1], padded[:, 1:] * (padded[:, :-1] > 0)))
    return [batches[i] for i in rng.permutation(len(batches))]


def _windows(history: np.ndarray, length: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    end = len(history)
    if end > length + 1:
        yield history[-length - 1 :]
        end -= int(rng.integers(1, length + 1))
    while end >= 2:
        yield history[max(0, end - length - 1) : end]
        end -= length


def train(
    recommender: SequenceRecommender,
    dataset: Dataset,
    config: Train,
    checkpoints: Path,
    progress: Progress,
    title: str,
    pruner: Pruner | None = None,
) -> dict[str, object]:
    """Fit ``recommender`` in place and leave it at the epoch with the best validation NDCG@10.

    Args:
        checkpoints: folder of the state after each epoch; an interrupted run goes on from there.
        pruner: when given, its wrapped network is trained, and only epochs at final sparsity count as best.

    Returns:
        ``epochs`` run, ``best_epoch``, ``seconds``, the ``curve`` (epoch, loss, validation NDCG@10) and the loss used.
    """
    network = pruner.network if pruner else recommender.network
    loss_name = config.loss
    if loss_name == "auto":
        loss_name = "cross-entropy" if dataset.items <= FULL_SOFTMAX_ITEMS else "sampled-softmax"
    tf.keras.utils.set_random_seed(config.seed)
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(network.trainable_variables)
    step = _step_function(recommender, network, optimizer, loss_name, config.negatives)

    state = tf.train.Checkpoint(
        network=network,
        optimizer=optimizer,
        best=[tf.Variable(w, trainable=False) for w in recommender.network.get_weights()],
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

    histories = dataset.training_histories()
    validation = dataset.targets("validation")
    with progress.epochs(title, config.epochs, done=len(curve)) as bar:
        while not _finished(curve, config, seconds, pruner):
            start = time.monotonic()
            epoch = len(curve) + 1
            batches = training_batches(histories, recommender.config.max_history, config.batch, config.seed, epoch)
            losses = []
            for number, batch in enumerate(batches, 1):
                losses.append(step(tf.constant(batch.inputs), tf.constant(batch.targets)))
                bar.step(epoch - 1 + number / len(batches))
            if pruner:
                pruner.finish()
            ndcg = evaluate(recommender.score, validation, dataset).ndcg(10).mean()
            seconds += time.monotonic() - start
            curve.append(
                {
                    "epoch": epoch,
                    "loss": float(np.mean([float(x) for x in losses])),
                    "ndcg@10": float(ndcg),
                    "learning_rate": float(optimizer.learning_rate.numpy()),
                }
            )
            counted = _counted(curve, pruner)
            if counted and max(counted, key=lambda e: e["ndcg@10"]) is curve[-1]:
                for kept, weight in zip(state.best, recommender.network.get_weights(), strict=True):
                    kept.assign(weight)
            elif counted and _since_best(counted) % PLATEAU == 0:
                optimizer.learning_rate.assign(optimizer.learning_rate / 2)
            state.progress.assign(json.dumps({"curve": curve, "seconds": seconds}))
            manager.save()
            bar.epoch(epoch, f"loss {curve[-1]['loss']:.4f}, validation NDCG@10 {ndcg:.4f}", seconds / epoch)
    recommender.network.set_weights([v.numpy() for v in state.best])
    best = max(_counted(curve, pruner), key=lambda e: e["ndcg@10"])
    return {
        "loss": loss_name,
        "epochs": len(curve),
        "best_epoch": best["epoch"],
        "validation_ndcg@10": best["ndcg@10"],
        "seconds": round(seconds, 1),
        "curve": curve,
    }


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
    loss_name: str,
    negatives: int,
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    table = recommender.item_table.embeddings
    variables = network.trainable_variables
    rows = recommender.items + 1

    def cross_entropy(hidden: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        logits = tf.matmul(hidden, table, transpose_b=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))

    # Negatives shared by the batch, drawn uniformly; logQ correction (Bengio & Senécal 2008) is the constant
    # log(negatives / N), which a softmax needs only against the target's own logit.
    shift = float(np.log(negatives / recommender.items))

    def sampled_softmax(hidden: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        drawn = tf.random.uniform([negatives], 1, rows, tf.int32)
        positive = tf.reduce_sum(hidden * tf.gather(table, targets), axis=1, keepdims=True)
        negative = tf.matmul(hidden, tf.gather(table, drawn), transpose_b=True) - shift
        negative = tf.where(drawn[None] == targets[:, None], -1e9, negative)
        return tf.reduce_mean(tf.reduce_logsumexp(tf.concat([positive, negative], 1), axis=1) - positive[:, 0])

    loss_of = cross_entropy if loss_name == "cross-entropy" else sampled_softmax

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2)
    def step(inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            hidden = network(inputs, training=True)
            real = targets > 0  # the catalogue is scored at real positions only: about half of the slots
            loss = loss_of(tf.boolean_mask(hidden, real), tf.boolean_mask(targets, real))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step  # type: ignore[no-any-return]
