"""Item and user features: cleaned and scaled with parameters learned on training rows only."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from device_runner import EdgeRecError

Kind = Literal["categorical", "multi", "numeric"]
# Place 0 of every vocabulary: a value that is missing, or was not seen in training.
UNKNOWN = 0
# Scaled numbers are clipped here: a single extreme one would stretch the scale that all items share in a quantized
# table.
OUTLIER = 10.0


@dataclass(frozen=True)
class Feature:
    """How one column becomes numbers.

    Attributes:
        kind: ``categorical`` (one value), ``multi`` (several, split at ``separator``) or ``numeric``.
        vocabulary: the values, those of the most training rows first; the n-th (from 0) has code n + 1.
        mean: mean of the training rows (numeric only), and ``std`` their standard deviation, 1 where all are equal.
        missing: share of training rows without a value, or whose number is not finite.
    """

    name: str
    kind: Kind
    separator: str = "|"
    vocabulary: list[str] = field(default_factory=list)
    mean: float = 0.0
    std: float = 1.0
    missing: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def values(self, cell: object) -> list[str]:
        """The categories in one cell of the table; an empty list where it is missing."""
        return _parts(cell, self.separator if self.kind == "multi" else None)

    def scale(self, values: pd.Series) -> np.ndarray:
        """Standardise a numeric column: float32 [n], (value - mean) / std, cut at ±``OUTLIER``; 0 where the value
        is missing or not a finite number.
        """
        numbers = _numbers(values)
        scaled = np.where(np.isfinite(numbers), (numbers - self.mean) / self.std, 0.0)
        return np.clip(scaled, -OUTLIER, OUTLIER).astype(np.float32)


@dataclass(frozen=True)
class EncodedFeatures:
    """Features of n rows as numbers.

    Attributes:
        codes: int32 [n, M], a place in the joint vocabulary of all categorical and multi-valued features for each
            value of a row, padded with 0, which also stands for unknown values.
        numbers: float32 [n, Q], the scaled numeric features.
        codes_used: size of the joint vocabulary, counting 0.
    """

    codes: np.ndarray
    numbers: np.ndarray
    codes_used: int

    def with_padding(self, behind: int = 0) -> "EncodedFeatures":
        """A copy with one row of zeros in front (row 0 of the item table) and ``behind`` such rows at the end."""
        codes, numbers = (np.pad(values, ((1, behind), (0, 0))) for values in (self.codes, self.numbers))
        return EncodedFeatures(codes, numbers, self.codes_used)

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "EncodedFeatures":
        with np.load(path) as saved:
            return cls(saved["codes"], saved["numbers"], int(saved["codes_used"]))


def encode_features(features: Sequence[Feature], table: pd.DataFrame) -> EncodedFeatures:
    """Encode the columns of ``table`` that ``features`` name.

    Raises:
        EdgeRecError: the table lacks a column.
    """
    absent = [feature.name for feature in features if feature.name not in table]
    if absent:
        raise EdgeRecError(f"the table lacks the feature {', '.join(absent)}; it has: {', '.join(map(str, table))}")
    codes, numbers, first = [np.zeros((len(table), 0), np.int32)], [np.zeros((len(table), 0), np.float32)], 0
    for feature in features:
        column = table[feature.name]
        if feature.kind == "numeric":
            numbers.append(feature.scale(column)[:, None])
            continue
        place = {value: first + code for code, value in enumerate(feature.vocabulary, 1)}
        found = [[place[value] for value in feature.values(cell) if value in place] for cell in column]
        widest = max(map(len, found), default=0)
        codes.append(
            np.array([row + [UNKNOWN] * (widest - len(row)) for row in found], np.int32).reshape(len(table), widest)
        )
        first += len(feature.vocabulary)
    return EncodedFeatures(np.concatenate(codes, 1), np.concatenate(numbers, 1), first + 1)


def chosen_features(names: Sequence[str], features: Sequence[Feature], of: Literal["item", "user"]) -> list[Feature]:
    """The features that ``[model] item_features`` or ``user_features`` names, in the order of the names.

    Raises:
        EdgeRecError: the table has no feature of one of the names.
    """
    known = {feature.name: feature for feature in features}
    for name in names:
        if name not in known:
            raise EdgeRecError(
                f"model.{of}_features: the {of} table has no feature {name!r}; it has: {', '.join(known) or 'none'}"
            )
    return [known[name] for name in names]


def fit_feature(name: str, kind: Kind, values: pd.Series, separator: str = "|") -> Feature:
    """Learn a feature's parameters from the values of the training rows (text, NA where missing)."""
    if kind == "numeric":
        finite = finite_numbers(values)
        mean, std = (float(finite.mean()), float(finite.std())) if len(finite) else (0.0, 1.0)
        return Feature(name, kind, mean=mean, std=std or 1.0, missing=1 - len(finite) / max(1, len(values)))
    parts = pd.Series([_parts(value, separator if kind == "multi" else None) for value in values], dtype="object")
    counts = pd.Series([part for row in parts for part in row], dtype="object").value_counts()
    vocabulary = sorted(counts.index, key=lambda value: (-counts[value], value))
    missing = float((parts.map(len) == 0).mean()) if len(parts) else 0.0
    return Feature(name, kind, separator, list(vocabulary), missing=missing)


def guess_kind(values: pd.Series) -> Kind:
    """Guess a feature's kind: ``numeric`` for more than 20 different numbers, else ``categorical``. Several values in
    one cell look like one, so ``multi`` must be set in the recipe.
    """
    known = values.dropna()
    if known.nunique() > 20 and np.isfinite(_numbers(known)).all():
        return "numeric"
    return "categorical"


def _parts(value: object, separator: str | None) -> list[str]:
    if not isinstance(value, str) or not value.strip():
        return []
    if separator is None:
        return [value.strip()]
    return [part.strip() for part in value.split(separator) if part.strip()]


def finite_numbers(values: pd.Series) -> np.ndarray:
    """The finite numbers among a column's values, float64."""
    numbers = _numbers(values)
    return numbers[np.isfinite(numbers)]


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
