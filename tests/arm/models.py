"""The bundles that are run on ARM: the shipped ones, and networks of random weights: every scheme and encoder.

``python tests/arm/models.py FOLDER`` makes the latter: a process of its own, as it needs TensorFlow. ``grocery-shaped``
has the sizes of the shipped grocery model, so that its cost can be compared by scheme. Its weights lie on the grids of
all schemes, so that each of them keeps the ranking.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import PROJECT, made_once

GROCERY = PROJECT / "models" / "grocery" / "model.tflite"
# Of the shipped model, whose architecture is not in its file.
GROCERY_SHAPE: dict[str, object] = {"encoder": "gru", "dim": 32, "hidden": 64, "expansion": 4, "blocks": 1}
ENCODERS: dict[str, dict[str, object]] = {
    "mean": {},
    "cnn": {"blocks": 2},
    "sasrec": {"blocks": 2, "heads": 2},
    "gru": {"blocks": 2},
    "lru": {"blocks": 2},
}
SCHEMES_OF_ENCODERS = ("float32", "int8")
ITEMS = 300
SECONDS = 1800
# Share of the blocks of 16 weights that are pruned for the scheme int8-sparse.
PRUNED = 0.8


def bundles() -> dict[str, Path]:
    """All bundles by name: ``grocery``, the other shipped ones, and ``grocery-shaped-int8`` and such."""
    folders = [PROJECT / "converters", PROJECT / "device_runner", PROJECT / "edgerec" / "recommenders"]
    sources = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    sources += [Path(__file__), PROJECT / "tests" / "toy_ranker.py"]
    with made_once("bundles", [path.read_bytes() for path in sources], GROCERY.read_bytes()) as (folder, part):
        if part:
            command = [sys.executable, __file__, str(part)]
            path = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}:{Path(__file__).parent}"}
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **path})
            if done.returncode:
                raise RuntimeError(f"the bundles cannot be made: {done.stderr[-3000:]}")
    shipped = {path.parent.name: path for path in sorted(PROJECT.glob("models/*/*.tflite"))}
    return shipped | {path.stem: path for path in sorted(folder.glob("*.tflite"))}


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def make(folder: Path) -> None:
    """Write all bundles of random weights."""
    from converters.schemes import SCHEMES
    from device_runner.bundle import Bundle
    from device_runner.contract import Retrieval

    grocery = Bundle.read(GROCERY).contract_of(Retrieval)
    dense = [name for name in SCHEMES if name not in ("int8-sparse", "int8-full")]
    write(folder, "grocery-shaped", grocery, dense, GROCERY_SHAPE)
    write(folder, "grocery-shaped", grocery, ["int8-sparse"], GROCERY_SHAPE, pruned=True)
    for name, keys in ENCODERS.items():
        contract = Retrieval(max_history=20, max_exclude=80, top_k=20, items=ITEMS)
        write(folder, name, contract, SCHEMES_OF_ENCODERS, {"encoder": name, "dim": 32, **keys})
    write_rankers(folder)


def write_rankers(folder: Path) -> None:
    """Write a small ranking model as ``ranker-float32`` and ``ranker-int8``, each with a golden vector."""
    from toy_ranker import CASE, bundled, golden, toy_rankers

    from device_runner.bundle import Bundle
    from device_runner.ranker import Ranker

    for scheme, path in toy_rankers().items():
        with Ranker.load(path, "litert") as ranker:
            given = (CASE["user"], CASE["candidates"], CASE["context"], CASE["history"], CASE["history_values"])
            scores = list(ranker.score(*given))
        (folder / f"ranker-{scheme}.tflite").write_bytes(
            bundled(Bundle.read(path).model, scheme, golden=golden(scores))
        )


def write(folder: Path, name: str, contract: Any, schemes: Any, shape: dict[str, object], pruned: bool = False) -> None:
    """Write the bundles of one network in some schemes, each verified on every runtime that it claims."""
    import tensorflow as tf
    from tiny import architecture

    from converters.build import build
    from converters.convert import Vocabulary, bundle_flatbuffer
    from converters.servable import save_model
    from edgerec.recommenders import SequenceRecommender
    from edgerec.recommenders.parts import Parts
    from edgerec.recommenders.serving import ServedRecommender

    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    recommender = SequenceRecommender(architecture(**shape, max_history=contract.max_history), contract.items, name)
    put_on_grids(recommender, rng, 7 if pruned else 1)
    if pruned:
        kernel = recommender.network.get_layer("gates_0").kernel
        kept = rng.random((kernel.shape[0] // 16, kernel.shape[1])) >= PRUNED
        kernel.assign(kernel * np.repeat(kept, 16, 0))
    if contract.neighbours:
        recommender.parts = Parts(transitions(rng, contract))
    servable = ServedRecommender(recommender, replace(contract, state=recommender.state_size or 0))
    histories = rng.integers(1, contract.items + 1, (40, contract.max_history)).astype(np.int32)
    histories[:20, : contract.max_history // 2] = 0
    facts = {"dataset": {"name": "random", "split_fingerprint": "random"}}
    with tempfile.TemporaryDirectory() as scratch:
        save_model(servable, Path(scratch) / "saved")
        for scheme, flatbuffer in build(Path(scratch) / "saved", list(schemes), Path(scratch)).items():
            vocabulary = Vocabulary([str(1000 + row) for row in range(contract.items)], None)
            made = bundle_flatbuffer(
                flatbuffer, servable, scheme, name, vocabulary, histories, facts, Path(scratch)
            )  # fmt: skip
            (folder / f"{name}-{scheme}.tflite").write_bytes(made.content)


def put_on_grids(recommender: Any, rng: np.random.Generator, table: int) -> None:
    """Give each kernel weights of 15 levels, the item table those from -``table`` to ``table``, all else noise."""
    for layer in recommender.network.layers:
        for weight in layer.weights:
            if len(weight.shape) < 2:
                weight.assign(weight + rng.normal(0, 0.1, weight.shape))
                continue
            top = table if layer.name == "item_table" else 7
            codes = rng.integers(-top, top + 1, weight.shape)
            weight.assign((codes * (0.4 / top)).astype(np.float32))


def transitions(rng: np.random.Generator, contract: Any) -> Any:
    """A table of random transitions."""
    from edgerec.recommenders.transitions import Transitions

    shape = (contract.items + 1, contract.neighbours)
    return Transitions(
        rng.integers(1, contract.items + 1, shape).astype(np.int32),
        rng.integers(1, 16, shape).astype(np.uint8),
        np.sqrt(np.arange(16, dtype=np.float32) / 16),
        (0.8 ** np.arange(contract.recent)).astype(np.float32),
        np.zeros(0, np.float32),
        0.5,
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
