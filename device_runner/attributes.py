"""Attributes of the items, such as their category: what a list of recommendations can be kept diverse by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute: for each item, the values that it has (none where they are unknown).

    Attributes:
        values: the different values.
        starts: int32 [N + 2]; the values of the item in row r are ``places[starts[r] : starts[r + 1]]``. Row 0 is
            padding and has none.
        places: int32 [m], places in ``values``.
    """

    values: tuple[str, ...]
    starts: np.ndarray
    places: np.ndarray

    def of(self, row: int) -> list[int]:
        """Places in ``values`` of the values of the item in this row."""
        found: list[int] = self.places[self.starts[row] : self.starts[row + 1]].tolist()
        return found

    def to_json(self) -> dict[str, Any]:
        """Its entry in the document of :func:`attributes_from_json`."""
        return {"values": list(self.values), "rows": [self.of(row) for row in range(1, len(self.starts) - 1)]}


def attributes_from_json(document: object, items: int) -> dict[str, Attribute]:
    """The attributes by name, from ``{name: {"values": [text, …], "rows": [[place, …], …]}}`` with one list of places
    for each of the ``items`` rows from 1 on.

    Raises:
        ValueError: the document is something else; says what.
    """
    if not isinstance(document, dict):
        raise ValueError("is not an object")
    return {name: _attribute(name, entry, items) for name, entry in document.items()}


def _attribute(name: str, entry: Any, items: int) -> Attribute:
    values, rows = (entry.get("values"), entry.get("rows")) if isinstance(entry, dict) else (None, None)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"has no list of texts as the values of {name!r}")
    if len(set(values)) != len(values):
        raise ValueError(f"has a value of {name!r} twice")
    if not isinstance(rows, list) or not all(isinstance(places, list) for places in rows):
        raise ValueError(f"has no list of lists as the rows of {name!r}")
    if len(rows) != items:
        raise ValueError(f"has {len(rows):,} rows of {name!r} for {items:,} items")
    if not all(type(place) is int and 0 <= place < len(values) for place in chain.from_iterable(rows)):
        raise ValueError(f"has a place outside the values of {name!r}")
    if any(len(places) > 1 and len(set(places)) != len(places) for places in rows):
        raise ValueError(f"gives an item the same value of {name!r} twice")
    starts = np.fromiter(chain((0, 0), accumulate(map(len, rows))), np.int32, items + 2)
    return Attribute(tuple(values), starts, np.fromiter(chain.from_iterable(rows), np.int32, int(starts[-1])))


def attributes_to_json(columns: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Any]:
    """The document of :func:`attributes_from_json`.

    Args:
        columns: by name of the attribute, the different values of each item from row 1 on.
    """
    document = {}
    for name, rows in columns.items():
        place_of = {value: place for place, value in enumerate(dict.fromkeys(chain.from_iterable(rows)))}
        document[name] = {"values": list(place_of), "rows": [[place_of[value] for value in values] for values in rows]}
    return document
