"""What a retrieval bundle finds for labelled rows: its scores, and candidates that are hard to tell from the target."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from device_runner import Recommender
from device_runner.errors import EdgeRecError
from device_runner.ranking import exclude, top_rows
from edgerec.data.dataset import Dataset, Part
from edgerec.data.labelled_rows import CODES, Histories, LabelledRows, first_places, labelled_rows, users_of_events
from edgerec.data.user_feature_rows import users_of
from edgerec.errors import DataError
from edgerec.recipe.task import CANDIDATES, ImplicitTask

# Users whose catalogues are scored at a time.
BATCH = 256
# Behind all random weights, which are below 1: no negative.
KNOWN = 2.0


@dataclass(frozen=True)
class Retriever:
    """A loaded retrieval bundle of the split of a Dataset.

    Each row is scored from the history before it (``Histories``), by the code that runs on the device; rows without a
    history are left out, as there the device shows what is popular. The bundle must be of the same split
    (``check_bundle``), so it has not been trained on the rows of validation and test; on those of training it has.
    """

    recommender: Recommender
    dataset: Dataset

    def rows(self, task: ImplicitTask, part: str, seed: int, advance: Callable[[int], None]) -> LabelledRows:
        """Like ``labelled_rows`` of one part, but of the interactions alone whose item is among the ``CANDIDATES`` best
        after the history: a ranker is never asked about others, and beside what is retrieved in their place it would
        learn to distrust retrieval. With ``retrieval`` scores; behind the random negatives of each group are hard ones,
        random items among those best that the user has not up to this part. Where fewer are left, there is no group.

        Raises:
            DataError: no group is left.
        """
        rows, rng = labelled_rows(self.dataset, task, (part,), seed), np.random.default_rng([seed, 1])
        random, known = rows.items.reshape(-1, rows.group), self.dataset.parts <= CODES[part]
        found: list[tuple[np.ndarray, ...]] = []
        for groups, scores in self._scored(rows, advance):
            best = top_rows(scores, CANDIDATES)
            hits = (best == random[groups, :1]).any(1)
            groups, scores, best = groups[hits], scores[hits], best[hits]
            weights = rng.random(best.shape)
            for line, listed, user in zip(weights, best, rows.users[groups * rows.group], strict=True):
                place = slice(self.dataset.offsets[user], self.dataset.offsets[user + 1])
                line[np.isin(listed, self.dataset.events[place][known[place]]) | (listed == 0)] = KNOWN
            hard = np.take_along_axis(best, np.argsort(weights, axis=1)[:, : task.hard], axis=1)
            items = np.concatenate([random[groups], hard], axis=1)
            enough = (weights < KNOWN).sum(1) >= task.hard
            arrays = groups, items, np.take_along_axis(scores, items, axis=1)
            found.append(tuple(array[enough] for array in arrays))
        others = f" with {task.hard} others that the user has not" if task.hard else ""
        groups, items, retrieval = self._joined(found, rows.groups, part, others)
        group = items.shape[1]
        events, users = rows.events[groups * rows.group], rows.users[groups * rows.group]
        labels = np.tile(np.arange(group) == 0, len(items)).astype(np.float32)
        return LabelledRows(
            np.repeat(events, group), np.repeat(users, group), items.ravel(), labels, group, retrieval.ravel()
        )

    def lists(self, part: Part) -> LabelledRows:
        """The ``CANDIDATES`` best items for the first event of each user in ``part``, best first, with label 1 for that
        event's item, in groups. Targets that are not among them are left out, as no order can help them.

        Raises:
            DataError: no target is among them.
        """
        places = first_places(self.dataset, part)
        users, wanted = users_of_events(self.dataset)[places], self.dataset.events[places]
        targets = LabelledRows(places, users, wanted, np.ones(len(places), np.float32))
        found: list[tuple[np.ndarray, ...]] = []
        for lines, scores in self._scored(targets):
            best, wanted = top_rows(scores, CANDIDATES), targets.items[lines, None]
            hits = ((best == wanted) & (wanted > 0)).any(1)
            arrays = lines, best, best == wanted, np.take_along_axis(scores, best, axis=1)
            found.append(tuple(array[hits] for array in arrays))
        lines, items, labels, retrieval = self._joined(found, len(targets), part)
        group = items.shape[1]
        return LabelledRows(
            np.repeat(targets.events[lines], group), np.repeat(targets.users[lines], group), items.ravel(),
            labels.ravel().astype(np.float32), group, retrieval.ravel(),
        )  # fmt: skip

    def _joined(
        self, found: Sequence[tuple[np.ndarray, ...]], asked: int, part: str, others: str = ""
    ) -> tuple[np.ndarray, ...]:
        """Arrays of all batches, if there is a line in any."""
        if not any(len(arrays[0]) for arrays in found):
            raise DataError(
                f"{self.recommender.bundle.path} retrieves none of the {asked:,} targets of {part} among {CANDIDATES} "
                f"items{others}; train it on more data or for longer, or remove model.retrieval"
            )
        return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))

    def _scored(
        self, rows: LabelledRows, advance: Callable[[int], None] = lambda groups: None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of groups, int64 [b], and their scores of the catalogue, float32 [b, N + 1], -inf for items of the
        history if those are left out. Groups that the bundle has nothing to read for are left out.
        """
        histories = Histories(self.dataset, len(self.dataset.events))
        recommender, size = self.recommender, self.dataset.items + 1
        firsts = slice(None, None, rows.group)
        places, users = rows.events[firsts], rows.users[firsts]
        features = users_of(recommender.bundle.user_features, self.dataset.user_table)
        for start in range(0, rows.groups, BATCH):
            chunk = range(start, min(start + BATCH, rows.groups))
            groups, seen, scores = [], [], []
            for group in chunk:
                history = self.dataset.events[histories.events(places[group], users[group])]
                if read := recommender.input_rows(history.tolist(), features[users[group]]):
                    groups.append(group)
                    seen.append(history)
                    scores.append(recommender.item_scores(read)[:size])
            if groups:
                found = np.stack(scores)
                exclude(found, seen if self.dataset.exclude_seen else ())
                yield np.array(groups), found
            advance(len(chunk))


@dataclass(frozen=True)
class Retrieved:
    """What was retrieved, on the disk.

    Attributes:
        folder: with ``train.npz``, ``validation.npz``, ``test.npz``, and ``lists.npz`` of validation.
    """

    folder: Path
    _read: dict[str, LabelledRows] = field(default_factory=dict, init=False, repr=False, compare=False)

    def rows(self, name: str) -> LabelledRows:
        """Labelled rows that were saved. They are read once.

        Raises:
            EdgeRecError: the file is absent or damaged.
        """
        if name not in self._read:
            self._read[name] = self._rows_of(self.folder / f"{name}.npz")
        return self._read[name]

    def save(self, name: str, rows: LabelledRows) -> None:
        """Write labelled rows."""
        assert rows.retrieval is not None
        firsts = slice(None, None, rows.group)
        np.savez(
            self.folder / f"{name}.npz", events=rows.events[firsts], users=rows.users[firsts], items=rows.items,
            labels=rows.labels, retrieval=rows.retrieval, group=rows.group,
        )  # fmt: skip

    def _rows_of(self, path: Path) -> LabelledRows:
        try:
            with np.load(path) as saved:
                group = int(saved["group"])
                events, users = np.repeat(saved["events"], group), np.repeat(saved["users"], group)
                return LabelledRows(events, users, saved["items"], saved["labels"], group, saved["retrieval"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise EdgeRecError(f"{path}: damaged ({error}); delete the folder and make it again") from None
