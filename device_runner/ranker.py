"""Scores of given candidates from a ranking bundle and raw features of the user, the moment and the items."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from device_runner.bundle import Bundle
from device_runner.contract import Ranking
from device_runner.errors import BundleError, shown
from device_runner.features import (
    HISTORY,
    HISTORY_VALUES,
    ITEM,
    RETRIEVAL_SCORE,
    Feature,
    features_from_json,
    item_columns,
)
from device_runner.loaded import LoadedBundle, ServedModel
from device_runner.vocabulary import Vocabulary, listed

# A raw item id, or an object with the id as ``item`` and values that replace those in the bundle.
Candidate = str | Mapping[str, object]
NOTHING: Mapping[str, object] = MappingProxyType({})


class Ranker(ServedModel[Ranking]):
    """A loaded ranking bundle. Several threads may share it, and a process that was forked from this one.

    >>> ranker = Ranker.load("ranker.tflite")                                              # doctest: +SKIP
    >>> ranker.score({"age": 31}, ["1029743", {"item": "995242", "price": 0.99}], {"hour": "18"})    # doctest: +SKIP
    [3.91, 4.27]

    Values are passed raw, as they stand in the tables that the model was trained on: numbers as numbers, categories as
    texts (or whole numbers). All are optional. ``None``, NaN and a category that training did not see count as missing,
    for which the model has learned what to do.

    Attributes:
        contract: the number of candidates that the model takes at once, and its inputs.
        features: the model's inputs.
    """

    def __init__(self, loaded: LoadedBundle[Ranking], features: Sequence[Feature], columns: Mapping[str, np.ndarray]):
        super().__init__(loaded)
        self.features = tuple(features)
        self._columns = columns
        self._vocabulary = Vocabulary(loaded.bundle.items)
        self._by_input = {feature.input: feature for feature in features}
        self._of = {of: {f.name: f for f in features if f.of == of} for of in ("user", "context", "item", "retrieval")}

    @classmethod
    def load(cls, source: str | Path | bytes | Bundle, backend: str = "auto", threads: int = 1) -> "Ranker":
        """Check the bundle, load its model, and run it once to see that it fits its features.

        Args:
            source: the ``.tflite`` bundle, its content, or a ``Bundle`` that was read from it.
            backend: ``"litert"``, ``"tflite-runtime"``, or ``"auto"`` for the first installed one that the
                bundle was verified on.
            threads: threads of the interpreter.

        Raises:
            BundleError: the file is not a ranking bundle, is damaged, or does not fit its own features.
            BackendError: no runtime is installed, or the runtime refuses the file.
        """
        loaded = LoadedBundle.load(source, Ranking, backend, threads)
        bundle = loaded.bundle
        if not bundle.features:
            raise BundleError(f"{bundle.path}: has no features.json, so raw values cannot be passed; convert it again")
        try:
            features = features_from_json(bundle.features, loaded.contract)
        except ValueError as error:
            raise BundleError(f"{bundle.path}: features.json {error}; convert the model again") from None
        try:
            columns = item_columns(bundle.item_values, features, len(bundle.items) - 1)
        except ValueError as error:
            raise BundleError(f"{bundle.path}: item_values.json {error}; convert the model again") from None
        ranker = cls(loaded, features, columns)
        ranker._check()
        return ranker

    @property
    def reads_items(self) -> bool:
        """Whether the model has a catalogue."""
        return len(self.bundle.items) > 1

    def known(self, items: Iterable[str]) -> int:
        """How many of these item ids are in the catalogue."""
        return len(self._vocabulary.rows(items, "items"))

    def score(
        self,
        user: Mapping[str, object],
        candidates: Iterable[Candidate],
        context: Mapping[str, object] = NOTHING,
        history: Iterable[str] = (),
        history_values: Iterable[float | None] | None = None,
        retrieval_scores: Iterable[float | None] | None = None,
    ) -> list[float]:
        """The score of each candidate, in their order; higher is better.

        Args:
            user: features of the user by name.
            candidates: any number of raw item ids, or objects with the id as ``item`` and values of item features that
                replace those in the bundle, such as ``{"item": "995242", "price": 0.99}``. An id that is not in the
                catalogue, or none at all, is an item of which nothing is known but what is passed.
            context: features of the moment by name.
            history: raw item ids of the user's events, oldest first; ids that are not in the catalogue are skipped.
                Models that do not read a history ignore it.
            history_values: a value for each event, such as its rating; ``None`` for one that has none.
            retrieval_scores: the score that a retrieval model gave each candidate, for models that read it. An object
                may also hold its own as ``retrieval_score``.

        Raises:
            TypeError: a value has the wrong type, such as a text for a number.
            ValueError: a number is infinite, a name is of no feature, or lists that belong together differ in length.
            RuntimeError: the ranker was closed.
        """
        candidates = _candidates(candidates)
        scores: list[float] = []
        for inputs in self.arrays(user, candidates, context, history, history_values, retrieval_scores):
            scores += self.invoke(inputs).tolist()
        return scores[: len(candidates)]

    def arrays(
        self,
        user: Mapping[str, object],
        candidates: Iterable[Candidate],
        context: Mapping[str, object] = NOTHING,
        history: Iterable[str] = (),
        history_values: Iterable[float | None] | None = None,
        retrieval_scores: Iterable[float | None] | None = None,
    ) -> list[dict[str, np.ndarray]]:
        """The inputs of the signature ``score`` by name, for as many calls as the candidates need; the last one is
        padded with missing items. Arguments and errors are those of :meth:`score`.
        """
        candidates = _candidates(candidates)
        shared = {
            **self._values("user", user),
            **self._values("context", context),
            **self._history(history, history_values),
        }
        lines = self._lines(candidates, retrieval_scores)
        size = self.contract.candidates
        calls = []
        for start in range(0, len(candidates), size):
            inputs = dict(shared)
            for name, column in lines.items():
                part = column[start : start + size]
                if len(part) < size:
                    padded = self._by_input[name].empty(size)
                    padded[: len(part)] = part
                    part = padded
                inputs[name] = part
            calls.append(inputs)
        return calls

    def invoke(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output ``scores`` of the signature ``score``, float32 [candidates], for ready ``inputs``."""
        return self._loaded.run("score", **inputs)["scores"]

    def _values(self, of: str, given: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Inputs for the features of the user or the context."""
        known = self._of[of]
        check_mapping(of, given)
        _check_names(given, known, of)
        inputs = {}
        for name, feature in known.items():
            value = np.array(feature.code(given.get(name)), feature.dtype)
            inputs[feature.input] = value.reshape(feature.shape(1))
        return inputs

    def _history(self, history: Iterable[str], given: Iterable[float | None] | None) -> dict[str, np.ndarray]:
        rows = np.array(self._vocabulary.rows_or_none(history, "history"), np.int32)
        values = _numbers("history_values", given)
        if values is not None and len(values) != len(rows):
            raise ValueError(f"history_values has {len(values)} values for {len(rows)} events")
        if HISTORY not in self._by_input:
            return {}
        length, known = self._by_input[HISTORY].size, rows > 0
        places = min(length, int(known.sum()))
        inputs = {HISTORY: np.zeros((1, length), np.int32)}
        if places:
            inputs[HISTORY][0, -places:] = rows[known][-places:]
        if feature := self._by_input.get(HISTORY_VALUES):
            inputs[HISTORY_VALUES] = np.full((1, length), math.nan, np.float32)
            if places and values is not None:
                inputs[HISTORY_VALUES][0, -places:] = feature.numbers(values, "event")[known][-places:]
        return inputs

    def _lines(self, candidates: list[Candidate], given: Iterable[float | None] | None) -> dict[str, np.ndarray]:
        """Inputs with a line for each candidate."""
        retrieval_scores = _numbers("retrieval_scores", given)
        # Most are texts, and asking for a Mapping takes several times as long.
        objects = [
            (line, one) for line, one in enumerate(candidates) if not isinstance(one, str) and isinstance(one, Mapping)
        ]
        ids: list[Any] = list(candidates)
        for line, values in objects:
            ids[line] = "" if values.get(ITEM) is None else values[ITEM]
        rows = np.array(self._vocabulary.rows_or_none(ids, "candidates"), np.int32)
        lines = {name: column[rows] for name, column in self._columns.items()}
        if ITEM in self._by_input:
            lines[ITEM] = rows
        own = self._of["item"] | self._of["retrieval"]
        if feature := self._by_input.get(RETRIEVAL_SCORE):
            if retrieval_scores is None:
                lines[RETRIEVAL_SCORE] = feature.empty(len(rows))
            elif len(retrieval_scores) != len(rows):
                raise ValueError(f"retrieval_scores has {len(retrieval_scores)} scores for {len(rows)} candidates")
            else:
                lines[RETRIEVAL_SCORE] = feature.numbers(retrieval_scores, "candidate")
        for line, values in objects:
            for name, value in values.items():
                if name == ITEM:
                    continue
                if name not in own:
                    _check_names(values, {ITEM: None, **own}, "item")
                lines[own[name].input][line] = own[name].code(value, f" of candidate {line + 1}")
        return lines

    def _check(self) -> None:
        """Run the model on its last item and its last categories: a table that is shorter fails here, not later."""
        size, path = self.contract.candidates, self.bundle.path
        lines = {f.input: size if f.of in ("item", "retrieval") else 1 for f in self.features}
        self._loaded.check_inputs("score", **{f.input: f.shape(lines[f.input]) for f in self.features})
        self._loaded.check_dtypes("score", dict(self.contract.inputs))
        self._loaded.check_output("score", "scores", (size,))
        items = len(self.bundle.items) - 1
        last = {}
        for feature in self.features:
            last[feature.input] = feature.empty(lines[feature.input])
            if feature.type != "number":
                last[feature.input][:] = items if feature.input in (ITEM, HISTORY) else len(feature.values)
        try:
            self.invoke(last)
        except (RuntimeError, ValueError, BundleError) as error:
            raise BundleError(f"{path}: the model fails on its last item and categories ({error})") from None


def check_mapping(of: str, given: object) -> None:
    """Raises TypeError if values of features are not given by name."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{of} is {shown(given)}; give values by name, as in {{'age': 31}}")


def _list(name: str, given: Any, of: str) -> list[Any]:
    """The entries of any iterable. Raises TypeError if it is none, or one text."""
    found = given if isinstance(given, list) else listed(given)
    if not isinstance(found, list):
        raise TypeError(f"{name} is {shown(given)}; pass a list of {of}")
    return found


def _candidates(given: Iterable[Candidate]) -> list[Candidate]:
    return _list("candidates", given, "item ids, or of objects with an item id")


def _numbers(name: str, given: Iterable[float | None] | None) -> list[float | None] | None:
    return None if given is None else _list(name, given, "numbers, with None where there is none")


def _check_names(given: Iterable[str], known: Iterable[str], of: str) -> None:
    names = list(known)
    if strange := [name for name in given if name not in names]:
        raise ValueError(f"the model has no {of} feature {shown(strange[0])}; it has: {', '.join(names) or 'none'}")
