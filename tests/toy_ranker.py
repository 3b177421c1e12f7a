"""A small ranking model of random weights with features of every kind, as TFLite bundles and in numpy.

``python tests/toy_ranker.py FOLDER`` makes the bundles: a process of its own, so that the tests need not load
TensorFlow.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.bundle_writer import bundle_bytes
from device_runner.child_process import child_environment
from device_runner.contract import Ranking

ITEMS = [f"i{row}" for row in range(1, 41)]
CANDIDATES, LENGTH, DIM, HIDDEN = 7, 4, 4, 128
FEATURES: list[dict[str, Any]] = [
    {"input": "user_age", "name": "age", "of": "user", "type": "number"},
    {"input": "user_gender", "name": "gender", "of": "user", "type": "category", "values": ["F", "M"]},
    {
        "input": "user_likes", "name": "likes", "of": "user", "type": "categories", "values": ["Drama", "Crime"],
        "size": 2,
    },
    {"input": "context_hour", "name": "hour", "of": "context", "type": "category", "values": ["8", "12", "18"]},
    {"input": "context_days", "name": "days", "of": "context", "type": "number"},
    {"input": "item_price", "name": "price", "of": "item", "type": "number"},
    {"input": "item_brand", "name": "brand", "of": "item", "type": "category", "values": ["Private", "National"]},
    {
        "input": "item_genre", "name": "genre", "of": "item", "type": "categories",
        "values": ["Drama", "Comedy", "Crime"], "size": 2,
    },
    {"input": "item", "name": "item", "of": "item", "type": "items"},
    {"input": "history", "name": "history", "of": "history", "type": "items", "size": LENGTH},
    {"input": "history_values", "name": "history_values", "of": "history", "type": "number", "size": LENGTH},
    {"input": "retrieval_score", "name": "retrieval_score", "of": "retrieval", "type": "number"},
]  # fmt: skip
DTYPES = {entry["input"]: "float32" if entry["type"] == "number" else "int32" for entry in FEATURES}
CONTRACT = Ranking(CANDIDATES, DTYPES)
# By row: every fifth price, brand and genre is missing.
ITEM_VALUES: dict[str, list[Any]] = {
    "price": [None if row % 5 == 0 else round(0.3 * row, 2) for row in range(1, 41)],
    "brand": [row % 3 for row in range(1, 41)],
    "genre": [sorted({1 + row % 3, 1 + row % 2}) if row % 5 else [] for row in range(1, 41)],
}
RUNTIMES = {"litert": {"version": "2", "kendall_tau": 1.0}, "tflite-runtime": {"version": "2", "kendall_tau": 1.0}}
# What a case passes, in raw values.
CASE: dict[str, Any] = {
    "user": {"age": 31, "gender": "F", "likes": ["Crime"]},
    "context": {"hour": 18, "days": 2.5},
    "history": ["i3", "no such item", "i7", "i1"],
    "history_values": [4.0, 5.0, None, 2.0],
    "candidates": ["i5", "i6", {"item": "i6", "price": 9.5, "genre": ["Comedy", "Crime"]}, "no such item", {}],
}


@cache
def weights() -> dict[str, np.ndarray]:
    """The model's weights float32 by name."""
    rng = np.random.default_rng(0)
    sizes = {"item": 41, "user_gender": 3, "user_likes": 3, "context_hour": 4, "item_brand": 3, "item_genre": 4}
    tables = {name: rng.normal(size=(rows, DIM)) for name, rows in sizes.items()}
    wide = 7 * DIM + 4
    found = {**tables, "hidden": rng.normal(0, 0.3, (wide, HIDDEN)), "out": rng.normal(0, 0.2, (HIDDEN, 1))}
    return {name: values.astype(np.float32) for name, values in found.items()}


def expected_scores(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scores in numpy, float32 [candidates], for the arrays of the contract."""
    tables = weights()

    def looked_up(name: str, codes: np.ndarray) -> np.ndarray:
        return tables[name][codes] * (codes > 0)[..., None]

    def wide(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, (CANDIDATES, values.shape[-1]))

    rated = 1 + np.nan_to_num(inputs["history_values"])
    parts = [
        looked_up("item", inputs["item"]),
        wide((looked_up("item", inputs["history"]) * rated[..., None]).mean(1)),
        wide(looked_up("user_gender", inputs["user_gender"])),
        wide(looked_up("user_likes", inputs["user_likes"]).sum(1)),
        wide(looked_up("context_hour", inputs["context_hour"])),
        looked_up("item_brand", inputs["item_brand"]),
        looked_up("item_genre", inputs["item_genre"]).sum(1),
        wide((np.nan_to_num(inputs["user_age"]) / 50)[:, None]),
        wide(np.nan_to_num(inputs["context_days"])[:, None]),
        np.nan_to_num(inputs["item_price"])[:, None],
        np.nan_to_num(inputs["retrieval_score"])[:, None],
    ]
    return (np.tanh(np.concatenate(parts, 1) @ tables["hidden"]) @ tables["out"])[:, 0]


@cache
def toy_rankers() -> dict[str, Path]:
    """The bundles by scheme: ``float32`` and ``int8`` (dynamic range)."""
    _made.append(tempfile.TemporaryDirectory(prefix="toy-rankers"))
    folder = Path(_made[0].name)
    subprocess.run([sys.executable, __file__, folder], check=True, capture_output=True, env=child_environment())
    return {scheme: folder / f"{scheme}.tflite" for scheme in ("float32", "int8")}


# Folders that end with the process.
_made: list["tempfile.TemporaryDirectory[str]"] = []


def module() -> Any:
    """The model as a ``tf.Module`` with the signature ``score``."""
    import tensorflow as tf

    made = tf.Module()
    made.weights = variables = {name: tf.Variable(values) for name, values in weights().items()}

    def known(values: Any) -> Any:
        return tf.where(tf.equal(values, values), values, tf.zeros_like(values))  # NaN is not equal to itself

    def looked_up(name: str, codes: Any) -> Any:
        return tf.gather(variables[name], codes) * tf.cast(codes > 0, tf.float32)[..., None]

    def wide(values: Any) -> Any:
        return tf.tile(values, [CANDIDATES, 1])

    def score(**inputs: Any) -> dict[str, Any]:
        rated = 1.0 + known(inputs["history_values"])
        parts = [
            looked_up("item", inputs["item"]),
            wide(tf.reduce_mean(looked_up("item", inputs["history"]) * rated[..., None], 1)),
            wide(looked_up("user_gender", inputs["user_gender"])),
            wide(tf.reduce_sum(looked_up("user_likes", inputs["user_likes"]), 1)),
            wide(looked_up("context_hour", inputs["context_hour"])),
            looked_up("item_brand", inputs["item_brand"]),
            tf.reduce_sum(looked_up("item_genre", inputs["item_genre"]), 1),
            wide(known(inputs["user_age"])[:, None] / 50.0),
            wide(known(inputs["context_days"])[:, None]),
            known(inputs["item_price"])[:, None],
            known(inputs["retrieval_score"])[:, None],
        ]
        hidden = tf.tanh(tf.matmul(tf.concat(parts, 1), variables["hidden"]))
        return {"scores": tf.matmul(hidden, variables["out"])[:, 0]}

    specs = {}
    for entry in FEATURES:
        lines = CANDIDATES if entry["of"] in ("item", "retrieval") else 1
        shape = (lines, entry["size"]) if "size" in entry else (lines,)
        specs[entry["input"]] = tf.TensorSpec(shape, DTYPES[entry["input"]], name=entry["input"])
    made.score = tf.function(score).get_concrete_function(**specs)
    return made


def bundled(flatbuffer: bytes, scheme: str, **changes: Any) -> bytes:
    """A bundle around the model; ``changes`` are other arguments of ``bundle_bytes``."""
    given: dict[str, Any] = {
        "items": ITEMS, "features": FEATURES, "item_values": ITEM_VALUES,
        "facts": {
            "runtimes": RUNTIMES, "dataset": {"name": "toy", "split_fingerprint": "0"},
            "label": "rating",
        },
        **changes,
    }  # fmt: skip
    return bundle_bytes(flatbuffer, "toy-ranker", scheme, given.pop("contract", CONTRACT), **given)


def make(folder: Path) -> None:
    import tensorflow as tf

    made = module()
    with tempfile.TemporaryDirectory() as saved:
        tf.saved_model.save(made, saved, signatures={"score": made.score})
        for scheme in ("float32", "int8"):
            converter = tf.lite.TFLiteConverter.from_saved_model(saved)
            converter._experimental_disable_per_channel = True  # for tflite-runtime
            converter.optimizations = [tf.lite.Optimize.DEFAULT] if scheme == "int8" else []
            (folder / f"{scheme}.tflite").write_bytes(bundled(converter.convert(), scheme))


def golden(scores: list[float]) -> list[dict[str, Any]]:
    """``CASE`` as a golden vector."""
    assert all(map(math.isfinite, scores))
    return [json.loads(json.dumps({**CASE, "scores": scores, "tolerance": 0.02}))]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
