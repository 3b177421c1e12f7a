"""Bundles with tiny models of random weights, for tests of the device.

``python tests/toys.py FOLDER`` makes them: a process of its own, so that the tests need not load TensorFlow.
"""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.bundle_writer import bundle_bytes
from device_runner.child_process import child_environment
from device_runner.contract import Ranking, Retrieval
from device_runner.user_features import UserFeature, rows_of

STATE = 4
EXCLUDED = -1e9
FEATURES = {
    "told": [
        {"name": "gender", "first": 41, "values": ["F", "M"], "edges": []},
        {"name": "age", "first": 43, "values": [], "edges": [18.0, 35.0]},
    ],
    "linked": [{"name": "gender", "first": 7, "values": ["F", "M"], "edges": []}],
}
# Of the toy "linked". What each row of the history adds to the score of each item: row -> {item: points}.
EFFECTS = {1: {5: 1.0, 6: 0.25}, 2: {5: 0.5, 6: 0.5}, 3: {6: -1.0}, 4: {1: 2.0}, 7: {4: 3.0}, 8: {3: 3.0}}
# Its transitions: row -> {item: weight}.
TRANSITIONS = {1: {3: 0.5, 4: 0.25}, 2: {3: 0.25, 4: 0.25}, 3: {4: 0.75}, 4: {2: 1.0}}
RUNTIMES = {"litert": {"version": "2", "overlap@10": 1.0}, "tflite-runtime": {"version": "2", "overlap@10": 1.0}}
CONTRACTS: dict[str, Retrieval | Ranking] = {
    "recurrent": Retrieval(max_history=8, max_exclude=6, top_k=5, items=40, state=STATE),
    "another": Retrieval(max_history=8, max_exclude=6, top_k=5, items=40, state=STATE),
    "plain": Retrieval(max_history=8, max_exclude=6, top_k=5, items=40),
    "told": Retrieval(max_history=8, max_exclude=6, top_k=5, items=40, state=STATE),
    "one": Retrieval(max_history=2, max_exclude=2, top_k=2, items=1, state=STATE),
    "two": Retrieval(max_history=2, max_exclude=2, top_k=1, items=2, state=STATE),
    "five": Retrieval(max_history=2, max_exclude=2, top_k=5, items=5, state=STATE),
    "linked": Retrieval(max_history=5, max_exclude=6, top_k=4, items=6, state=7, recent=2, neighbours=2),
    "ranking": Ranking(candidates=4, inputs={"features": "float32"}),
}


@cache
def toys() -> dict[str, Path]:
    """The bundle of every contract, by name."""
    _made.append(tempfile.TemporaryDirectory(prefix="toys"))
    folder = Path(_made[0].name)
    command = [sys.executable, __file__, str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=child_environment())
    return {name: folder / f"{name}.tflite" for name in CONTRACTS}


# Folders that end with the process.
_made: list["tempfile.TemporaryDirectory[str]"] = []


def golden_case(**changes: object) -> dict[str, Any]:
    """A golden vector of the right form."""
    return {"history": [1, 2], "exclude": [1], "ids": [3], "scores": [0.5], "tolerance": 0.02, **changes}


def listed(contract: Retrieval, scores: Any, exclude: Any) -> dict[str, Any]:
    """The outputs of ``recommend`` for scores [1, items + 1]."""
    import tensorflow as tf

    excluded = tf.concat([tf.zeros([1], tf.int32), exclude[0]], 0)
    hits = tf.scatter_nd(excluded[:, None], tf.ones([contract.max_exclude + 1]), [contract.items + 1])
    top = tf.math.top_k(tf.where(hits[None] > 0, EXCLUDED, scores), contract.top_k)
    ids = tf.where(top.values > EXCLUDED / 10, top.indices, 0)
    return {"ids": ids, "scores": top.values, "item_scores": scores}


def recurrent(contract: Retrieval, rows: int, seed: int) -> Any:
    """A module whose state is tanh(state W + vector of the item), and whose scores are the state times the items."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    table = tf.Variable(rng.normal(size=(rows, STATE)).astype(np.float32))
    kernel = tf.Variable(rng.normal(size=(STATE, STATE)).astype(np.float32))

    def advance(state: Any, item: Any) -> Any:
        after = tf.tanh(tf.matmul(state, kernel) + tf.gather(table, item))
        return tf.where(item[:, None] > 0, after, state)

    def best(state: Any, exclude: Any) -> dict[str, Any]:
        return listed(contract, tf.matmul(state, table, transpose_b=True)[:, : contract.items + 1], exclude)

    def recommend(history: Any, exclude: Any) -> dict[str, Any]:
        state = tf.zeros([1, STATE])
        for place in range(contract.max_history):
            state = advance(state, history[:, place])
        return best(state, exclude)

    history = tf.TensorSpec([1, contract.max_history], tf.int32, name="history")
    exclude = tf.TensorSpec([1, contract.max_exclude], tf.int32, name="exclude")
    state, item = tf.TensorSpec([1, STATE], tf.float32, name="state"), tf.TensorSpec([1], tf.int32, name="item")
    module = tf.Module()
    module.table, module.kernel = table, kernel
    module.recommend = tf.function(recommend, input_signature=[history, exclude])
    module.advance = tf.function(lambda state, item: {"state": advance(state, item)}, input_signature=[state, item])
    module.recommend_from_state = tf.function(
        lambda state, exclude: best(state, exclude), input_signature=[state, exclude]
    )
    return module


def linked(contract: Retrieval, rows: int) -> Any:
    """A module whose scores are the summed EFFECTS of the history, which are its state, and log(1 + the summed
    TRANSITIONS of the last ``recent`` rows).
    """
    import tensorflow as tf

    effects = np.zeros((rows, contract.items + 1), np.float32)
    targets = np.zeros((rows, contract.neighbours), np.int32)
    weights = np.zeros((rows, contract.neighbours), np.float32)
    for row, points in EFFECTS.items():
        effects[row, list(points)] = list(points.values())
    for row, raised in TRANSITIONS.items():
        targets[row, : len(raised)], weights[row, : len(raised)] = list(raised), list(raised.values())
    module = tf.Module()
    module.effects, module.targets, module.weights = (tf.Variable(table) for table in (effects, targets, weights))

    def scores_of(state: Any, recent: Any) -> Any:
        to, weight = tf.gather(module.targets, recent), tf.gather(module.weights, recent)
        sums = tf.scatter_nd(tf.reshape(to, [-1, 1]), tf.reshape(weight, [-1]), [contract.items + 1])
        return state + tf.math.log(1.0 + sums)[None]

    def recommend(history: Any, exclude: Any) -> dict[str, Any]:
        state = tf.reduce_sum(tf.gather(module.effects, history), 1)
        return listed(contract, scores_of(state, history[:, -contract.recent :]), exclude)

    def links(history: Any) -> dict[str, Any]:
        newest = history[:, -contract.recent :]
        return {"items": tf.gather(module.targets, newest), "weights": tf.gather(module.weights, newest)}

    history = tf.TensorSpec([1, contract.max_history], tf.int32, name="history")
    exclude = tf.TensorSpec([1, contract.max_exclude], tf.int32, name="exclude")
    state, item = (tf.TensorSpec([1, contract.state], name="state"), tf.TensorSpec([1], tf.int32, name="item"))
    recent = tf.TensorSpec([1, contract.recent], tf.int32, name="recent")
    module.recommend = tf.function(recommend, [history, exclude])
    module.advance = tf.function(lambda state, item: {"state": state + tf.gather(module.effects, item)}, [state, item])
    module.recommend_from_state = tf.function(
        lambda state, recent, exclude: listed(contract, scores_of(state, recent), exclude), [state, recent, exclude]
    )
    module.links = tf.function(links, [history])
    return module


def ranking(contract: Ranking) -> Any:
    """A module that scores each candidate by a weighted sum of its three features."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable([[1.0], [-2.0], [0.5]])
    features = tf.TensorSpec([contract.candidates, 3], tf.float32, name="features")
    module.score = tf.function(
        lambda features: {"scores": tf.squeeze(tf.matmul(features, module.weights), 1)}, input_signature=[features]
    )
    return module


def flatbuffer(module: Any, contract: Retrieval | Ranking, folder: Path) -> bytes:
    import tensorflow as tf

    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in contract.signatures})
    return tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()


def make(folder: Path) -> None:
    for seed, (name, contract) in enumerate(CONTRACTS.items()):
        facts: dict[str, Any] = {"runtimes": RUNTIMES, "dataset": {"name": "toy", "split_fingerprint": "0"}}
        if isinstance(contract, Ranking):
            module, items = ranking(contract), []
        else:
            features = FEATURES.get(name, [])
            rows = contract.items + 1 + rows_of(UserFeature.from_json(feature) for feature in features)
            module = linked(contract, rows) if contract.neighbours else recurrent(contract, rows, seed)
            items = [f"i{row}" for row in range(1, contract.items + 1)]
            facts |= {"user_features": features} if features else {}
        with tempfile.TemporaryDirectory() as saved:
            content = flatbuffer(module, contract, Path(saved))
        (folder / f"{name}.tflite").write_bytes(bundle_bytes(content, name, "float32", contract, items, facts=facts))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
