"""Features that a ranking model reads: raw values of an app become the arrays of the model's inputs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from device_runner.contract import Ranking
from device_runner.errors import shown

# Inputs that are no features of the user, the moment or an item, and how features.json describes them: whose they are
# and of which types. Scores of the retrieval model are passed with the candidates, so their name is reserved there.
ITEM = "item"
HISTORY, HISTORY_VALUES, RETRIEVAL_SCORE = "history", "history_values", "retrieval_score"
RESERVED = {
    ITEM: ("item", ("category", "items")),
    HISTORY: ("history", ("items", "categories")),
    HISTORY_VALUES: ("history", ("number",)),
    RETRIEVAL_SCORE: ("retrieval", ("number",)),
}
TYPES = ("number", "category", "categories")
DTYPES = {"number": "float32", "category": "int32", "categories": "int32", "items": "int32"}
OF = ("user", "item", "context")
# A larger number would be infinite in the model.
LARGEST = float(np.finfo(np.float32).max)
PLAIN = {float, int, type(None)}


@dataclass(frozen=True)
class Feature:
    """One input of the model.

    Attributes:
        input: name of the tensor.
        name: what the app calls it.
        of: whose it is: ``"user"``, ``"item"``, ``"context"``, ``"history"`` or ``"retrieval"``.
        type: ``"number"``, ``"category"``, ``"categories"`` (several at once), or ``"items"``: rows of items.
        values: the categories; the n-th (from 0) has code n + 1, and 0 is a missing or unseen one.
        size: places for the categories of one user or item, or for the events of a history; 0: one value.
    """

    input: str
    name: str
    of: str
    type: str
    values: tuple[str, ...] = ()
    size: int = 0

    @property
    def dtype(self) -> str:
        """Name of the input's dtype."""
        return DTYPES[self.type]

    @property
    def missing(self) -> float:
        """What the input holds where a value is missing."""
        return math.nan if self.type == "number" else 0

    def shape(self, lines: int) -> tuple[int, ...]:
        """The shape of the input for so many lines."""
        return (lines, self.size) if self.size else (lines,)

    def empty(self, lines: int) -> np.ndarray:
        """The input for so many lines without a value."""
        return np.full(self.shape(lines), self.missing, self.dtype)

    def code(self, value: object, whose: str = "") -> Any:
        """A raw value as the input takes it: a float, a code, or [size] codes padded with 0.

        ``None``, NaN, and a category that training did not see are missing values. Of more categories than there are
        places, the first known ones are taken.

        Args:
            whose: what the message says behind the feature's name, such as ``" of candidate 3"``.

        Raises:
            TypeError: a value of another type: a number is an int or a float, a category a text or an int.
            ValueError: the number is infinite.
        """
        if self.type == "number":
            return self._number(value, whose)
        if self.type == "category":
            return self._category(value, whose)
        if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
            return np.zeros(self.size, np.int32)
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise TypeError(f"{self._said(whose)} is {shown(value)}; give a list of categories")
        found = dict.fromkeys(code for one in value if (code := self._category(one, whose)))
        padded = np.zeros(self.size, np.int32)
        padded[: min(len(found), self.size)] = list(found)[: self.size]
        return padded

    def numbers(self, values: Sequence[object], whose: str) -> np.ndarray:
        """``code`` of n values of a number, float32 [n].

        Args:
            whose: what each value is of, such as ``"candidate"``; messages count from 1 on.
        """
        if PLAIN.issuperset(map(type, values)):
            try:
                found = np.array(values, np.float64)  # NaN for None
                if not (np.abs(found) > LARGEST).any():
                    return found.astype(np.float32)
            except OverflowError:
                pass
        return np.array([self.code(value, f" of {whose} {n}") for n, value in enumerate(values, 1)], np.float32)

    def describe(self) -> str:
        """What may be passed, in words."""
        if self.type == "number":
            return "a number"
        some = ", ".join(self.values[:5]) + (", …" if len(self.values) > 5 else "")
        return f"one of {some}" if self.type == "category" else f"any of {some}, up to {self.size}"

    def _number(self, value: object, whose: str) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"{self._said(whose)} is {shown(value)}, not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if abs(number) > LARGEST:
            raise ValueError(f"{self._said(whose)} is {shown(value)}: no finite number; leave it out if it is unknown")
        return number

    def _category(self, value: object, whose: str) -> int:
        if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
            return 0
        if isinstance(value, str):
            return self._codes.get(value.strip(), 0)
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return self._codes.get(str(value), 0)
        raise TypeError(f"{self._said(whose)} is {shown(value)}; a category is a text")

    def _said(self, whose: str) -> str:
        return f"the {self.of} feature {self.name!r}{whose}"

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {value: code for code, value in enumerate(self.values, 1)}


def features_from_json(entries: object, contract: Ranking) -> tuple[Feature, ...]:
    """The inputs of a ranking model, from the entries of ``features.json``. The input ``item`` needs no entry.

    Raises:
        ValueError: the entries are malformed, or are not those of the contract's inputs; says what.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError("has no list of features")
    found = [_feature(entry) for entry in entries]
    if ITEM in contract.inputs and all(feature.input != ITEM for feature in found):
        found.insert(0, Feature(ITEM, ITEM, "item", "items"))
    inputs = {feature.input: feature.dtype for feature in found}
    if len(inputs) != len(found) or inputs != dict(contract.inputs):
        raise ValueError(f"describes the inputs {', '.join(inputs)}; the model has {', '.join(contract.inputs)}")
    if len({(feature.of, feature.name) for feature in found}) != len(found):
        raise ValueError("has a feature twice")
    sizes = {feature.input: feature.size for feature in found if feature.of == "history"}
    if HISTORY_VALUES in sizes and sizes[HISTORY_VALUES] != sizes.get(HISTORY):
        raise ValueError("has history_values of another size than the history")
    return tuple(found)


def _feature(entry: object) -> Feature:
    if not isinstance(entry, Mapping):
        raise ValueError("has an entry that is not an object")
    texts = {key: entry.get(key) for key in ("input", "name", "of", "type")}
    if not all(isinstance(text, str) and text for text in texts.values()):
        raise ValueError(f"has the entry {dict(entry)!r}, which lacks input, name, of or type")
    values, size = entry.get("values", []), entry.get("size", 0)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"has no list of texts as the values of {texts['name']!r}")
    if len(set(values)) != len(values):
        raise ValueError(f"has a value of {texts['name']!r} twice")
    if type(size) is not int or not 0 <= size <= 1 << 16:
        raise ValueError(f"gives {texts['name']!r} a size of {size!r}")
    feature = Feature(**{key: str(text) for key, text in texts.items()}, values=tuple(values), size=size)
    if feature.input in RESERVED:
        of, types = RESERVED[feature.input]
        if (
            feature.of != of
            or feature.type not in types
            or feature.name != feature.input
            or (of == "history") != (size > 0)
        ):
            raise ValueError(f"describes the input {feature.input} as something else than it is")
        return feature
    if feature.of not in OF or feature.type not in TYPES or (feature.type == "categories") != (size > 0):
        raise ValueError(f"has the malformed feature {feature.name!r}")
    if feature.of == "item" and feature.name in RESERVED:
        raise ValueError(f"has an item feature with the reserved name {feature.name}")
    return feature


def item_columns(values: Mapping[str, Sequence[Any]], features: Iterable[Feature], items: int) -> dict[str, np.ndarray]:
    """The values of the items' features by row, row 0 being a missing item: by input, [items + 1] or [items + 1, size].

    Args:
        values: ``item_values.json``: by name of the feature a number or ``None``, a code, or a list of codes for each
            item from row 1 on. A feature without an entry has no values.

    Raises:
        ValueError: a column is malformed, or of no feature; says which.
    """
    own = {feature.name: feature for feature in features if feature.of == "item" and feature.input != ITEM}
    if strange := values.keys() - own.keys():
        raise ValueError(f"has values of {', '.join(sorted(strange))}, which the model does not read")
    columns = {feature.input: feature.empty(items + 1) for feature in own.values()}
    for name, column in values.items():
        if len(column) != items:
            raise ValueError(f"has {len(column):,} values of {name!r} for {items:,} items")
        try:
            _fill(columns[own[name].input], own[name], column)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"has a malformed value of {name!r}") from None
    return columns


def _fill(column: np.ndarray, feature: Feature, values: Sequence[Any]) -> None:
    if feature.type == "number":
        if not all(value is None or type(value) in (int, float) for value in values):
            raise TypeError
        column[1:] = np.array([math.nan if value is None else value for value in values], np.float64)
        if np.isinf(column).any():
            raise ValueError
        return
    codes = [value if isinstance(value, list) else [value or 0] for value in values]
    if not all(type(code) is int and 0 <= code <= len(feature.values) for line in codes for code in line):
        raise ValueError
    if feature.type == "category":
        column[1:] = [code for (code,) in codes]
        return
    for line, found in zip(column[1:], codes, strict=True):
        line[: min(len(found), feature.size)] = found[: feature.size]
