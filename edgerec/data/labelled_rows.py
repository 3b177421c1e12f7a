"""Labelled rows: pairs of a user and an item at a moment, with what is to be predicted of them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, Dataset, Part
from edgerec.recipe import Task
from edgerec.recipe.task import BinaryTask, ImplicitTask

CODES = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


@dataclass(frozen=True)
class LabelledRows:
    """n rows in groups of ``group``: the rows of a group share user, moment and history, and follow each other.

    Attributes:
        events: int64 [n], the place in the Dataset's events of the interaction that the row is, or that a negative was
            drawn for.
        users: int32 [n].
        items: int32 [n], item rows; 0 is a cold item.
        labels: float32 [n]: the value, or 1 for positive rows and 0 for negative ones.
        group: rows of each group: 1, or one and its negatives.
        retrieval: float32 [n], the score that the retrieval model gives each item after the row's history, NaN where
            there is none; ``None`` if no model was asked.
    """

    events: np.ndarray
    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    group: int = 1
    retrieval: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.items) // self.group

    def subset(self, groups: np.ndarray) -> "LabelledRows":
        """The rows of the groups with these numbers, int [m], in this order."""
        rows = (groups[:, None] * self.group + np.arange(self.group)).ravel()
        arrays = self.events[rows], self.users[rows], self.items[rows], self.labels[rows]
        return LabelledRows(*arrays, self.group, None if self.retrieval is None else self.retrieval[rows])

    def resized(self, size: int) -> "LabelledRows":
        """All groups with ``size`` rows each: the first ones, or all of them again and again."""
        rows = (np.arange(self.groups)[:, None] * self.group + np.resize(np.arange(self.group), size)).ravel()
        whole = LabelledRows(self.events, self.users, self.items, self.labels, 1, self.retrieval)
        return replace(whole.subset(rows), group=size)

    def sample(self, groups: int, seed: int) -> "LabelledRows":
        """Up to so many random groups, without replacement, in their present order."""
        return self.subset(np.sort(np.random.default_rng(seed).permutation(self.groups)[:groups]))


def users_of_events(dataset: Dataset) -> np.ndarray:
    """The user of each event, int32 [interactions]."""
    return np.repeat(np.arange(dataset.users, dtype=np.int32), np.diff(dataset.offsets))


def first_places(dataset: Dataset, part: str) -> np.ndarray:
    """The place in the events of the first of each user's events in a part, by user, int64 [users that have one]."""
    places = np.flatnonzero(dataset.parts == CODES[part])
    return places[np.unique(users_of_events(dataset)[places], return_index=True)[1]]


def labelled_rows(dataset: Dataset, task: Task, parts: tuple[str, ...], seed: int) -> LabelledRows:
    """The interactions of ``parts`` (``train``, ``validation``, ``test``) as rows, with negatives for an implicit task.

    Args:
        seed: of the negatives.
    """
    places = np.flatnonzero(np.isin(dataset.parts, [CODES[part] for part in parts]))
    users, items = users_of_events(dataset)[places], dataset.events[places]
    if isinstance(task, ImplicitTask):
        known = items > 0  # a negative has a row; a positive without one could be told by that alone
        places, users, items = places[known], users[known], items[known]
        negatives = task.negatives if parts[0] == "train" else task.test_negatives or task.negatives
        return _with_negatives(dataset, task, places, users, items, negatives, seed)
    values = dataset.values[places]
    labels = (values >= task.positive_from).astype(np.float32) if isinstance(task, BinaryTask) else values
    return LabelledRows(places, users, items, labels)


def _with_negatives(
    dataset: Dataset,
    task: ImplicitTask,
    places: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    negatives: int,
    seed: int,
) -> LabelledRows:
    """Each positive row, followed by its negatives: items that its user has no interaction with up to the rows' part.

    Interactions of later parts are drawn like others: sparing them would tell a model what is to come. A drawn item
    that the user does have is drawn again, a few times, and then from the user's other items alone.
    """
    rng = np.random.default_rng(seed)
    weights = np.cumsum(dataset.popularity[1:].astype(np.float64) ** task.popularity)
    known = dataset.parts <= dataset.parts[places].max(initial=TRAIN)
    had = np.unique((users_of_events(dataset).astype(np.int64) * (dataset.items + 1) + dataset.events)[known])
    drawn = np.empty((len(items), negatives), np.int32)
    left = np.ones(drawn.shape, bool)
    for _ in range(20):
        drawn[left] = 1 + np.searchsorted(weights, rng.random(int(left.sum())) * weights[-1], side="right")
        keys = users[:, None].astype(np.int64) * (dataset.items + 1) + drawn
        found = np.minimum(np.searchsorted(had, keys), len(had) - 1)
        left = had[found] == keys
        if not left.any():
            break
    everything = np.arange(1, dataset.items + 1, dtype=np.int32)
    for line, place in np.argwhere(left):  # users who have almost all that is popular
        start, stop = dataset.offsets[users[line]], dataset.offsets[users[line] + 1]
        others = np.setdiff1d(everything, dataset.events[start:stop][known[start:stop]])
        if len(others):
            drawn[line, place] = rng.choice(others)
    group = 1 + negatives
    labels = np.zeros((len(items), group), np.float32)
    labels[:, 0] = 1
    return LabelledRows(
        np.repeat(places, group),
        np.repeat(users, group),
        np.concatenate([items[:, None], drawn], 1).ravel(),
        labels.ravel(),
        group,
    )


@dataclass(frozen=True)
class Histories:
    """What is known of a user when a row is to be predicted, never the row itself.

    Under a temporal split these are the user's interactions before its moment, of whatever part: the app has them by
    then. Under leave-one-out they are all before it in the order of the table, as for retrieval: of one moment, too.
    Under a random split, which knows no before and after, they are the user's interactions of the parts ``known``,
    without the row's own.
    """

    dataset: Dataset
    length: int
    known: tuple[str, ...] = ("train",)

    @property
    def by_time(self) -> bool:
        """Whether the split has a before and after."""
        return self.dataset.info["split"] != "random"

    def events(self, place: int, user: int) -> np.ndarray:
        """Places of the events in the history of the event at ``place``, int64 [≤ length], oldest first; without cold
        items.
        """
        start = self.dataset.offsets[user]
        if self.by_time:
            found = self._warm[start : self._first_after[place]]
            places = start + np.flatnonzero(found)
        else:
            places = self._known[self._known_offsets[user] : self._known_offsets[user + 1]]
            places = places[places != place]
        return np.asarray(places[-self.length :])

    def padded(self, rows: LabelledRows, values: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The history of each group of rows: item rows int32 [groups, L], left-padded with 0, and values float32
        [groups, L], NaN for padding and without ``values``.
        """
        firsts = slice(None, None, rows.group)
        items = np.zeros((rows.groups, self.length), np.int32)
        of_items = np.full(items.shape, np.nan, np.float32)
        for line, (place, user) in enumerate(zip(rows.events[firsts], rows.users[firsts], strict=True)):
            found = self.events(place, user)
            if count := len(found):
                items[line, -count:] = self.dataset.events[found]
                if values is not None:
                    of_items[line, -count:] = values[found]
        return items, of_items

    def days_since(self, rows: LabelledRows, a_day: float) -> np.ndarray:
        """Days between each group's moment and the last event of its history at an earlier one, float32 [groups]; NaN
        without any. Events of the same moment do not count: they would tell where in a basket the row is, and tables
        may have baskets in an order that no customer has.
        """
        firsts = slice(None, None, rows.group)
        days = np.full(rows.groups, np.nan, np.float32)
        for line, (place, user) in enumerate(zip(rows.events[firsts], rows.users[firsts], strict=True)):
            found = self.events(place, user)
            before = found[self.dataset.times[found] < self.dataset.times[place]]
            if len(before):
                days[line] = (self.dataset.times[place] - self.dataset.times[before[-1]]) / a_day
        return days

    @cached_property
    def _warm(self) -> np.ndarray:
        return self.dataset.events > 0

    @cached_property
    def _first_after(self) -> np.ndarray:
        """For each event the place of the first of its user's events that its history does not have, int64
        [interactions]: itself, or the first at the same time.
        """
        users, times = users_of_events(self.dataset), self.dataset.times
        if self.dataset.info["split"] == "leave-one-out":
            return np.arange(len(times))
        new = np.ones(len(times), bool)
        new[1:] = (users[1:] != users[:-1]) | (times[1:] != times[:-1])
        return np.maximum.accumulate(np.where(new, np.arange(len(times)), 0))

    @cached_property
    def _known(self) -> np.ndarray:
        codes = [CODES[part] for part in self.known]
        return np.flatnonzero(np.isin(self.dataset.parts, codes) & self._warm)

    @cached_property
    def _known_offsets(self) -> np.ndarray:
        return np.searchsorted(self._known, self.dataset.offsets)


def part_seed(part: Part | str) -> int:
    """Seed of the negatives of validation and test, the same in every run."""
    return 1_000_000 + CODES[part]
