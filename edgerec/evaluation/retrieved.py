"""What a retrieval bundle finds for labelled rows: its scores, and candidates that are hard to tell from the target."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_runner import Recommender
from device_runner.errors import EdgeRecError
from device_runner.ranking import exclude, top_rows
from edgerec.data.dataset import Dataset, Part
from edgerec.data.labelled_rows import CODES, Histories, LabelledRows, labelled_rows, users_of_events
from edgerec.data.user_feature_rows import users_of
from edgerec.evaluation.device import check_bundle
from edgerec.recipe.task import ImplicitTask

# How many items are retrieved, from which hard negatives are drawn and which are put in order.
CANDIDATES = 100
# Users whose catalogues are scored at a time.
BATCH = 256


@dataclass(frozen=True)
class Retriever:
    """A loaded retrieval bundle of the split of a Dataset.

    Each row is scored from the history before it (``Histories``), by the code that runs on the device. The bundle must
    be of the same split, so the rows of validation and test are as new to it as to a ranker; those of training are not.
    """

    recommender: Recommender
    dataset: Dataset

    @classmethod
    def load(cls, path: Path, dataset: Dataset) -> "Retriever":
        """Load a bundle.

        Raises:
            EdgeRecError: the file is no retrieval bundle, or of another split or catalogue.
        """
        recommender = Recommender.load(path)
        check_bundle(recommender, dataset)
        return cls(recommender, dataset)

    def rows(self, task: ImplicitTask, part: str, seed: int, advance: Callable[[int], None]) -> LabelledRows:
        """Like ``labelled_rows`` of one part, but of the interactions alone whose item is among the ``CANDIDATES`` best
        after the history: a ranker is never asked about others, and beside what is retrieved in their place it would
        learn to distrust retrieval. With ``retrieval`` scores; behind the random negatives of each group are hard ones,
        random items among those best that the user has not up to this part.
        """
        rows, rng = labelled_rows(self.dataset, task, (part,), seed), np.random.default_rng([seed, 1])
        random, known = rows.items.reshape(-1, rows.group), self.dataset.parts <= CODES[part]
        found: list[tuple[np.ndarray, ...]] = []
        for chunk, scores in self._scored(rows):
            best = top_rows(scores, CANDIDATES)
            lines = np.flatnonzero((best == random[chunk, :1]).any(1))
            best, chosen = best[lines], np.arange(rows.groups)[chunk][lines]
            weights = rng.random(best.shape)
            for line, listed, user in zip(weights, best, rows.users[chosen * rows.group], strict=True):
                place = slice(self.dataset.offsets[user], self.dataset.offsets[user + 1])
                line[np.isin(listed, self.dataset.events[place][known[place]])] = 2.0  # behind all others
            hard = np.take_along_axis(best, np.argsort(weights, axis=1)[:, : task.hard], axis=1)
            items = np.concatenate([random[chosen], hard], axis=1)
            found.append((chosen, items, np.take_along_axis(scores[lines], items, axis=1)))
            advance(len(scores))
        chosen, items, retrieval = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        group = items.shape[1]
        events, users = rows.events[chosen * rows.group], rows.users[chosen * rows.group]
        labels = np.tile(np.arange(group) == 0, len(items)).astype(np.float32)
        retrieval = np.where(items > 0, retrieval, np.nan).ravel()
        return LabelledRows(np.repeat(events, group), np.repeat(users, group), items.ravel(), labels, group, retrieval)

    def lists(self, part: Part) -> LabelledRows:
        """The ``CANDIDATES`` best items for the first event of each user in ``part``, best first, with label 1 for that
        event's item, in groups. Targets that are not among them are left out, as no order can help them.
        """
        code = CODES[part]
        places = np.flatnonzero(self.dataset.parts == code)
        users = users_of_events(self.dataset)[places]
        first = np.unique(users, return_index=True)[1]
        targets = LabelledRows(
            places[first], users[first], self.dataset.events[places[first]], np.ones(len(first), np.float32)
        )
        found: list[tuple[np.ndarray, ...]] = []
        for chunk, scores in self._scored(targets):
            best, wanted = top_rows(scores, CANDIDATES), targets.items[chunk, None]
            hits = ((best == wanted) & (wanted > 0)).any(1)
            arrays = (
                best,
                best == wanted,
                np.take_along_axis(scores, best, axis=1),
                np.arange(len(targets))[chunk, None],
            )
            found.append(tuple(array[hits] for array in arrays))
        items, labels, retrieval, lines = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        lines, group = lines.ravel(), items.shape[1]
        return LabelledRows(
            np.repeat(targets.events[lines], group), np.repeat(targets.users[lines], group), items.ravel(),
            labels.ravel().astype(np.float32), group, retrieval.ravel(),
        )  # fmt: skip

    def _scored(self, rows: LabelledRows) -> Iterator[tuple[slice, np.ndarray]]:
        """Scores of the catalogue for each group, float32 [b, N + 1], -inf for items of the history if those are left
        out, NaN without a history; with the place of the groups.
        """
        histories = Histories(self.dataset, len(self.dataset.events))
        recommender, size = self.recommender, self.dataset.items + 1
        firsts = slice(None, None, rows.group)
        places, users = rows.events[firsts], rows.users[firsts]
        features = users_of(recommender.bundle.user_features, self.dataset.user_table)
        for start in range(0, rows.groups, BATCH):
            chunk = slice(start, min(start + BATCH, rows.groups))
            scores = np.full((chunk.stop - start, size), np.nan, np.float32)
            seen = []
            for line, place, user in zip(scores, places[chunk], users[chunk], strict=True):
                seen.append(self.dataset.events[histories.events(place, user)])
                read = recommender.input_rows(seen[-1].tolist(), features[user])
                if read:
                    line[:] = recommender.item_scores(read)[:size]
            exclude(scores, seen if self.dataset.exclude_seen else ())
            yield chunk, scores


@dataclass(frozen=True)
class Retrieved:
    """What was retrieved, on the disk.

    Attributes:
        folder: with ``train.npz``, ``validation.npz``, ``test.npz``, and ``lists.npz`` of validation.
    """

    folder: Path

    def rows(self, name: str) -> LabelledRows:
        """Labelled rows that were saved.

        Raises:
            EdgeRecError: the file is absent or damaged.
        """
        path = self.folder / f"{name}.npz"
        try:
            with np.load(path) as saved:
                group = int(saved["group"])
                events, users = np.repeat(saved["events"], group), np.repeat(saved["users"], group)
                return LabelledRows(events, users, saved["items"], saved["labels"], group, saved["retrieval"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise EdgeRecError(f"{path}: damaged ({error}); delete the folder and make it again") from None

    def save(self, name: str, rows: LabelledRows) -> None:
        """Write labelled rows."""
        assert rows.retrieval is not None
        firsts = slice(None, None, rows.group)
        np.savez(
            self.folder / f"{name}.npz", events=rows.events[firsts], users=rows.users[firsts], items=rows.items,
            labels=rows.labels, retrieval=rows.retrieval, group=rows.group,
        )  # fmt: skip
