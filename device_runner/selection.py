"""Which items a list of recommendations may have: exclusions, an allow-list, and caps that keep it diverse."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from device_runner.attributes import Attribute
from device_runner.ranking import best_rows

NO_ROWS = np.zeros(0, np.int32)


@dataclass(frozen=True)
class Cap:
    """At most ``most`` items of a list may share a value of the attribute."""

    attribute: Attribute
    most: int


@dataclass(frozen=True, eq=False)
class Selection:
    """What may be in a list.

    Attributes:
        banned: int32 [n], rows never to return; a row may be there more than once.
        allowed: int32 [m], the only rows to return; ``None`` for all.
        caps: an item with several values counts for each of them; one without a value is not limited.
    """

    banned: np.ndarray
    allowed: np.ndarray | None = None
    caps: Sequence[Cap] = ()

    def best(self, scores: np.ndarray, k: int) -> np.ndarray:
        """Rows of the best items, at most ``k``, best first, for the scores float32 [N + 1] of all rows: int32 [≤ k].

        Of equal scores the lower row comes first. With caps, the list is what remains of the ranking of all items when
        one goes down it and leaves out each item that would exceed a cap.
        """
        permitted = np.full_like(scores, -np.inf)
        rows = slice(1, None) if self.allowed is None else self.allowed
        permitted[rows] = scores[rows]
        permitted[self.banned] = -np.inf
        length = k if not self.caps else min(4 * k, len(scores))
        while True:
            ranked = best_rows(permitted, length)
            if not self.caps:
                return ranked
            places = self.within_caps(ranked.tolist(), k)
            if len(places) == k or len(ranked) < length or length >= len(scores):
                return ranked[places]
            length = min(4 * length, len(scores))

    def within_caps(self, ranked: Iterable[int], k: int) -> list[int]:
        """Places of the first ``k`` rows of a ranking that stay within the caps."""
        counts: list[dict[int, int]] = [{} for _ in self.caps]
        places: list[int] = []
        for place, row in enumerate(ranked):
            if len(places) == k:
                break
            values = [cap.attribute.of(row) for cap in self.caps]
            full = any(
                count.get(value, 0) >= cap.most
                for cap, count, own in zip(self.caps, counts, values, strict=True)
                for value in own
            )
            if full:
                continue
            places.append(place)
            for count, own in zip(counts, values, strict=True):
                for value in own:
                    count[value] = count.get(value, 0) + 1
        return places


def caps_of(at_most: Mapping[str, int], attributes: Mapping[str, Attribute]) -> tuple[Cap, ...]:
    """The caps that ``at_most`` asks for, such as ``{"category": 3}``.

    Raises:
        TypeError: ``at_most`` is not a mapping of names to whole numbers.
        ValueError: a number is below 1, or the bundle does not have the attribute.
    """
    if not isinstance(at_most, Mapping):
        raise TypeError(f"at_most is {at_most!r}; give the most items of a value by attribute, as in {{'category': 3}}")
    for name, most in at_most.items():
        if name not in attributes:
            known = ", ".join(attributes) or "none"
            raise ValueError(f"the bundle has no attribute {name!r} of its items; it has: {known}")
        if not isinstance(most, int) or isinstance(most, bool):
            raise TypeError(f"at_most[{name!r}] is {most!r}, not a whole number")
        if most < 1:
            raise ValueError(f"at_most[{name!r}] is {most}; allow at least one item of each value")
    return tuple(Cap(attributes[name], most) for name, most in at_most.items())
