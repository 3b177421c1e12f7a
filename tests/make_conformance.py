"""Writes the conformance suite: the cases that every implementation of bundles and recommendation must pass.

``python tests/make_conformance.py [bundles] [cases]`` (default: both) writes ``converters/targets/conformance/``. The
bundles hold toy models (tests/toys.py) and take TensorFlow; the cases are what ``device_runner`` answers, and are to be
made again whenever the bundles or the models of ``models/`` change. Their form: ``converters/targets/README.md``.
"""

import io
import json
import math
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from file_recipes import BUNDLES, SUITE, Changed, place_of
from make_replacements import replacements

from device_runner.bundle import Bundle
from device_runner.recommender import Recommender

CASES = SUITE / "cases"
GROCERY = "models/grocery/model.tflite"
GROCERY_RANKING = "models/grocery-ranking/model.tflite"
# Of a score, relative to the larger of 1 and its size.
TOLERANCE = 1e-4
# Scores of different items are equal, or at least this far apart, so that ids can be compared one by one: toys compute
# in float32, and the real model with weights and activations of few bits.
NO_NEAR_TIE = 1e-5
NO_NEAR_TIE_OF_INTEGERS = 4 * TOLERANCE

# Ids that break careless readers: escapes, ends of lines, forms of the same letter, other scripts and directions, names
# that JavaScript objects already have, a byte order mark, and what looks like the number of another id.
ODD_IDS = [
    "\ufeffbyte order mark", "café", "cafe\u0301", "back\\slash", "line\nfeed", "carriage\rreturn", "tab\there",
    'quote"', "'", "日本語", "😀", "👩\u200d👧", "שלום", "مرحبا", "\u2028", "\u0085", "nul\0byte", " leading",
    "trailing ", "7", "07", "7.0", "__proto__", "constructor", "toString", "\\n", "\\u0041", "A", "a",
    "ß", "ẞ", "ss", "İ", "i", "ı",
    "null", "-0", "\u03a9", "\u2126", "x" * 300,
]  # fmt: skip
NUMBERS = [2**63 - 1, 0, 2**53 + 1, 2**53, 1, 2**31, 2**31 - 1, 10, 7, 2**62, *range(100, 130)]


def bundles() -> None:
    """Write the bundles."""
    from toys import CONTRACTS, FEATURES, RUNTIMES, toys

    from converters.bundle_writer import bundle_bytes

    made = toys()
    plain = model_of(made["plain"])
    BUNDLES.mkdir(parents=True, exist_ok=True)

    def write(name: str, flatbuffer: bytes, of: str, items: Sequence[str], facts: dict[str, Any], **parts: Any) -> None:
        given = {"runtimes": RUNTIMES, "dataset": {"name": "toy", "split_fingerprint": "0"}, **facts}
        content = bundle_bytes(flatbuffer, name, "float32", CONTRACTS[of], items, facts=given, **parts)
        (BUNDLES / f"{name}.tflite").write_bytes(content)

    ids = [f"i{row}" for row in range(1, 41)]
    titles = [f"Item {row}" if row % 7 else "" for row in range(1, 41)]
    write("plain", plain, "plain", ids, {}, titles=titles, golden=golden(made["plain"]))
    write("repeats", plain, "plain", ids, {"exclude_history": False})
    write("texts", plain, "plain", ODD_IDS, {}, titles=ODD_IDS)
    write("numbers", plain, "plain", [str(number) for number in NUMBERS], {})
    write("told", model_of(made["told"]), "told", ids, {"user_features": FEATURES["told"]})
    linked = {"user_features": FEATURES["linked"]}
    write("linked", model_of(made["linked"]), "linked", [f"i{row}" for row in range(1, 7)], linked)
    colours = [[], [0], [1], [0, 1], [2]]
    attributes = {
        "colour": {"values": ["red", "gr\u00fcn", "blue"], "rows": [colours[row % 5] for row in range(40)]},
        "brand": {"values": ["A", "B"], "rows": [[row // 20] for row in range(40)]},
    }
    write("attributes", plain, "plain", ids, {}, attributes=attributes)
    write("five", model_of(made["five"]), "five", [f"i{row}" for row in range(1, 6)], {})
    (BUNDLES / "ranking.tflite").write_bytes(ranking_bundle())


def ranking_bundle() -> bytes:
    """A model that reads a feature of every kind. Its score is a sum that can be followed with a pencil: an absent
    number counts as 0.25, and every category, row and event has a weight of its own.
    """
    import tempfile

    import tensorflow as tf
    from toys import RUNTIMES, flatbuffer

    from converters.bundle_writer import bundle_bytes
    from device_runner.contract import Ranking

    candidates, places, events, items = 4, 2, 3, 6
    features = [
        {"input": "user_age", "name": "age", "of": "user", "type": "number"},
        {
            "input": "user_tags",
            "name": "tags",
            "of": "user",
            "type": "categories",
            "values": ["a", "b"],
            "size": places,
        },
        {"input": "hour", "name": "hour", "of": "context", "type": "category", "values": ["8", "18", "früh"]},
        {"input": "price", "name": "price", "of": "item", "type": "number"},
        {"input": "brand", "name": "brand", "of": "item", "type": "category", "values": ["A", "B"]},
        {
            "input": "genre",
            "name": "genre",
            "of": "item",
            "type": "categories",
            "values": ["x", "y", "z"],
            "size": places,
        },
        {"input": "item", "name": "item", "of": "item", "type": "items"},
        {"input": "history", "name": "history", "of": "history", "type": "items", "size": events},
        {"input": "history_values", "name": "history_values", "of": "history", "type": "number", "size": events},
        {"input": "retrieval_score", "name": "retrieval_score", "of": "retrieval", "type": "number"},
    ]
    rng = np.random.default_rng(5)
    module = tf.Module()
    weights = {
        name: rng.normal(size=7).astype(np.float32) for name in ("tags", "hour", "brand", "genre", "item", "event")
    }
    module.tables = {name: tf.Variable(table) for name, table in weights.items()}

    def filled(numbers: Any) -> Any:
        return tf.where(tf.math.is_nan(numbers), 0.25, numbers)

    def score(**given: Any) -> dict[str, Any]:
        table = {name: lambda rows, one=one: tf.gather(one, rows) for name, one in module.tables.items()}
        user = filled(given["user_age"])[0] * 0.01 + tf.reduce_sum(table["tags"](given["user_tags"]))
        user += table["hour"](given["hour"])[0]
        past = tf.reduce_sum(table["event"](given["history"]) * filled(given["history_values"]))
        own = filled(given["price"]) + table["brand"](given["brand"]) + table["item"](given["item"])
        own += tf.reduce_sum(table["genre"](given["genre"]), 1) * user
        return {"scores": own + past + filled(given["retrieval_score"])}

    def spec(feature: dict[str, Any]) -> Any:
        lines = candidates if feature["of"] in ("item", "retrieval") else 1
        shape = [lines, feature["size"]] if "size" in feature else [lines]
        return tf.TensorSpec(shape, tf.float32 if feature["type"] == "number" else tf.int32, name=feature["input"])

    specs = {feature["input"]: spec(feature) for feature in features}
    module.score = tf.function(score).get_concrete_function(**specs)
    contract = Ranking(candidates, {name: one.dtype.name for name, one in specs.items()})
    with tempfile.TemporaryDirectory() as folder:
        model = flatbuffer(module, contract, Path(folder))
    values = {
        "price": [1.5, None, 0.5, 2.0, 3.25, -1.0],
        "brand": [1, 2, 0, 1, 2, 1],
        "genre": [[1], [2, 3], [], [1, 2, 3], [3], [2]],
    }
    ids = [*(f"i{row}" for row in range(1, items)), "é"]
    facts = {"runtimes": RUNTIMES, "dataset": {"name": "toy", "split_fingerprint": "0"}}
    parts: dict[str, Any] = {"facts": facts, "features": features, "item_values": values}
    draft = bundle_bytes(model, "ranking", "float32", contract, ids, **parts)
    vectors = []
    from device_runner.ranker import Ranker

    for user, history in (({"age": 31, "tags": ["a"]}, ["i1", "i2"]), ({}, [])):
        given = {"user": user, "candidates": ["i1", {"item": "i2", "price": 9.5}], "context": {"hour": "18"}}
        given |= {"history": history, "history_values": [1.0] * len(history)}
        scores = [round(score, 6) for score in Ranker.load(draft).score(**given)]
        vectors.append(given | {"scores": scores, "tolerance": 0.02})
    return bundle_bytes(model, "ranking", "float32", contract, ids, golden=vectors, **parts)


def model_of(path: Path) -> bytes:
    return path.read_bytes()[: Bundle.read(path).manifest["flatbuffer_bytes"]]


def golden(path: Path) -> list[dict[str, Any]]:
    """Golden vectors of a toy."""
    recommender, cases = Recommender.load(path), []
    for history in ([1, 2, 3], [40], list(range(1, 20))):
        ids, scores = recommender.recommend_rows(history, history[-8:], 5)
        cases.append({"history": history, "exclude": [], "ids": [], "scores": [], "tolerance": 0.02})
        ids, scores = recommender.recommend_rows(history, history[-6:], 5)
        cases[-1] |= {
            "exclude": history[-6:],
            "ids": ids.tolist(),
            "scores": np.round(scores, 6).astype(float).tolist(),
        }
    return cases


class Answers:
    """What ``device_runner`` answers for one bundle, as expectations of cases."""

    def __init__(self, bundle: str) -> None:
        self.bundle = bundle
        self.recommender = Recommender.load(place_of(bundle))
        self.cases: list[dict[str, Any]] = []

    def recommend(self, name: str, **arguments: Any) -> None:
        found = self.recommender.recommend(**arguments)
        self._refuse_near_ties(name, [entry.score for entry in found])
        expected: dict[str, Any] = listed(found)
        if arguments.get("explain"):
            expected["because"] = [entry.because for entry in found]
        self._add(name, "recommend", arguments, expected)

    def similar(self, name: str, **arguments: Any) -> None:
        found = self.recommender.similar(**arguments)
        self._refuse_near_ties(name, [entry.score for entry in found])
        self._add(name, "similar", arguments, listed(found))

    def candidates(self, name: str, **arguments: Any) -> None:
        scores = [None if math.isnan(score) else score for score in self.recommender.score(**arguments)]
        self._add(name, "candidates", arguments, {"scores": scores})

    def steps(self, name: str, **arguments: Any) -> None:
        """One state, brought forward event by event; after each it is stored as bytes and read again."""
        from device_runner.state import State

        state = self.recommender.new_state(arguments.get("user"))
        for item in arguments["events"]:
            state = State.from_bytes(self.recommender.advance(state, item).to_bytes())
        options = {key: arguments[key] for key in ("k", "exclude", "allow", "at_most") if key in arguments}
        found = self.recommender.recommend_from_state(state, **options)
        self._refuse_near_ties(name, [entry.score for entry in found])
        values = state.to_bytes()[-4 * state.values.size :]
        kept = {
            "state_prefix": state.to_bytes()[: -len(values)].hex(),
            "state_values": state.values[0].astype(float).tolist(),
        }
        self._add(name, "steps", arguments, listed(found) | kept)

    def refused(self, name: str, call: str, error: str, dynamic: bool = False, **arguments: Any) -> None:
        """A call that raises; ``dynamic`` if a typed language cannot express it."""
        kind = {"value": ValueError, "type": TypeError}[error]
        try:
            if call == "recommend":
                self.recommender.recommend(**arguments)
            elif call == "similar":
                self.recommender.similar(**arguments)
            elif call == "candidates":
                self.recommender.score(**arguments)
            elif call == "steps":
                self.recommender.new_state(arguments.get("user"))
        except kind:
            self._add(name, call, arguments, {"error": error}, **({"dynamic": True} if dynamic else {}))
        else:
            raise AssertionError(f"{name}: was not refused")

    def write(self, topic: str) -> None:
        model = self.recommender.bundle.manifest["flatbuffer_sha256"]
        write_cases(topic, {"bundle": self.bundle, "model_sha256": model, "cases": self.cases})

    def _add(self, name: str, call: str, arguments: Mapping[str, Any], expected: dict[str, Any], **more: Any) -> None:
        self.cases.append({"name": name, "call": call, "arguments": dict(arguments), "expected": expected, **more})

    def _refuse_near_ties(self, name: str, scores: Sequence[float]) -> None:
        apart = NO_NEAR_TIE if self.recommender.bundle.scheme == "float32" else NO_NEAR_TIE_OF_INTEGERS
        for better, worse in pairwise(scores):
            if 0 < better - worse < apart * max(1, abs(better)):
                raise AssertionError(f"{name}: {better} and {worse} are nearly equal; choose another history")


def listed(found: Any) -> dict[str, Any]:
    return {
        "items": [entry.item for entry in found],
        "scores": [entry.score for entry in found],
        "titles": [entry.title for entry in found],
        "unknown": found.unknown,
        "source": found.source,
    }


def write_cases(topic: str, content: dict[str, Any]) -> None:
    CASES.mkdir(parents=True, exist_ok=True)
    head = {key: value for key, value in content.items() if key != "cases"} | {"tolerance": TOLERANCE}
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in content["cases"])
    start = json.dumps({"topic": topic, **head}, ensure_ascii=True)[:-1]
    (CASES / f"{topic}.json").write_text(f'{start}, "cases": [\n{lines}\n]}}\n', encoding="ascii")


def cases() -> None:
    """Write the cases."""
    histories()
    filters()
    users()
    states()
    texts()
    ranking()
    grocery()
    grocery_ranking()
    damaged()
    write_cases("replacements", {"cases": replacements()})


def histories() -> None:
    plain = Answers("plain")
    ids = [f"i{row}" for row in range(1, 41)]
    plain.recommend("a history of three items", history=["i3", "i9", "i27"])
    plain.recommend("one item", history=["i5"], k=3)
    plain.recommend("an empty history gives the most popular items", history=[], k=4)
    plain.recommend("ids that are not in the catalogue are skipped and counted", history=["x", "i3", "", "i9"], k=4)
    plain.recommend("only unknown ids count as an empty history", history=["x", "y"], k=3, exclude=["i1"])
    plain.recommend("of a long history the last eight are read", history=ids[10:30], k=5)
    plain.recommend("items that are too old to be read are still not returned", history=ids[:20], k=20)
    plain.recommend("unknown ids take no place among the last eight", history=[*ids[:8], *["x"] * 20], k=5)
    plain.recommend("an item may stand in the history more than once", history=["i4", "i4", "i7", "i4"], k=5)
    plain.recommend("items of the history come back when asked", history=["i3", "i9"], k=5, exclude_history=False)
    plain.recommend("k below the graph's list", history=["i2", "i8"], k=1)
    plain.recommend("k above the graph's list", history=["i2", "i8"], k=12)
    plain.recommend("k above the catalogue", history=["i2", "i8"], k=1000)
    plain.refused("k of zero", "recommend", "value", history=["i1"], k=0)
    plain.refused("k below zero", "recommend", "value", history=["i1"], k=-3)
    plain.refused("a user feature that the model does not have", "recommend", "value", history=[], user={"age": 3})
    plain.refused("one string for a history", "recommend", "type", True, history="i1")
    plain.refused("one string for exclude", "recommend", "type", True, history=[], exclude="i1")
    plain.refused("an id that is a number", "recommend", "type", True, history=["i1", 2])
    plain.refused("an excluded id that is nothing", "recommend", "type", True, history=["i1"], exclude=[None])
    plain.write("histories")
    repeats = Answers("repeats")
    repeats.recommend("a model of repeated events returns items of the history", history=["i3", "i9"], k=40)
    repeats.recommend("unless asked not to", history=["i3", "i9"], k=40, exclude_history=True)
    repeats.recommend("popularity returns the history's items too", history=["x"], k=3, exclude_history=True)
    repeats.write("repeats")
    five = Answers("five")
    five.recommend("a catalogue of fewer items than k", history=["i2"], k=10)
    five.recommend("a catalogue of fewer items than k, empty history", history=[], k=10)
    five.recommend("everything is excluded", history=["i2"], exclude=["i1", "i2", "i3", "i4", "i5"])
    five.write("small_catalogue")


def filters() -> None:
    plain = Answers("plain")
    ids = [f"i{row}" for row in range(1, 41)]
    plain.recommend("excluded ids", history=["i3", "i9"], exclude=["i1", "i2", "i4"], k=5)
    plain.recommend("excluded ids that are unknown or named twice", history=["i3"], exclude=["x", "i9", "i9"], k=5)
    plain.recommend("more exclusions than the graph takes", history=["i3", "i9"], exclude=ids[:20], k=5)
    plain.recommend("everything but k - 1 is excluded", history=["i3", "i9"], exclude=[*ids[:30], *ids[34:]], k=5)
    plain.recommend("everything is excluded", history=["i3", "i9"], exclude=ids)
    plain.recommend("everything is excluded from popularity", history=[], exclude=ids)
    plain.recommend("exclusions from popularity", history=[], exclude=["i1", "i3"], k=3)
    plain.write("exclusions")
    allowed = Answers("plain")
    allowed.recommend("only allowed ids are returned", history=["i3", "i9"], allow=["i1", "i2", "i4", "i20"], k=3)
    allowed.recommend("fewer are allowed than k", history=["i3", "i9"], allow=["i1", "i2"], k=5)
    allowed.recommend("allowed ids that are unknown or named twice", history=["i3"], allow=["x", "i1", "i1"], k=5)
    allowed.recommend("an empty list allows nothing", history=["i3"], allow=[])
    allowed.recommend("excluded ids are not returned even if allowed", history=["i3"], allow=["i3", "i5", "i6"],
                      exclude=["i6"])  # fmt: skip
    allowed.recommend("more than the graph lists are allowed", history=["i3", "i9"], allow=ids[:30], k=12)
    allowed.recommend("an allow-list and popularity", history=[], allow=["i9", "i2", "x"])
    allowed.recommend("everything is allowed", history=["i3", "i9"], allow=ids, k=4)
    allowed.refused("one string for allow", "recommend", "type", True, history=[], allow="i1")
    allowed.write("allow")
    capped = Answers("attributes")
    capped.recommend("at most one item of each colour", history=["i3", "i9"], at_most={"colour": 1}, k=12)
    capped.recommend("at most two items of each colour", history=["i3", "i9"], at_most={"colour": 2}, k=40)
    capped.recommend("two attributes", history=["i3", "i9"], at_most={"colour": 3, "brand": 2}, k=10)
    capped.recommend("a cap that is never reached", history=["i3", "i9"], at_most={"brand": 40}, k=4)
    capped.recommend("a cap and popularity", history=[], at_most={"brand": 2, "colour": 1}, k=10)
    capped.recommend("a cap, an allow-list and exclusions", history=["i3"], at_most={"colour": 1}, allow=ids[:25],
                     exclude=ids[5:10], k=8)  # fmt: skip
    capped.recommend("no cap at all", history=["i3", "i9"], at_most={}, k=4)
    capped.refused("an unknown attribute", "recommend", "value", history=["i3"], at_most={"size": 1})
    capped.refused("a cap of zero", "recommend", "value", history=["i3"], at_most={"colour": 0})
    capped.refused("a cap that is no whole number", "recommend", "type", True, history=["i3"], at_most={"colour": 1.5})
    capped.refused("a cap that is a boolean", "recommend", "type", True, history=["i3"], at_most={"colour": True})
    capped.similar("similar items with a cap", item="i3", at_most={"brand": 1}, k=5)
    capped.write("at_most")
    near = Answers("repeats")
    near.similar("the nearest items, without the item itself", item="i3", k=4)
    near.similar("more than the graph lists", item="i3", k=50)
    near.similar("with exclusions", item="i7", k=3, exclude=["i1", "i2", "i3"])
    near.similar("of an allow-list", item="i7", allow=["i7", "i8", "i9"])
    near.refused("similar to an unknown item", "similar", "value", item="x")
    near.candidates("scores in the order of the candidates", history=["i3", "i9"], candidates=["i9", "i1", "i40", "i1"])
    near.candidates("an unknown candidate has no score", history=["i3"], candidates=["x", "i1", ""])
    near.candidates("no candidates", history=["i3"], candidates=[])
    near.candidates("without a history", history=["x"], candidates=["i1", "x"])
    near.refused("one string for candidates", "candidates", "type", True, history=["i3"], candidates="i1")
    near.write("similar_and_candidates")


def users() -> None:
    told = Answers("told")
    told.recommend("without user features", history=["i1", "i2"], k=5)
    told.recommend("a category", history=["i1", "i2"], user={"gender": "F"}, k=5)
    told.recommend("a category with blanks around it", history=["i1", "i2"], user={"gender": " F "}, k=5)
    told.recommend("an unknown category counts as absent", history=["i1", "i2"], user={"gender": "f"}, k=5)
    told.recommend("a number", history=["i1", "i2"], user={"age": 20}, k=5)
    told.recommend("a number on a bound belongs to the range above", history=["i1"], user={"age": 18}, k=5)
    told.recommend("a number below all bounds", history=["i1"], user={"age": 17.999}, k=5)
    told.recommend("a number above all bounds", history=["i1"], user={"age": 1e300}, k=5)
    told.recommend("a number as text", history=["i1"], user={"age": "35"}, k=5)
    told.recommend("a text that is no number counts as absent", history=["i1"], user={"age": "old"}, k=5)
    told.recommend("nothing counts as absent", history=["i1"], user={"age": None, "gender": None}, k=5)
    told.recommend("both, in the order of the manifest", history=["i1"], user={"age": 50, "gender": "M"}, k=5)
    told.recommend("a user without a history", history=[], user={"gender": "M"}, k=5)
    told.recommend("an unknown value without a history gives popularity", history=[], user={"gender": "?"}, k=3)
    ids = [f"i{row}" for row in range(1, 41)]
    told.recommend("user features keep their place before a long history", history=ids, user={"age": 9}, k=5,
                   exclude_history=False)  # fmt: skip
    told.candidates("candidates for a user", history=["i1"], user={"gender": "F"}, candidates=["i2", "i3"])
    told.refused("an unknown feature", "recommend", "value", history=["i1"], user={"height": 1})
    told.write("user_features")


def states() -> None:
    told = Answers("told")
    told.steps("no event", events=[], k=3)
    told.steps("no event, but a user", events=[], user={"gender": "F"}, k=3)
    told.steps("three events", events=["i1", "i2", "i3"], k=5)
    told.steps("three events are not returned when excluded", events=["i1", "i2"], k=5, exclude=["i1", "i2"])
    told.steps("an unknown event changes nothing", events=["i1", "x", "i2"], k=5)
    told.steps("more events than the history has places", events=[f"i{row}" for row in range(1, 21)], k=5)
    told.steps("of an allow-list", events=["i4", "i9"], allow=["i1", "i2", "i9"], k=5)
    told.steps("a user and events", events=["i4", "i9"], user={"gender": "M", "age": 40}, k=5)
    told.refused("an unknown feature", "steps", "value", events=[], user={"height": 1})
    told.write("states")
    linked = Answers("linked")
    linked.steps("recent rows are kept beside the state", events=["i1", "i2", "i3"], k=6)
    linked.steps("a user feature is no recent row", events=["i2"], user={"gender": "F"}, k=6)
    linked.recommend("reasons by transitions and by leaving out", history=["i1", "i3", "i2"], k=6,
                     exclude_history=False, explain=True)  # fmt: skip
    linked.recommend("of equal events the newest is the reason", history=["i1", "i2", "i1"], k=4, explain=True)
    linked.recommend("a user feature is no reason", history=["i4"], user={"gender": "F"}, k=6, explain=True)
    linked.recommend("popularity has no reasons", history=[], k=3, explain=True)
    linked.recommend("equal scores: the more popular item first", history=["i2"], k=6, exclude_history=False)
    linked.write("links")
    plain = Answers("plain")
    plain.recommend("a model without transitions leaves out events", history=["i3", "i9", "i27"], k=5, explain=True)
    plain.write("reasons")


def texts() -> None:
    odd = Answers("texts")
    for one in ODD_IDS:
        odd.recommend(f"the id {one[:20]!r} is found", history=[one], k=2)
    odd.recommend(
        "ids that only look alike are unknown", history=["Café", "CAFÉ", "cafe", "007", "ﬂ", "LINE\nFEED"], k=2
    )
    odd.recommend("every id and title comes back as it is", history=["7"], k=40, exclude_history=False)
    odd.write("texts")
    numbers = Answers("numbers")
    for number in NUMBERS[:10]:
        numbers.recommend(f"the number {number} is found", history=[str(number)], k=2)
    unknown = ["01", "+1", "1.0", " 1", "1e0", "", str(2**63), str(2**64), "9" * 30, "\u0661", "-1"]
    numbers.recommend("texts that only read as numbers are unknown", history=unknown, k=3)
    numbers.recommend("numbers come back without loss", history=["7"], k=40, exclude_history=False)
    numbers.write("numbers")


class RankingAnswers:
    """What ``device_runner`` answers for a ranking bundle."""

    def __init__(self, bundle: str = "ranking") -> None:
        from device_runner.ranker import Ranker

        self.bundle, self.ranker = bundle, Ranker.load(place_of(bundle))
        self.cases: list[dict[str, Any]] = []

    def rank(self, name: str, error: str = "", dynamic: bool = False, **arguments: Any) -> None:
        given = {"user": {}, **arguments}
        try:
            scores = [None if math.isnan(score) else score for score in self.ranker.score(**given)]
        except (ValueError, TypeError) as raised:
            kind = "type" if isinstance(raised, TypeError) else "value"
            assert kind == error, name
            expected: dict[str, Any] = {"error": kind}
        else:
            assert not error, name
            expected = {"scores": scores}
        case = {"name": name, "call": "rank", "arguments": given, "expected": expected}
        self.cases.append({**case, **({"dynamic": True} if dynamic else {})})

    def write(self, topic: str = "ranking") -> None:
        vectors = len(self.ranker.bundle.golden())
        self.cases.append(
            {"name": "golden vectors", "call": "golden", "arguments": {}, "expected": {"passed": vectors}}
        )
        model = self.ranker.bundle.fingerprint
        write_cases(topic, {"bundle": self.bundle, "model_sha256": model, "cases": self.cases})


def ranking() -> None:
    answers = RankingAnswers()
    rank = answers.rank
    three = ["i1", "i2", "i4"]
    rank("ids only", candidates=three)
    rank("no candidates", candidates=[])
    rank(
        "more candidates than one call of the model takes",
        candidates=["i1", "i2", "i3", "i4", "i5", "é", "i1", "x", "i2"],
    )
    rank("an unknown id is an item of which nothing is known", candidates=["x", "i1"])
    rank(
        "an unknown id with values of its own",
        candidates=[{"item": "x", "price": 2, "brand": "B", "genre": ["z", "x"]}],
    )
    rank("no id at all", candidates=[{"price": 2.5}])
    rank("values replace those of the bundle", candidates=[{"item": "i1", "price": 9.99}, {"item": "i2", "brand": "A"}])
    rank(
        "a value that is nothing is missing, whatever the bundle has", candidates=[{"item": "i1", "price": None}, "i1"]
    )
    rank("a user", user={"age": 31, "tags": ["a", "b"]}, candidates=three)
    rank("a user of whom nothing is told", user={"age": None, "tags": None}, candidates=three)
    rank(
        "unseen categories are missing",
        user={"tags": ["q"]},
        candidates=[{"item": "i1", "brand": "Q"}],
        context={"hour": "9"},
    )
    rank("a context", context={"hour": "18"}, candidates=three)
    rank("a category as a whole number", context={"hour": 18}, candidates=three)
    rank("a category with blanks around it, non-ASCII", context={"hour": " früh "}, candidates=["é"])
    rank("the first known, different categories count", candidates=[{"item": "i3", "genre": ["q", "x", "x", "z", "y"]}])
    rank("no categories", candidates=[{"item": "i2", "genre": []}])
    rank("a history with values", history=["i1", "i2"], history_values=[2.0, None], candidates=three)
    rank("a history without values", history=["i1", "i2"], candidates=three)
    rank("a history that is too long, with unknown ids", history=["i1", "x", "i2", "i3", "i4", "x"],
         history_values=[1.0, 9.0, 2.0, 3.0, 4.0, 9.0], candidates=three)  # fmt: skip
    rank("scores of a retrieval model", candidates=[{"item": "i1", "retrieval_score": 2.5}, "i2"])
    rank("an unknown feature of the user", "value", user={"height": 3}, candidates=three)
    rank("an unknown feature of the context", "value", context={"day": 3}, candidates=three)
    rank("an unknown feature of a candidate", "value", candidates=[{"item": "i1", "size": 3}])
    rank("a number too large to be finite", "value", user={"age": 1e39}, candidates=three)
    rank("fewer values than events", "value", history=["i1", "i2"], history_values=[1.0], candidates=three)
    rank("a text for a number", "type", True, user={"age": "31"}, candidates=three)
    rank("a boolean for a number", "type", True, user={"age": True}, candidates=three)
    rank("a fraction for a category", "type", True, context={"hour": 1.5}, candidates=three)
    rank("a boolean for a category", "type", True, context={"hour": True}, candidates=three)
    rank("a text for several categories", "type", True, user={"tags": "a"}, candidates=three)
    rank("a candidate that is a number", "type", True, candidates=[7])
    answers.write()


def grocery() -> None:
    """Made-up histories over the real model, without near-ties."""
    answers = Answers(GROCERY)
    items = answers.recommender.bundle.items
    rng = np.random.default_rng(7)

    def until_clear(name: str, length: int, **options: Any) -> None:
        for _ in range(500):
            history = [items[int(row)] for row in rng.integers(1, len(items), length)]
            try:
                answers.recommend(name, history=history, **options)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{name}: no history without near-ties")

    until_clear("ten items", 10)
    until_clear("one item", 1, k=5)
    until_clear("longer than is read", 250, k=8)
    until_clear("reasons", 12, k=6, explain=True)
    until_clear("k above the graph's list", 4, k=60)
    until_clear("more exclusions than the graph takes", 5, k=5, exclude=list(items[1:600]))
    answers.recommend("an empty history", history=[], k=5)
    for _ in range(500):
        events = [items[int(row)] for row in rng.integers(1, 400, 6)]
        try:
            answers.steps("six events, one at a time", events=events, k=5, exclude=events)
        except AssertionError:
            continue
        break
    answers.cases.append({"name": "golden vectors", "call": "golden", "arguments": {}, "expected": {"passed": 5}})
    answers.write("grocery")


def grocery_ranking() -> None:
    """The real ranker behind the grocery model, as a two-stage app calls it."""
    answers = RankingAnswers(GROCERY_RANKING)
    items, rng = answers.ranker.bundle.items, np.random.default_rng(11)

    def drawn(count: int) -> list[str]:
        return [items[int(row)] for row in rng.integers(1, len(items), count)]

    moment = {"hour": 17, "weekday": 4, "month": 11, "recency": 2.5}
    household = {"age": "45-54", "income": "50-74K", "household_size": "3", "kids_count": "1"}
    answers.rank("nothing but ids", candidates=drawn(3))
    answers.rank("a history and a moment", history=drawn(12), context=moment, candidates=drawn(8))
    answers.rank("a household", user=household, history=drawn(5), context=moment, candidates=drawn(8))
    answers.rank("a history that is too long", user=household, history=drawn(80), candidates=drawn(8))
    scored = [{"item": item, "retrieval_score": round(float(rng.normal(0, 3)), 3)} for item in drawn(20)]
    answers.rank("with scores of retrieval", user=household, history=drawn(20), context=moment, candidates=scored)
    answers.rank("more than fit in one call", history=drawn(20), context=moment, candidates=drawn(130))
    answers.rank("unknown ids", history=["no such id", *drawn(2)], candidates=["no such id", *drawn(2)])
    answers.write("grocery_ranking")


class Damaged(Changed):
    """Cases of files made from a sound bundle, which must be refused, or read if the change is harmless."""

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.cases: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        keep: int | None = None,
        patches: Sequence[tuple[int, bytes]] = (),
        tail: bytes = b"",
        **options: Any,
    ) -> None:
        self.add_file(name, self.recipe(keep, patches, tail), **options)

    def add_file(
        self, name: str, file: dict[str, Any], call: str = "load", expected: dict[str, Any] | None = None
    ) -> None:
        case = {"name": name, "call": call, "file": file, "arguments": {}, "expected": expected or {"error": "bundle"}}
        self.cases.append(case)

    def with_manifest(self, name: str, change: Callable[[dict[str, Any]], object], **options: Any) -> None:
        """The bundle with another manifest, all else alike."""
        manifest = json.loads(self.members["edgerec.json"])
        change(manifest)
        self.with_members(name, {"edgerec.json": json.dumps(manifest).encode()}, **options)

    def with_members(
        self, name: str, changed: Mapping[str, bytes | None], hashed: bool = False, **options: Any
    ) -> None:
        self.add_file(name, self.remade(changed, hashed), **options)

    def write(self, topic: str) -> None:
        write_cases(topic, {"cases": self.cases})


def damaged() -> None:
    plain = Damaged("plain")
    size, start = len(plain.content), plain.start
    sound = {"name": "plain", "items": 40, "titles": True}
    plain.add("a sound bundle", expected=sound)
    for keep in (0, 7, 8, 1000, start - 1, start, start + 40, size - 100, size - 22, size - 1):
        plain.add(f"cut off after {keep} bytes", keep)
    plain.add("a byte behind the end", tail=b"\0")
    plain.add("bytes behind the end", tail=b"\0" * 70_000)
    for at in (start // 3, start // 2, start - 1):
        plain.add(f"a flipped byte of the model, at {at}", patches=[(at, bytes([plain.content[at] ^ 0xFF]))])
    with zipfile.ZipFile(io.BytesIO(plain.content)) as archive:
        entries = archive.infolist()
    for entry in entries:
        at = entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2
        plain.add(f"a flipped byte of {entry.filename}", patches=[(at, bytes([plain.content[at] ^ 0x55]))])
    directory = plain.content.index(b"PK\1\2", start)
    end = plain.content.rindex(b"PK\5\6")
    first = entries[0]
    plain.add("no identifier of TFLite", patches=[(4, b"TFL9")])
    plain.add("a directory that begins beyond the file", patches=[(end + 16, struct.pack("<I", size + 5))])
    plain.add("a member that begins beyond the file", patches=[(directory + 42, struct.pack("<I", size))])
    plain.add("a member that claims 300 MB", patches=[(directory + 24, struct.pack("<I", 300 << 20))])
    plain.add(
        "a member that claims more than it has", patches=[(directory + 24, struct.pack("<I", first.file_size + 1))]
    )
    plain.add(
        "a member that claims less than it has", patches=[(directory + 24, struct.pack("<I", first.file_size - 1))]
    )
    plain.add("a member whose checksum is another", patches=[(directory + 16, struct.pack("<I", first.CRC ^ 1))])
    checksum = struct.pack("<I", first.CRC ^ 1)
    plain.add(
        "a member whose checksum is another in both places",
        patches=[(directory + 16, checksum), (first.header_offset + 14, checksum)],
    )
    plain.add(
        "a member with an unknown method", patches=[(directory + 10, b"\x63\0"), (first.header_offset + 8, b"\x63\0")]
    )
    plain.add("an encrypted member", patches=[(directory + 8, b"\1\0"), (first.header_offset + 6, b"\1\0")])
    manifest = plain.members["edgerec.json"]
    bzip2 = plain.zipped(plain.members.items(), zipfile.ZIP_BZIP2)
    plain.add("members by bzip2, which only old bundles have", start, tail=bzip2)
    stored = plain.zipped(plain.members.items(), zipfile.ZIP_STORED)
    plain.add("members that are stored, not deflated", start, tail=stored, expected=sound)
    bomb = plain.zipped([*plain.members.items(), ("MODEL_CARD.md", b"\0" * (4 << 20))])
    plain.add("a member of zeros that is not listed", start, tail=bomb)
    twice = plain.zipped([*plain.members.items(), ("titles.txt", plain.members["titles.txt"])])
    plain.add("a member that is there twice", start, tail=twice)
    zeros = {"MODEL_CARD.md": b"\0" * (9 << 20)}
    plain.with_members("a listed member that inflates to far more than the file", zeros, hashed=True)
    plain.with_members("a listed member of 4 MB", {"MODEL_CARD.md": b"\0" * (4 << 20)}, hashed=True, expected=sound)
    for name in ("../evil", "/etc/passwd", "C:\\evil", "evil.txt", "ITEMS.TXT", "items.txt/", "", "edgerec.json\0.txt"):
        plain.with_members(f"an unexpected member {name!r}", {name: b"x"}, hashed=True)
    plain.with_members("no manifest", {"edgerec.json": None})
    plain.with_members("a manifest that is no JSON", {"edgerec.json": manifest[:-2]})
    plain.with_members("a manifest that is no UTF-8", {"edgerec.json": b"\xff" + manifest})
    plain.with_members("a manifest that is a list", {"edgerec.json": b"[]"})
    plain.with_members("a manifest of nothing", {"edgerec.json": b""})
    plain.with_members("a manifest that is nested too deep", {"edgerec.json": b"[" * 200_000})
    plain.with_members("a member that is listed, but absent", {"titles.txt": None})
    plain.with_members("a member that was altered", {"items.txt": plain.members["items.txt"].replace(b"i1\n", b"j1\n")})
    plain.with_members("a member that is not listed", {"MODEL_CARD.md": b"x"})

    def entry(path: str, value: object) -> Callable[[dict[str, Any]], None]:
        *parents, last = path.split(".")

        def change(manifest: dict[str, Any]) -> None:
            for parent in parents:
                manifest = manifest[parent]
            if value is ABSENT:
                del manifest[last]
            else:
                manifest[last] = value

        return change

    for path, value in (
        ("format", ABSENT), ("format", "1"), ("format", None), ("format", 99), ("format", 1.5), ("name", 7),
        ("name", ABSENT), ("scheme", ABSENT), ("runtimes", []), ("runtimes", {"litert": "2"}), ("dataset", "toy"),
        ("quality", [1]), ("flatbuffer_bytes", start + 1), ("flatbuffer_bytes", ABSENT), ("flatbuffer_bytes", -1),
        ("flatbuffer_sha256", "0" * 64), ("flatbuffer_sha256", ABSENT), ("members", ABSENT), ("members", []),
        ("members", {}), ("contract", ABSENT), ("contract", []), ("contract.kind", "other"), ("contract.kind", 3),
        ("contract.max_history", 0), ("contract.max_history", -8), ("contract.max_history", "8"),
        ("contract.max_history", True), ("contract.max_history", 9), ("contract.max_history", ABSENT),
        ("contract.max_exclude", 7), ("contract.top_k", 6), ("contract.top_k", ABSENT), ("contract.items", 39),
        ("contract.items", 41), ("contract.items", 10**12), ("contract.state", -1), ("contract.state", 4),
        ("contract.recent", None), ("contract.neighbours", 2),
    ):  # fmt: skip
        said = "absent" if value is ABSENT else json.dumps(value)
        plain.with_manifest(f"a manifest whose {path} is {said}", entry(path, value))
    plain.with_manifest("unknown entries of the manifest are ignored", entry("later", {"a": 1}), expected=sound)
    feature = {"name": "age", "first": 41, "values": ["a", "b"], "edges": []}
    for what, changes in (
        ("begins elsewhere", {"first": 42}), ("begins nowhere", {"first": "41"}), ("has no name", {"name": 1}),
        ("has values that are no texts", {"values": [1, 2]}), ("has values and bounds", {"edges": [1.0]}),
        ("has bounds that fall", {"values": [], "edges": [2.0, 1.0]}),
        ("has bounds that are no numbers", {"values": [], "edges": ["1"]}),
        ("has rows that the model does not have", {}),
    ):  # fmt: skip
        plain.with_manifest(f"a user feature that {what}", entry("user_features", [{**feature, **changes}]))
    plain.with_manifest("user features that leave no place for a history", entry("user_features", [
        {"name": f"f{place}", "first": 41 + place, "values": ["a"], "edges": []} for place in range(8)]))  # fmt: skip
    items, titles = plain.members["items.txt"], plain.members["titles.txt"]
    for what, content in (
        ("has an id too few", items.replace(b"i1\n", b"", 1)), ("has an id too many", items + b"i41\n"),
        ("has an id twice", items.replace(b"i2\n", b"i1\n", 1)), ("has an empty id", items.replace(b"i2\n", b"\n", 1)),
        ("is no UTF-8", items.replace(b"i2\n", b"\xff\xfe\n", 1)), ("has no last line feed", items[:-1]),
        ("has an illegal escape", items.replace(b"i2\n", b"\\q\n", 1)), ("is empty", b""),
    ):  # fmt: skip
        plain.with_members(f"items.txt {what}", {"items.txt": content}, hashed=True)
    plain.with_members(
        "titles.txt has a line too few", {"titles.txt": titles[:-5].rsplit(b"\n", 1)[0] + b"\n"}, hashed=True
    )
    plain.with_members("no items at all", {"items.txt": None}, hashed=True)
    plain.with_members("items.txt and items.bin", {"items.bin": b"\6" + bytes(30)}, hashed=True)
    for what, content in (
        ("is empty", b""), ("has numbers of 0 bits", b"\0" + bytes(30)),
        ("has numbers of 64 bits", b"\x40" + bytes(320)),
        ("has a byte too few", b"\6" + bytes(29)), ("has a byte too many", b"\6" + bytes(31)),
        ("has the same number twice", b"\6" + bytes(30)), ("has fewer bits than the items need", b"\5" + bytes(25)),
    ):  # fmt: skip
        plain.with_members(f"items.bin {what}", {"items.txt": None, "items.bin": content}, hashed=True)
    attributes = {"colour": {"values": ["red", "blue"], "rows": [[0], [1], []] + [[0, 1]] * 37}}
    of_three = {"edgerec.json": json.dumps(plain.manifest | {"format": 3}).encode()}
    for what, document in (
        ("are a list", []), ("have a colour that is a list", {"colour": []}),
        ("have no values", {"colour": {"rows": attributes["colour"]["rows"]}}),
        ("have values that are no texts", {"colour": {**attributes["colour"], "values": [1, 2]}}),
        ("have a value twice", {"colour": {**attributes["colour"], "values": ["red", "red"]}}),
        ("have a row too few", {"colour": {**attributes["colour"], "rows": [[0]] * 39}}),
        ("have a place that does not exist", {"colour": {**attributes["colour"], "rows": [[2]] * 40}}),
        ("have a place below zero", {"colour": {**attributes["colour"], "rows": [[-1]] * 40}}),
        ("have a place that is a boolean", {"colour": {**attributes["colour"], "rows": [[True]] * 40}}),
        ("give an item a value twice", {"colour": {**attributes["colour"], "rows": [[1, 1]] * 40}}),
    ):  # fmt: skip
        changed = {**of_three, "attributes.json": json.dumps(document).encode()}
        plain.with_members(f"attributes that {what}", changed, hashed=True)
    sound_attributes = {**of_three, "attributes.json": json.dumps(attributes).encode()}
    plain.with_members("attributes that are sound", sound_attributes, hashed=True, expected=sound)
    plain.add("golden vectors pass", call="golden", expected={"passed": 3})
    case = json.loads(plain.members["golden.json"])["cases"][0]
    for what, text in (
        ("are no JSON", "{"), ("have no cases", "{}"), ("are a list", "[]"),
        ("have a case that is a number", '{"cases": [1]}'),
        ("name a row that does not exist", json.dumps({"cases": [{**case, "ids": [41]}]})),
        ("have rows that are no numbers", json.dumps({"cases": [{**case, "history": ["i1"]}]})),
        ("have scores that are no numbers", json.dumps({"cases": [{**case, "scores": ["1"]}]})),
    ):  # fmt: skip
        plain.with_members(f"golden vectors that {what}", {"golden.json": text.encode()}, hashed=True, call="golden")
    for what, change in (
        ("other items", {"ids": [1, *case["ids"][1:]]}), ("other scores", {"scores": [9.0, *case["scores"][1:]]}),
    ):  # fmt: skip
        text = json.dumps({"cases": [{**case, **change}]})
        changed = {"golden.json": text.encode()}
        plain.with_members(f"golden vectors with {what} fail", changed, hashed=True, call="golden",
                           expected={"failed": 1})  # fmt: skip
    garbage = b"\x1c\0\0\0TFL3" + bytes(range(256))
    plain.add_file("a model that no runtime can read, with the right hash", plain.with_model(garbage))
    plain.write("damaged")


ABSENT = object()


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["bundles", "cases"]
    if "bundles" in wanted:
        bundles()
    if "cases" in wanted:
        cases()
