"""Raw item ids and their rows of the item table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from device_runner.compact import IndexedTexts
from device_runner.errors import shown


class Vocabulary:
    """Rows of raw ids.

    Args:
        items: raw id by row; row 0 is padding.
    """

    def __init__(self, items: Sequence[str]) -> None:
        # A large catalogue has an index of its own, and a dictionary would take far more memory.
        self._indexed = items if isinstance(items, IndexedTexts) else None
        self._row_of = {} if self._indexed is not None else {item: row for row, item in enumerate(items) if row}

    def rows(self, ids: Iterable[str], argument: str) -> list[int]:
        """Rows of the known ids, in order.

        Args:
            argument: the caller's name for ``ids``, for messages.

        Raises:
            TypeError: ``ids`` is one string, or holds something that is not a string.
        """
        if isinstance(ids, (str, bytes)):
            raise TypeError(f"{argument} is one string, {shown(ids)}; pass a list of item ids")
        row_of = self._row_of.get
        ids = list(ids) if isinstance(ids, Iterable) else [ids]
        if self._indexed is not None and all(isinstance(one, str) for one in ids):
            return [row for row in self._indexed.find(ids) if row]
        try:
            # For every event of every call: rows begin at 1, and only ids without a row are looked at twice.
            return [row for one in ids if (row := row_of(one)) or (not isinstance(one, str) and _refuse())]
        except TypeError:  # from _refuse, or because it cannot be hashed
            strange = next(one for one in ids if not isinstance(one, str))
            raise TypeError(f"{argument} has {shown(strange)}, but item ids are strings") from None

    def array(self, ids: Iterable[str], argument: str) -> np.ndarray:
        """Like ``rows``, int32 [n]."""
        ids = ids if isinstance(ids, (list, tuple, str, bytes)) or not isinstance(ids, Iterable) else list(ids)
        if self._indexed is None and not isinstance(ids, (str, bytes)):
            try:
                # For every event of every call: an id without a row becomes None, which is no number.
                return np.array(list(map(self._row_of.get, ids)), np.int32)
            except TypeError:
                pass
        return np.array(self.rows(ids, argument), np.int32)

    def rows_or_none(self, ids: Iterable[str], argument: str) -> list[int]:
        """The row of each id, in order, 0 for one that is not known.

        Raises:
            TypeError: as ``rows``.
        """
        ids = ids if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable) else list(ids)
        known = self.rows(ids, argument)  # refuses what is no list of strings
        if len(known) == len(ids):
            return known
        return self._indexed.find(ids) if self._indexed is not None else [self._row_of.get(one, 0) for one in ids]


def listed(ids: Any) -> Any:
    """A list of any iterable, such as a generator, which can be read more than once; what is no iterable, or one text,
    is left to be refused.
    """
    return list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str | bytes | Mapping) else ids


def _refuse() -> bool:
    raise TypeError
