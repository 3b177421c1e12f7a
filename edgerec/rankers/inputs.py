"""What a ranking model reads: one input for each feature, with all that turns raw values into vectors in the graph."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from device_runner.features import RETRIEVAL_SCORE
from edgerec.data.dataset import Dataset
from edgerec.data.feature_encoding import Feature, chosen_features, finite_numbers
from edgerec.data.user_feature_rows import MIN_USERS
from edgerec.errors import DataError
from edgerec.recipe import Ranker

Of = Literal["user", "item", "context", "history", "retrieval"]
Type = Literal["number", "category", "categories", "items"]
# Numpy types of the inputs on the device.
DTYPES = {"number": "float32", "category": "int32", "categories": "int32", "items": "int32"}
ITEM = "item"
SECONDS_A_DAY = 86_400
# Values of the categories of a moment: Monday is the weekday 0, January the month 1.
MOMENTS = {
    name: tuple(map(str, values))
    for name, values in (("hour", range(24)), ("weekday", range(7)), ("month", range(1, 13)))
}
# How many of each unit of time a second has.
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class InputFeature:
    """One input of the graph.

    Attributes:
        name: of the feature, as apps and tables call it.
        values: the categories; the n-th (from 0) has code n + 1, and 0 is missing or unseen.
        size: places of the input for each row: categories of a row at most, or the length of the history; 0: one.
        mean, std: of a number's training rows.
        missing: share of them without a value.
        edges: bounds of the ranges that a number is cut into, rising; a bound belongs to the range above it.
    """

    input: str
    name: str
    of: Of
    type: Type
    values: tuple[str, ...] = ()
    size: int = 0
    mean: float = 0.0
    std: float = 1.0
    missing: float = 0.0
    edges: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the folder of a model."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "InputFeature":
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(**{**saved, "values": tuple(saved["values"]), "edges": tuple(saved["edges"])})

    def described(self) -> dict[str, Any]:
        """The entry of ``features.json`` in a bundle."""
        entry: dict[str, Any] = {"input": self.input, "name": self.name, "of": self.of, "type": self.type}
        if self.type in ("category", "categories"):
            entry["values"] = list(self.values)
        if self.size:
            entry["size"] = self.size
        return entry

    def encode(self, column: pd.Series, separator: str | None) -> np.ndarray:
        """Cells of a table as the input takes them: float32 [n] or int32 [n], or int32 [n, size]."""
        if self.type == "number":
            numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
            return np.where(np.isfinite(numbers), numbers, np.nan).astype(np.float32)
        code = {value: place for place, value in enumerate(self.values, 1)}
        cells = [_parts(cell, separator) for cell in column]
        if self.type == "category":
            return np.array([code.get(cell[0], 0) if cell else 0 for cell in cells], np.int32)
        coded = np.zeros((len(cells), self.size), np.int32)
        for line, cell in zip(coded, cells, strict=True):
            known = [code[value] for value in cell if value in code][: self.size]
            line[: len(known)] = known
        return coded


def _parts(cell: object, separator: str | None) -> list[str]:
    if not isinstance(cell, str) or not cell.strip():
        return []
    parts = [cell] if separator is None else cell.split(separator)
    return [part.strip() for part in parts if part.strip()]


@dataclass(frozen=True)
class Inputs:
    """All inputs but the item's row, in the order of the graph.

    Attributes:
        features: of users, items, the context, and the retrieval model's score.
        history: the history's items and, if their values are read, those; empty if the history is not read.
    """

    features: tuple[InputFeature, ...]
    history: tuple[InputFeature, ...] = ()

    def of(self, *kinds: str) -> list[InputFeature]:
        """The features of these kinds."""
        return [feature for feature in self.features if feature.of in kinds]

    @property
    def all(self) -> tuple[InputFeature, ...]:
        """Features and history."""
        return self.features + self.history

    @property
    def names(self) -> list[str]:
        """Names of all inputs of the graph, in order."""
        return [ITEM, *(feature.input for feature in self.all)]

    @property
    def reads_values(self) -> bool:
        """Whether the values of the history are read."""
        return len(self.history) > 1

    @property
    def retrieval(self) -> InputFeature | None:
        """The score of the retrieval model, if it is read."""
        return next(iter(self.of("retrieval")), None)

    def dtypes(self) -> dict[str, str]:
        """Numpy type of each input of the graph, by name."""
        return {ITEM: "int32", **{feature.input: DTYPES[feature.type] for feature in self.all}}


def fit_inputs(
    model: Ranker,
    dataset: Dataset,
    reads_values: bool,
    recency: np.ndarray | None,
    retrieval: np.ndarray | None = None,
) -> Inputs:
    """Learn the inputs that ``[model]`` names from training rows.

    Args:
        reads_values: whether interactions have values, which then go with the history.
        recency: days since the event before, of training rows, if ``model.context`` has it.
        retrieval: scores of the retrieval model for them, if it is read.

    Raises:
        EdgeRecError: a table lacks a feature.
        DataError: the context needs times, and the data set has none; or no value of a user feature is frequent enough.
    """
    users = [
        _of_user(feature, dataset.user_table, model.buckets.get(feature.name))
        for feature in chosen_features(model.user_features, dataset.features("users"), "user")
    ]
    items = [
        _of_item(feature, dataset.item_table, model.buckets.get(feature.name))
        for feature in chosen_features(model.item_features, dataset.features("items"), "item")
    ]
    timed = dataset.info["time_unit"] is not None
    if model.context and not timed:
        raise DataError(
            f"model.context: {', '.join(model.context)} needs times since 1970 or dates, which {dataset.name} lacks; "
            "name their column with data.columns.time, or set model.context = []"
        )
    context = [_of_context(name, recency, model.buckets.get(name)) for name in model.moments(timed)]
    found = [] if retrieval is None else [_of_retrieval(retrieval)]
    history: list[InputFeature] = []
    if model.history != "none":
        history.append(InputFeature("history", "history", "history", "items", size=model.max_history))
        if reads_values:
            history.append(
                InputFeature("history_values", "history_values", "history", "number", size=model.max_history)
            )
    return Inputs(_distinct([*users, *context, *items, *found]), tuple(history))


def _of_user(feature: Feature, table: pd.DataFrame, buckets: int | None) -> InputFeature:
    column = table.loc[table["trained"], feature.name]
    if feature.kind == "numeric":
        numbers = finite_numbers(column)
        return _number(feature, "user", quantile_edges(numbers, buckets, MIN_USERS) if buckets else ())
    counts = pd.Series([value for cell in column for value in feature.values(cell)], dtype="object").value_counts()
    # A value that fewer training users have could identify them, and little can be learned from it.
    values = tuple(value for value in feature.vocabulary if counts.get(value, 0) >= MIN_USERS)
    if not values:
        raise DataError(f"model.user_features: {feature.name!r} has no value that {MIN_USERS} users share")
    return _categories(replace(feature, vocabulary=list(values)), "user", column)


def _of_item(feature: Feature, table: pd.DataFrame, buckets: int | None) -> InputFeature:
    if feature.kind == "numeric":
        numbers = finite_numbers(table[feature.name])
        return _number(feature, "item", quantile_edges(numbers, buckets, 1) if buckets else ())
    return _categories(feature, "item", table[feature.name])


def _of_context(name: str, recency: np.ndarray | None, buckets: int | None) -> InputFeature:
    if name == "recency":
        known = np.zeros(0) if recency is None else recency[np.isfinite(recency)].astype(np.float64)
        mean, std = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
        edges = quantile_edges(known, buckets, 1) if buckets else ()
        return InputFeature(
            _input("context", name), name, "context", "number", mean=mean, std=std or 1.0, edges=edges,
            missing=1 - len(known) / max(1, 0 if recency is None else len(recency)),
        )  # fmt: skip
    return InputFeature(_input("context", name), name, "context", "category", MOMENTS[name])


def _of_retrieval(scores: np.ndarray) -> InputFeature:
    known = scores[np.isfinite(scores)].astype(np.float64)
    mean, std = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
    return InputFeature(RETRIEVAL_SCORE, RETRIEVAL_SCORE, "retrieval", "number", mean=mean, std=std or 1.0)


def _number(feature: Feature, of: Of, edges: tuple[float, ...]) -> InputFeature:
    return InputFeature(
        _input(of, feature.name), feature.name, of, "number", mean=feature.mean, std=feature.std,
        missing=feature.missing, edges=edges,
    )  # fmt: skip


def _categories(feature: Feature, of: Of, column: pd.Series) -> InputFeature:
    values, name = tuple(feature.vocabulary), feature.name
    if feature.kind == "categorical":
        return InputFeature(_input(of, name), name, of, "category", values, missing=feature.missing)
    known = set(values)
    most = max((len(known.intersection(feature.values(cell))) for cell in column), default=0)
    return InputFeature(_input(of, name), name, of, "categories", values, max(1, most), missing=feature.missing)


def _input(of: str, name: str) -> str:
    """The name of the tensor of a feature: letters, digits and underscores."""
    return f"{of}_{re.sub('[^A-Za-z0-9]+', '_', name).strip('_').lower() or 'feature'}"


def _distinct(features: Sequence[InputFeature]) -> tuple[InputFeature, ...]:
    """The features with a number behind the input's name where several would have the same."""
    taken: dict[str, int] = {}
    renamed = []
    for feature in features:
        taken[feature.input] = taken.get(feature.input, 0) + 1
        number = taken[feature.input]
        renamed.append(feature if number == 1 else replace(feature, input=f"{feature.input}__{number}"))
    return tuple(renamed)


def quantile_edges(numbers: np.ndarray, ranges: int, least: int) -> tuple[float, ...]:
    """Bounds of ranges that hold about equally many numbers, and ``least`` or more; rounded to three digits, so that no
    bound is the number of a single row.
    """
    if len(numbers) == 0:
        return ()
    edges: list[float] = []
    for edge in sorted({float(f"{q:.2e}") for q in np.quantile(numbers, np.linspace(0, 1, ranges + 1)[1:-1])}):
        below = int((numbers < edge).sum())
        inside = below - (int((numbers < edges[-1]).sum()) if edges else 0)
        if min(inside, len(numbers) - below) >= least:
            edges.append(edge)
    return tuple(edges)


def table_inputs(inputs: Sequence[InputFeature], table: pd.DataFrame, features: Sequence[Feature]) -> dict[str, Any]:
    """The columns of an item or user table by name of the input, a row of the table in each line."""
    separators = {feature.name: feature.separator if feature.kind == "multi" else None for feature in features}
    return {one.input: one.encode(table[one.name], separators.get(one.name)) for one in inputs}


def moments(times: np.ndarray, unit: str, name: str) -> np.ndarray:
    """The codes of the context feature ``name`` of ``MOMENTS`` for times since 1970, int32 [n]."""
    seconds = times // UNITS[unit]
    if name == "hour":
        found = seconds // 3600 % 24
    elif name == "weekday":
        found = (seconds // SECONDS_A_DAY + 3) % 7  # 1970 began on a Thursday
    else:
        found = seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12
    return (1 + found).astype(np.int32)
