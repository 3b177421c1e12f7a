"""User features: each value is a row of the item table, which the model reads before the history."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from device_runner.errors import shown


@dataclass(frozen=True)
class UserFeature:
    """One feature. Its values have the rows ``first``, ``first + 1``, … of the item table, behind all items.

    Attributes:
        values: the values of a categorical feature; empty for a numeric one.
        edges: the bounds between the ranges of a numeric feature, rising; a bound belongs to the range above it.
    """

    name: str
    first: int
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.values) or len(self.edges) + 1

    def row_of(self, value: object) -> int | None:
        """The row of a value (a text, or a number for a numeric feature); ``None`` if it is absent or unknown."""
        if value is None:
            return None
        if self.values:
            return self._row_of_value.get(str(value).strip())
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return None
        return None if math.isnan(number) else self.first + bisect_right(self.edges, number)

    @cached_property
    def _row_of_value(self) -> dict[str, int]:
        return {value: row for row, value in enumerate(self.values, self.first)}

    def describe(self) -> str:
        """Its values in words, the first five of them."""
        if self.values:
            return ", ".join(self.values[:5]) + (", …" if len(self.values) > 5 else "")
        return f"a number, {self.rows} ranges"

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "UserFeature":
        """From an entry of the manifest.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: the entry is malformed.
        """
        name, first = entry["name"], entry["first"]
        if not isinstance(entry["values"], list) or not isinstance(entry["edges"], list):
            raise ValueError(f"the values or edges of the user feature {name!r}")
        values, edges = tuple(entry["values"]), tuple(entry["edges"])
        if not isinstance(name, str) or type(first) is not int or (values and edges):
            raise ValueError(f"the user feature {name!r}")
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"the values of the user feature {name!r}")
        numbers = all(type(edge) in (int, float) and math.isfinite(edge) for edge in edges)
        if not numbers or list(edges) != sorted(set(edges)):
            raise ValueError(f"the edges of the user feature {name!r}")
        return cls(name, first, values, edges)


def rows_of(features: Iterable[UserFeature]) -> int:
    """How many rows of the item table the features have together."""
    return sum(feature.rows for feature in features)


def user_rows(features: Iterable[UserFeature], user: Mapping[str, object]) -> list[int]:
    """Rows of a user's known values, in the order of ``features``.

    Raises:
        ValueError: ``user`` names a feature that the model does not have.
        TypeError: ``user`` is no mapping.
    """
    if not isinstance(user, Mapping):
        raise TypeError(f"user is {shown(user)}; give values by name, as in {{'age': 31}}")
    features = list(features)
    names = [feature.name for feature in features]
    if strange := [name for name in user if name not in names]:
        raise ValueError(f"the model knows no user feature {', '.join(strange)}; it has: {', '.join(names) or 'none'}")
    found = (feature.row_of(user.get(feature.name)) for feature in features)
    return [row for row in found if row is not None]
