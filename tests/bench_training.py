"""Training throughput: ``edgerec train`` against a plain padded Keras ``fit`` of the same model. Run by ``make bench``.

Both train SASRec (d = 64, two blocks, L = 200) with the full cross-entropy, in one process, by turns. What counts are
real targets a second: events that are learned from, not the padding around them.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import numpy as np
import tensorflow as tf
import tf_keras as keras

import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
from device_runner.bench.device import cpu_model
from edgerec.data.dataset import TEST, VALIDATION, Dataset
from edgerec.progress import Progress
from edgerec.recipe import Train
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.architecture import Architecture, Block
from edgerec.training.batches import training_batches
from edgerec.training.hooks import AverageWeights
from edgerec.training.loop import Fit
from edgerec.training.losses import multiplies_bfloat16
from edgerec.training.objective import NextItem
from edgerec.training.schedule import Schedule

LENGTH, DIM, BLOCKS, BATCH = 200, 64, 2, 32
# MovieLens-1M's, with five users or more an item.
USERS, ITEMS, MEDIAN, MEAN = 6040, 3416, 96, 165
# Steps before anything is measured: graphs are traced, and memory is taken for batches of every width.
WARM_UP = 12

# Trains for so many steps: their real targets, and seconds.
Segment = Callable[[int], tuple[int, float]]


def synthetic_dataset() -> Dataset:
    """Log-normal lengths of MovieLens-1M's median and mean, Zipf items; leave-one-out."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(2 * np.log(MEAN / MEDIAN))
    lengths = np.clip(rng.lognormal(np.log(MEDIAN), spread, USERS), 18, 2300).astype(int)
    zipf = 1 / np.arange(1, ITEMS + 1)
    events = rng.choice(ITEMS, lengths.sum(), p=zipf / zipf.sum()).astype(np.int32) + 1
    ends = np.cumsum(lengths)
    parts = np.zeros(len(events), np.int8)
    parts[ends - 2], parts[ends - 1] = VALIDATION, TEST
    info = {"name": "synthetic", "users": USERS, "items": ITEMS, "repeats": "all"}
    return Dataset(Path(), info, events, parts, np.concatenate([[0], ends]))


class Enough(Exception):
    """All segments are measured."""


class Turns(Progress):
    """Watches the steps of ``train``: ``warm_up`` of them, then segments, with ``between`` called before each.

    Attributes:
        segments: first and last step, and seconds, of each.
    """

    def __init__(self, steps_per_epoch: int, warm_up: int, steps: int, count: int, between: Callable[[], None]) -> None:
        super().__init__()
        self.segments: list[tuple[int, int, float]] = []
        self._steps_per_epoch, self._warm_up, self._steps, self._count = steps_per_epoch, warm_up, steps, count
        self._between = between
        self._started = 0.0

    @contextmanager
    def epochs(self, title: str, total: int, done: int = 0) -> "Iterator[Turns]":  # type: ignore[override]
        yield self

    def step(self, epochs: float) -> None:
        now = time.perf_counter()
        measured = round(epochs * self._steps_per_epoch) - self._warm_up
        if measured < 0 or measured % self._steps:
            return
        if measured:
            last = measured + self._warm_up
            self.segments.append((last - self._steps, last, now - self._started))
        if len(self.segments) == self._count:
            raise Enough
        self._between()
        self._started = time.perf_counter()


def edgerec_speeds(
    dataset: Dataset, precision: str, steps: int, count: int, between: Callable[[], None]
) -> list[float]:
    """Real targets a second in each segment of ``edgerec train``'s first epoch."""
    config = Train(batch=BATCH, seed=1, precision=precision, epochs=1)
    batches = training_batches(dataset.training_histories(), LENGTH, BATCH, config.seed, 1)
    if WARM_UP + steps * count >= len(batches):
        raise click.UsageError(f"an epoch has {len(batches)} batches, too few for {count} segments of {steps}")
    turns = Turns(len(batches), WARM_UP, steps, count, between)
    with tempfile.TemporaryDirectory() as scratch, suppress(Enough):
        objective = NextItem(new_recommender(dataset.items), dataset, config)
        hooks = [AverageWeights(objective.weights, config.average)]
        folders = Path(scratch, "checkpoints"), Path(scratch, "logs")
        Fit("bench", objective, Schedule.of_training(config), *folders, turns, hooks).run()
    real = np.cumsum([0, *(np.count_nonzero(batch.targets) for batch in batches)])
    return [float(real[last] - real[first]) / seconds for first, last, seconds in turns.segments]


class EpochClock(keras.callbacks.Callback):
    """Seconds of the steps of ``fit`` alone: what it does before and after them is no training."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds = time.perf_counter() - self._started


def keras_segments(histories: list[np.ndarray], items: int) -> Segment:
    """As one would write it in plain Keras: the same windows, all padded to L, through tf.data and ``fit``."""
    recommender = new_recommender(items)

    class Scores(keras.layers.Layer):
        def call(self, hidden: tf.Tensor) -> tf.Tensor:
            return tf.matmul(hidden, recommender.item_table.vectors(), transpose_b=True)

    def masked_cross_entropy(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        real = tf.cast(targets > 0, tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, scores)
        return tf.reduce_sum(losses * real) / tf.reduce_sum(real)

    ids = keras.Input((LENGTH,), dtype=tf.int32)
    model = keras.Model(ids, Scores()(recommender.network(ids)))
    model.compile(keras.optimizers.Adam(1e-3), masked_cross_entropy)
    padded = [
        np.pad(part, ((0, 0), (LENGTH - part.shape[1], 0)))
        for batch in training_batches(histories, LENGTH, BATCH, seed=1, epoch=1)
        for part in (batch.inputs, batch.targets)
    ]
    inputs, targets = np.concatenate(padded[::2]), np.concatenate(padded[1::2])
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs, targets = inputs[order], targets[order]
    done = 0
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing is left to tune, and its thread lets the end of ``fit`` wait for seconds

    def segment(steps: int) -> tuple[int, float]:
        nonlocal done
        rows = np.arange(done, done + steps * BATCH) % len(inputs)
        done += steps * BATCH
        data = tf.data.Dataset.from_tensor_slices((inputs[rows], targets[rows])).batch(BATCH).prefetch(2)
        clock = EpochClock()
        model.fit(data.with_options(options), callbacks=[clock], verbose=0)
        return np.count_nonzero(targets[rows]), clock.seconds

    return segment


def new_recommender(items: int) -> SequenceRecommender:
    tf.keras.utils.set_random_seed(1)
    return SequenceRecommender(Architecture("sasrec", DIM, LENGTH, (Block(4 * DIM, DIM),) * BLOCKS, 0.1), items)


def machine() -> dict[str, object]:
    return {
        "cpu": cpu_model(),
        "cores_used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


@click.command()
@click.option(
    "--dataset", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a prepared data set, such as MovieLens-1M's. Default: synthetic histories of its shape.",
)  # fmt: skip
@click.option("--segments", default=5, show_default=True, help="Measured for each, by turns.")
@click.option("--steps", default=40, show_default=True, help="Batches a segment.")
def main(dataset: Path | None, segments: int, steps: int) -> None:
    """Print the throughput of both, and their ratio, as JSON."""
    before = machine()
    loaded = Dataset.load(dataset) if dataset else synthetic_dataset()
    plain = keras_segments(loaded.training_histories(), loaded.items)
    plain(WARM_UP)
    result: dict[str, object] = {"data": loaded.name, "segments": segments, "steps": steps}
    for precision in ("float32", "bfloat16") if multiplies_bfloat16() else ("float32",):
        theirs: list[float] = []

        def between(theirs: list[float] = theirs) -> None:
            targets, seconds = plain(steps)
            theirs.append(targets / seconds)

        ours = edgerec_speeds(loaded, precision, steps, segments, between)
        result[precision] = {
            "edgerec_targets_per_second": spread(ours),
            "keras_targets_per_second": spread(theirs),
            "ratio": round(statistics.median(ours) / statistics.median(theirs), 2),
        }
    result["machine"] = {**before, "load_1min_after": machine()["load_1min"]}
    print(json.dumps(result, indent=2))


def spread(speeds: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(speeds)), "least": round(min(speeds)), "most": round(max(speeds))}


if __name__ == "__main__":
    main()
