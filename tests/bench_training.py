"""Training throughput: edgerec's step against a plain padded Keras ``fit`` of the same model. Run by ``make bench``.

Both train SASRec (d = 64, two blocks, L = 200) with the full cross-entropy, in one process, by turns. What counts are
real targets a second: events that are learned from, not the padding around them.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

LENGTH, DIM, BLOCKS, BATCH = 200, 64, 2, 32
# MovieLens-1M's, with five users or more an item.
USERS, ITEMS, MEDIAN, MEAN = 6040, 3416, 96, 165

# Trains for so many steps: their real targets, and seconds.
Segment = Callable[[int], tuple[int, float]]


def synthetic_histories() -> list[np.ndarray]:
    """Log-normal lengths of MovieLens-1M's median and mean, Zipf items; rows int32, oldest first."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(2 * np.log(MEAN / MEDIAN))
    lengths = np.clip(rng.lognormal(np.log(MEDIAN), spread, USERS), 18, 2300).astype(int)
    zipf = 1 / np.arange(1, ITEMS + 1)
    return [rng.choice(ITEMS, length, p=zipf / zipf.sum()).astype(np.int32) + 1 for length in lengths]


def edgerec_segments(histories: list[np.ndarray], items: int, precision: str) -> Segment:
    """As ``edgerec train`` does it: batches of like length, real positions only, and averaged weights."""
    import tensorflow as tf
    import tf_keras as keras

    from edgerec.losses import cross_entropy
    from edgerec.training import _step_function, training_batches

    recommender = new_recommender(items)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(recommender.network.trainable_variables)
    averaged = [tf.Variable(weight, trainable=False) for weight in recommender.network.weights]
    step = _step_function(recommender, recommender.network, optimizer, cross_entropy(precision), 0.999, averaged)
    started = time.perf_counter()
    batches = training_batches(histories, LENGTH, BATCH, seed=1, epoch=1)
    making = (time.perf_counter() - started) / len(batches)
    rest = iter(batches)

    def segment(steps: int) -> tuple[int, float]:
        targets, started = 0, time.perf_counter()
        for _ in range(steps):
            batch = next(rest)
            loss = step(tf.constant(batch.inputs), tf.constant(batch.targets))
            targets += np.count_nonzero(batch.targets)
        float(loss)
        return targets, time.perf_counter() - started + steps * making

    return segment


def keras_segments(histories: list[np.ndarray], items: int) -> Segment:
    """As one would write it in plain Keras: the same windows, all padded to L, through tf.data and ``fit``."""
    import tensorflow as tf
    import tf_keras as keras

    from edgerec.training import training_batches

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

    def segment(steps: int) -> tuple[int, float]:
        nonlocal done
        rows = slice(done, done + steps * BATCH)
        done = rows.stop
        data = tf.data.Dataset.from_tensor_slices((inputs[rows], targets[rows])).batch(BATCH).prefetch(tf.data.AUTOTUNE)
        started = time.perf_counter()
        model.fit(data, verbose=0)
        return np.count_nonzero(targets[rows]), time.perf_counter() - started

    return segment


def new_recommender(items: int):
    import tensorflow as tf

    from edgerec.recipe import Model
    from edgerec.recommenders import SequenceRecommender

    tf.keras.utils.set_random_seed(1)
    return SequenceRecommender(Model(encoder="sasrec", dim=DIM, blocks=BLOCKS, max_history=LENGTH), items)


def machine() -> dict[str, object]:
    try:
        names = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")]
    except OSError:
        names = []
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
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
    import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
    from edgerec.data.dataset import Dataset
    from edgerec.losses import multiplies_bfloat16

    before = machine()
    if dataset:
        loaded = Dataset.load(dataset)
        name, histories, items = loaded.name, loaded.training_histories(), loaded.items
    else:
        name, histories, items = "synthetic", synthetic_histories(), ITEMS
    runners = {
        "keras": keras_segments(histories, items),
        "edgerec-float32": edgerec_segments(histories, items, "float32"),
    }
    if multiplies_bfloat16():
        runners["edgerec-bfloat16"] = edgerec_segments(histories, items, "bfloat16")
    for run in runners.values():
        run(8)  # traced, and every bucket's buffers allocated
    speeds: dict[str, list[float]] = {runner: [] for runner in runners}
    for _ in range(segments):
        for runner, run in runners.items():
            targets, seconds = run(steps)
            speeds[runner].append(targets / seconds)
    medians = {runner: statistics.median(values) for runner, values in speeds.items()}
    result = {
        "data": name,
        "targets_per_second": {runner: round(value) for runner, value in medians.items()},
        "range": {runner: [round(min(values)), round(max(values))] for runner, values in speeds.items()},
        "ratio_to_keras": {runner: round(value / medians["keras"], 2) for runner, value in medians.items()},
        "segments": segments,
        "steps": steps,
        "machine": {**before, "load_1min_after": machine()["load_1min"]},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
