"""Item and user features: cleaned and scaled with parameters learned on training rows only."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["categorical", "multi", "numeric"]
# Place 0 of every vocabulary: a value that is missing, or was not seen in training.
UNKNOWN = 0


@dataclass(frozen=True)
class Feature:
    """How one column becomes numbers.

    Attributes:
        kind: ``categorical`` (one value), ``multi`` (several, split at ``separator``) or ``numeric``.
        vocabulary: values in order of how many training rows have them; the n-th has code n + 1.
        mean: of the training rows, and ``std`` likewise (1 where all are equal), for ``numeric``.
        missing: share of training rows without a value, or with one that is no finite number.
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
        """The categories in one cell of the table, none where it is missing."""
        return _parts(cell, self.separator if self.kind == "multi" else None)

    def encode(self, values: pd.Series) -> np.ndarray:
        """Codes or scaled values of a column.

        Returns:
            ``categorical``: int32 [n]; ``multi``: float32 [n, 1 + vocabulary], 1 where a value is present, column 0
            where none is known; ``numeric``: float32 [n], (value - mean) / std, 0 where missing.
        """
        if self.kind == "numeric":
            numbers = _numbers(values)
            return np.where(np.isfinite(numbers), (numbers - self.mean) / self.std, 0.0).astype(np.float32)
        code = {value: place for place, value in enumerate(self.vocabulary, 1)}
        if self.kind == "categorical":
            codes = [code.get(value.strip(), UNKNOWN) if isinstance(value, str) else UNKNOWN for value in values]
            return np.array(codes, np.int32)
        encoded = np.zeros((len(values), 1 + len(code)), np.float32)
        for line, value in zip(encoded, values, strict=True):
            for part in self.values(value):
                line[code.get(part, UNKNOWN)] = 1
            line[UNKNOWN] = not line[1:].any()
        return encoded


def fit_feature(name: str, kind: Kind, values: pd.Series, separator: str = "|") -> Feature:
    """Learn a feature's parameters from the training rows' values (text, missing as NA)."""
    if kind == "numeric":
        numbers = _numbers(values)
        finite = numbers[np.isfinite(numbers)]
        mean, std = (float(finite.mean()), float(finite.std())) if len(finite) else (0.0, 1.0)
        return Feature(name, kind, mean=mean, std=std or 1.0, missing=1 - len(finite) / max(1, len(values)))
    parts = pd.Series([_parts(value, separator if kind == "multi" else None) for value in values], dtype="object")
    counts = pd.Series([part for row in parts for part in row], dtype="object").value_counts()
    vocabulary = sorted(counts.index, key=lambda value: (-counts[value], value))
    missing = float((parts.map(len) == 0).mean()) if len(parts) else 0.0
    return Feature(name, kind, separator, list(vocabulary), missing=missing)


def guess_kind(values: pd.Series) -> Kind:
    """``numeric`` for a column of numbers with more than 20 different ones, else ``categorical``; several values in
    one cell cannot be told from one, so ``multi`` has to be said in the recipe.
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


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
