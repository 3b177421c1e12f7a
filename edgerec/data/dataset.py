"""The Dataset: a folder of Parquet files that every later stage reads."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from edgerec.data.feature_encoding import Feature
from edgerec.errors import DataError

TRAIN, VALIDATION, TEST = 0, 1, 2
# Columns that the item and user tables have from preparation, beside features.
ITEM_COLUMNS = ("item_row", "item_id", "interactions")
USER_COLUMNS = ("user_row", "user_id", "interactions", "trained")
Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Dataset:
    """Interactions as rows of the item table, users one after the other, each user's events oldest first.

    Attributes:
        folder: where it lives.
        info: ``dataset.json``: name, counts, split and its fingerprint, settings.
        events: int32 [interactions], item rows; 0 marks an item without a training interaction (cold).
        parts: int8 [interactions], TRAIN, VALIDATION or TEST.
        offsets: int64 [users + 1], where each user's events begin.
    """

    folder: Path
    info: dict[str, Any]
    events: np.ndarray
    parts: np.ndarray
    offsets: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read a prepared Dataset.

        Raises:
            DataError: the folder holds none.
        """
        try:
            info = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
            events = np.empty(info["interactions"], np.int32)
            parts = np.empty(info["interactions"], np.int8)
            of_user = np.zeros(info["users"] + 1, np.int64)
            done = 0
            for users, rows, part in read_events(folder, ["user_row", "item_row", "part"]):
                events[done : done + len(rows)] = rows
                parts[done : done + len(rows)] = part
                of_user[1:] += np.bincount(users, minlength=info["users"])
                done += len(rows)
        except (OSError, ValueError, KeyError):
            raise DataError(f"{folder}: no data set here; make one with: edgerec data prepare") from None
        return cls(folder, info, events, parts, np.cumsum(of_user))

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def split_fingerprint(self) -> str:
        return str(self.info["split_fingerprint"])

    @property
    def users(self) -> int:
        return len(self.offsets) - 1

    @property
    def items(self) -> int:
        """N: items with a row, 1..N; the item table has N + 1."""
        return int(self.info["items"])

    @property
    def exclude_seen(self) -> bool:
        """Whether items that the user had are left out of the recommendations: yes, unless repeats are kept."""
        return bool(self.info["repeats"] != "all")

    @cached_property
    def item_table(self) -> pd.DataFrame:
        """One row an item, in row order: ``item_row``, ``item_id``, ``title``, ``interactions`` and features."""
        return pd.read_parquet(self.folder / "items.parquet")

    @cached_property
    def user_table(self) -> pd.DataFrame:
        """One row a user, in order: ``user_row``, ``user_id``, ``interactions``, ``trained`` and features."""
        return pd.read_parquet(self.folder / "users.parquet")

    def features(self, of: Literal["items", "users"]) -> list[Feature]:
        """How the columns of the item or user table become numbers, learned on training rows."""
        learned = json.loads((self.folder / "features.json").read_text(encoding="utf-8"))
        return [Feature(**parameters) for parameters in learned[of]]

    @cached_property
    def user_ids(self) -> list[str]:
        """Raw user ids, in the order of ``offsets``."""
        return list(self.user_table["user_id"])

    @cached_property
    def times(self) -> np.ndarray:
        """Time of each interaction, int64 in ``info["time_unit"]``; NaN where the table has no time."""
        return np.concatenate([np.zeros(0, np.int64), *(t for (t,) in read_events(self.folder, ["t"]))])

    @cached_property
    def values(self) -> np.ndarray:
        """Value of each interaction, such as a rating, float32.

        Raises:
            DataError: the Dataset was prepared without the values.
        """
        try:
            read = [np.asarray(v, np.float32) for (v,) in read_events(self.folder, ["value"])]
        except ValueError:
            raise DataError(f"{self.folder}: made without the values of the interactions; prepare it again") from None
        return np.concatenate([np.zeros(0, np.float32), *read])

    @cached_property
    def popularity(self) -> np.ndarray:
        """Training interactions of each item row, int64 [N + 1]."""
        return np.bincount(self.events[self.parts == TRAIN], minlength=self.items + 1)

    def training_histories(self) -> list[np.ndarray]:
        """Each user's training events, oldest first, as views of ``events``; cold items cannot be among them."""
        starts = self.offsets[:-1]
        # A user's training events come before the others.
        counts = np.add.reduceat(self.parts == TRAIN, starts) if len(self.parts) else np.zeros(0, int)
        return [self.events[start : start + count] for start, count in zip(starts, counts, strict=True)]

    def targets(self, part: Part) -> "Targets":
        """Each user's first event in ``part``, with the history before it.

        Under leave-one-out that is the user's only event there; under last-basket all of the user's events there are
        targets too (``Targets.baskets``). Users without a known event before it are left out: the device shows them
        what is popular (``dataset.json`` counts them as cold).
        """
        code = VALIDATION if part == "validation" else TEST
        here = self.parts == code
        first = here & ~np.concatenate([[False], here[:-1]])
        starts = self.offsets[:-1]
        first[starts] = here[starts]
        positions = np.flatnonzero(first)
        users = np.searchsorted(self.offsets, positions, side="right") - 1
        histories = [self.events[self.offsets[u] : p] for u, p in zip(users, positions, strict=True)]
        histories = [h[h > 0] for h in histories]
        warm = np.array([len(h) > 0 for h in histories], bool)
        targets = Targets(users[warm], [h for h in histories if len(h)], self.events[positions][warm])
        if self.info.get("split") != "last-basket":
            return targets
        return replace(targets, baskets=self._baskets(users[warm], positions[warm], code))

    def _baskets(self, users: np.ndarray, starts: np.ndarray, part: int) -> list[np.ndarray]:
        """The rows of each user's events in ``part``, which begin at ``starts``; a known item counts once."""
        lasts = self.offsets[users + 1]
        return [_distinct(self.events[s:e][self.parts[s:e] == part]) for s, e in zip(starts, lasts, strict=True)]


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Known rows once each, at their first place, and every 0."""
    first = np.unique(rows, return_index=True)[1]
    return rows[np.union1d(first, np.flatnonzero(rows == 0))]


@dataclass(frozen=True)
class Targets:
    """What is to be predicted, for n users.

    Attributes:
        users: int [n].
        histories: n arrays of item rows, oldest first.
        items: int32 [n], the first target of each; 0 is a cold item, which no model can hit and every model is charged
            for.
        baskets: n arrays int32 of all the targets of each, in the order of the events, with 0 for each cold item; the
            first is that of ``items``. ``None`` unless the split is last-basket.
    """

    users: np.ndarray
    histories: list[np.ndarray]
    items: np.ndarray
    baskets: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, count: int, seed: int) -> "Targets":
        """``count`` random targets, without replacement, in their present order."""
        return self.subset(np.sort(np.random.default_rng(seed).permutation(len(self))[:count]))

    def subset(self, which: np.ndarray) -> "Targets":
        """The targets at the places ``which``, int [m]."""
        baskets = None if self.baskets is None else [self.baskets[i] for i in which]
        return Targets(self.users[which], [self.histories[i] for i in which], self.items[which], baskets)


def read_events(folder: Path, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, ...]]:
    """Columns of a Dataset's ``interactions.parquet``, batch by batch."""
    for file in parquet_files(folder / "interactions.parquet"):
        for batch in pq.ParquetFile(file, memory_map=True).iter_batches(1 << 18, columns=list(columns)):
            yield tuple(batch.column(name).to_numpy(zero_copy_only=False) for name in columns)


def parquet_files(path: Path) -> list[Path]:
    """The file at ``path``, or the parts in the folder there, in the order of their rows."""
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]


def split_fingerprint(user_ids: Iterable[str], item_ids: Iterable[str], arrays: Iterable[np.ndarray]) -> str:
    """sha256 (first 16 hex digits) of user ids, item ids by row, and the interaction columns ``user_row`` and
    ``item_row`` (int32) and ``part`` (int8), little-endian, one column after the other (each in one array or several).
    """
    digest = hashlib.sha256()
    for ids in (user_ids, item_ids):
        for text in ids:
            encoded = text.encode("utf-8")
            digest.update(len(encoded).to_bytes(4, "little") + encoded)
    for array in arrays:
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:16]
