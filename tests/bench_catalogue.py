"""Large catalogues: bytes of the file, time and memory of ``recommend()``, by scheme. Prints a Markdown table.

A GRU with random vectors around random centres, and ids that are numbers, is converted by the product's own code; time
and memory do not depend on what the weights are. Each file is measured by ``device_runner.bench``, in a process of its
own on one core: the median of several rounds, as the machine may be busy. Peak memory is that of a fresh Python process
that loads the bundle and recommends once.
"""

import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from device_runner.bench import bench
from device_runner.child_process import call_module

if TYPE_CHECKING:
    from device_runner.contract import Retrieval
    from edgerec.recommenders import SequenceRecommender
    from edgerec.recommenders.serving import ServedRecommender

HISTORY, TOP, CENTRES = 50, 50, 1000
# The scheme for the kernels beside product-quantized vectors: 8 bits.
PQ_KERNELS = "int4-table"
HEAD = (
    "| items | scheme | d | model, MB | file, MB | bytes an item | p50, ms | p90, ms | load, ms | cold start, ms "
    "| peak RSS, MB | conversion, s | its peak RSS, GB |\n|--:|---|" + "--:|" * 11
)


def zipf_histories(items: int, count: int) -> np.ndarray:
    """Rows int64 [count, HISTORY]; the popularity of row r is 1 / r."""
    uniform = np.random.default_rng(1).random((count, HISTORY))
    return np.clip(np.exp(uniform * np.log(items + 1)), 1, items).astype(np.int64)


def ids_of(items: int) -> list[str]:
    """Numbers below ``2 * items``, in the random order of their popularity."""
    numbers = np.random.default_rng(2).permutation(2 * items)[:items]
    return list(map(str, numbers.tolist()))


def make(items: int, dim: int, scheme: str, path: Path) -> dict[str, float]:
    """Write the bundle; seconds and peak memory of the conversion. Needs TensorFlow."""
    import resource

    import tensorflow as tf

    from converters.bundle_writer import bundle_bytes
    from converters.schemes import SCHEMES
    from converters.servable import save_model
    from device_runner.contract import Retrieval
    from edgerec.recommenders import SequenceRecommender
    from edgerec.recommenders.architecture import Architecture, Block
    from edgerec.recommenders.serving import ServedRecommender

    tf.keras.utils.set_random_seed(1)
    recommender = SequenceRecommender(Architecture("gru", dim, HISTORY, (Block(4 * dim, 4 * dim),)), items)
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.1, (CENTRES, dim)).astype(np.float32)
    for start in range(0, items + 1, 1 << 16):
        rows = min(1 << 16, items + 1 - start)
        part = centres[rng.integers(0, CENTRES, rows)] + rng.normal(0, 0.05, (rows, dim)).astype(np.float32)
        recommender.item_table.embeddings[start : start + rows].assign(part)
    contract = Retrieval(HISTORY, 4 * HISTORY, TOP, items, recommender.state_size or 0)
    servable, built_by = ServedRecommender(recommender, contract), scheme
    if scheme.startswith("pq"):
        contract = replace(contract, state=0)
        servable, built_by = product_quantized(recommender, contract, int(scheme[2:])), PQ_KERNELS
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        save_model(servable, Path(folder))
        flatbuffer = SCHEMES[built_by].build(Path(folder))
    path.write_bytes(bundle_bytes(flatbuffer, "synthetic", scheme, contract, ids_of(items)))
    return {
        "conversion_s": time.perf_counter() - started,
        "conversion_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "model": len(flatbuffer),
    }


def product_quantized(recommender: "SequenceRecommender", contract: "Retrieval", parts: int) -> "ServedRecommender":
    """The same with item vectors of ``parts`` codes of 256 each, and the scores by PQTopK (Petrov & Macdonald, RecSys
    2024): the scores of all centroids, and for each item the sum of those that its codes name. The codes are random.
    """
    import tensorflow as tf

    from edgerec.recommenders.serving import ServedRecommender

    dim, rows = recommender.architecture.dim, contract.items + 1
    rng = np.random.default_rng(3)
    codes = tf.constant(rng.integers(0, 256, (parts, rows), np.uint8))
    centroids = tf.constant(rng.normal(0, 0.1, (parts, 256, dim // parts)).astype(np.float32))

    class ProductQuantized(ServedRecommender):
        @property
        def kernels(self) -> dict[str, np.ndarray]:
            return {name: kernel for name, kernel in super().kernels.items() if name != "item_table"}

        def _recommend(self, history: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
            of_history = tf.cast(tf.gather(codes, history[0], axis=1), tf.int32)  # [parts, T]
            vectors = tf.concat([tf.gather(centroids[part], of_history[part]) for part in range(parts)], 1)
            hidden = recommender._encoder.last(vectors[None] * dim**0.5, history)
            by_centroid = tf.einsum("pd,pcd->pc", tf.reshape(hidden, [parts, dim // parts]), centroids)
            # Always 0, but by the input: the converter would store a constant that is cast in int32.
            zero = tf.minimum(exclude[0, 0], 0)
            scores = tf.zeros([])
            for part in range(parts):
                of_items = tf.cast(tf.gather(codes, zero + part), tf.int32)
                scores += tf.gather(by_centroid[part], of_items)
            return self._best(scores[None], exclude)

    served = ProductQuantized(recommender, contract)
    served.module.weights = [weight for weight in recommender.network.weights if "item_table" not in weight.name]
    return served


def measure(path: Path, items: int, rounds: int, runs: int) -> dict[str, float]:
    """Medians over the rounds, of the runs in each."""
    names = ids_of(items)
    histories = [[names[row - 1] for row in rows] for rows in zipf_histories(items, 50)]
    found = [bench(path, histories, "litert", runs=runs) for _ in range(rounds)]
    return {
        "p50": statistics.median(one["recommend_ms"]["p50"] for one in found),
        "p90": statistics.median(one["recommend_ms"]["p90"] for one in found),
        "load": statistics.median(one["cold_start_ms"]["load"] for one in found),
        "process": statistics.median(one["cold_start_ms"]["process"] for one in found),
        "rss": max(one["peak_rss_mb"] for one in found),
    }


def in_own_process(*arguments: object) -> dict[str, float]:
    ended = call_module("bench_catalogue", *arguments)
    if ended.error:
        raise click.ClickException(ended.error)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def line(items: int, dim: int, scheme: str, size: int, made: dict[str, float], measured: dict[str, float]) -> str:
    cells = [
        f"{items:,}", scheme, str(dim), f"{made['model'] / 1e6:.2f}", f"{size / 1e6:.2f}", f"{size / items:.1f}",
        f"{measured['p50']:.1f}", f"{measured['p90']:.1f}", f"{measured['load']:.0f}", f"{measured['process']:.0f}",
        f"{measured['rss']:.0f}", f"{made['conversion_s']:.0f}", f"{made['conversion_gb']:.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


@click.group(invoke_without_command=True)
@click.option("--items", multiple=True, type=int, default=(1_000_000,), show_default=True)
@click.option("--scheme", "schemes", multiple=True, default=("int4-table", "int4-tensor", "float32"),
    show_default=True, help="Of edgerec, or pqM: vectors of M codes of 256.")  # fmt: skip
@click.option("--dim", default=32, show_default=True, help="Width of the item vectors.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--runs", default=100, show_default=True, help="Timed calls a round.")
@click.option("--core", default=0, show_default=True, help="The one that all processes are measured on.")
@click.pass_context
def main(
    context: click.Context,
    items: tuple[int, ...],
    schemes: tuple[str, ...],
    dim: int,
    rounds: int,
    runs: int,
    core: int,
) -> None:
    """Print one line for each catalogue and scheme."""
    if context.invoked_subcommand:
        return
    click.echo(HEAD)
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        for count in items:
            for scheme in schemes:
                os.sched_setaffinity(0, cores)
                made = in_own_process("make", count, dim, scheme, path)
                os.sched_setaffinity(0, {core})
                measured = in_own_process("measure", path, count, rounds, runs)
                click.echo(line(count, dim, scheme, path.stat().st_size, made, measured))
    click.echo(f"\nLoad of the last minute at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


@main.command("quality")
@click.argument("trained", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
def quality_command(trained: Path, dataset: Path) -> None:
    """Print NDCG@10 of a TRAINED model on a DATASET (folders of a run) with each form of its item table, untrained for
    it. Histories are of all users.
    """
    from scipy.cluster.vq import kmeans2

    from converters.flatbuffer.row_scales import coarse
    from converters.grids import nearest_grid
    from edgerec.data.dataset import Dataset
    from edgerec.evaluation.ranking import evaluate_model
    from edgerec.recommenders import SequenceRecommender
    from edgerec.recommenders.parts import Parts

    recommender, data = SequenceRecommender.load(trained), Dataset.load(dataset)
    table, parts = recommender.item_table.embeddings.numpy(), recommender.parts
    dim = table.shape[1]

    def by_row(bits: int) -> np.ndarray:
        codes, scales = nearest_grid(table, bits, by_row=True)
        stored, step = coarse(scales)
        return codes * (stored * step)[:, None].astype(np.float32)

    def in_tensor(bits: int) -> np.ndarray:
        codes, scales = nearest_grid(table, bits, by_row=False)
        return codes * scales

    def by_product(count: int) -> np.ndarray:
        found = []
        for part in np.split(table, count, 1):
            centroids, codes = kmeans2(part.astype(np.float64), 256, iter=30, minit="++", seed=0)
            found.append(centroids[codes].astype(np.float32))
        return np.concatenate(found, 1)

    forms = {
        "float32": (4 * dim, table),
        "int4 by row": (dim / 2 + 1, by_row(4)),
        "int4 tensor": (dim / 2, in_tensor(4)),
    }
    forms |= {"int2 by row": (dim / 4 + 1, by_row(2))}
    forms |= {f"pq{count}": (count, by_product(count)) for count in (4, 8, 16, 32)}
    click.echo("| item table | bytes an item | validation, network | test, network | test, with all parts |")
    click.echo("|---|--:|--:|--:|--:|")
    for name, (size, values) in forms.items():
        recommender.item_table.embeddings.assign(values)
        recommender.parts = Parts()
        alone = [
            evaluate_model(recommender, data.targets(part), data).ndcg(10).mean() for part in ("validation", "test")
        ]
        recommender.parts = parts
        whole = evaluate_model(recommender, data.targets("test"), data).ndcg(10).mean()
        click.echo(f"| {name} | {size:g} | {alone[0]:.4f} | {alone[1]:.4f} | {whole:.4f} |")


@main.command("make", hidden=True)
@click.argument("items", type=int)
@click.argument("dim", type=int)
@click.argument("scheme")
@click.argument("path", type=Path)
def make_command(items: int, dim: int, scheme: str, path: Path) -> None:
    click.echo(json.dumps(make(items, dim, scheme, path)))


@main.command("measure", hidden=True)
@click.argument("path", type=Path)
@click.argument("items", type=int)
@click.argument("rounds", type=int)
@click.argument("runs", type=int)
def measure_command(path: Path, items: int, rounds: int, runs: int) -> None:
    click.echo(json.dumps(measure(path, items, rounds, runs)))


if __name__ == "__main__":
    main()
