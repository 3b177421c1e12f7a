"""Two stages on the device runtime, against the first of them alone, on the same users and targets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from device_runner import Ranker, Recommender, TwoStage
from device_runner.ranking import TOP
from device_runner.recommendations import Recommendations
from edgerec.data.dataset import Dataset, Part, Targets
from edgerec.data.labelled_rows import Histories, LabelledRows, first_places, users_of_events
from edgerec.data.user_feature_rows import users_of
from edgerec.evaluation.comparison import compare
from edgerec.evaluation.device import check_bundle
from edgerec.evaluation.ranking import NEVER, Evaluation
from edgerec.rankers.inputs import moments
from edgerec.rankers.row_inputs import a_day
from edgerec.recipe.task import CANDIDATES


def measure_two_stage(
    recommender: Recommender,
    ranker: Ranker,
    dataset: Dataset,
    part: Part,
    advance: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """``TwoStage`` and its recommender alone, called with raw values for each user's first event in ``part``.
    Items that were appended to the recommender at export are excluded: no target is one.

    Returns:
        ``candidates``; ``recall``, the share of targets among them, which bounds what an order can reach; ``retrieval``
        and ``two_stage``, the quality of each; ``slices``, NDCG@10 of both by whether the target has the time of the
        event before it; ``comparison`` of two stages with retrieval alone, user by user (see ``Comparison``); and
        ``latency``, the report of ``TwoStage``.

    Raises:
        DataError: the recommender is of another split or catalogue.
        EdgeRecError: the user table lacks a feature that a model reads.
    """
    check_bundle(recommender.bundle, dataset)
    targets, ids = dataset.targets(part), [None, *dataset.item_table["item_id"]]
    places = _places(dataset, targets, part)
    contexts = _contexts(ranker, dataset, targets, places)
    theirs = _users(ranker, dataset, targets)
    ours = users_of(recommender.bundle.user_features, dataset.user_table.iloc[targets.users])
    row_of = {item: row for row, item in enumerate(ids)}
    appended = recommender.bundle.items[len(ids) :]
    alone, ordered, both = _Lists(targets, row_of), _Lists(targets, row_of), TwoStage(recommender, ranker, CANDIDATES)
    for number, history in enumerate(targets.histories):
        events = [ids[row] for row in history]
        own = ours[number]
        alone.add(recommender.recommend(events, CANDIDATES, appended, user=own))
        ordered.add(both.recommend(events, CANDIDATES, appended, user=own | theirs[number], context=contexts[number]))
        advance(1)
    found, reference = ordered.evaluation(dataset.items), alone.evaluation(dataset.items)
    return {
        "candidates": CANDIDATES,
        "recall": float((reference.ranks <= CANDIDATES).mean()),
        "retrieval": reference.quality(),
        "two_stage": found.quality(),
        "slices": _slices(reference, found, dataset.times[places] == dataset.times[places - 1]),
        "comparison": compare(reference, found).as_dict(),
        "latency": {**both.report, "backend": recommender.backend},
    }


class _Lists:
    """Lists that were shown, one for each target."""

    def __init__(self, targets: Targets, row_of: Mapping[str | None, int]) -> None:
        self._targets, self._row_of = targets, row_of
        self._ranks: list[int] = []
        self._top = np.zeros((len(targets), TOP), np.int32)

    def add(self, shown: Recommendations) -> None:
        """The list for the next target."""
        rows = [self._row_of[entry.item] for entry in shown]
        number = len(self._ranks)
        target = self._targets.items[number]
        self._ranks.append(1 + rows.index(target) if target in rows else NEVER)
        self._top[number, : len(rows[:TOP])] = rows[:TOP]

    def evaluation(self, items: int) -> Evaluation:
        return Evaluation(np.array(self._ranks, np.int32), self._top, items)


def _places(dataset: Dataset, targets: Targets, part: Part) -> np.ndarray:
    """The places of the targets in the events, int64 [n]; each has an event of its user before it."""
    places = first_places(dataset, part)
    return places[np.searchsorted(users_of_events(dataset)[places], targets.users)]


def _slices(alone: Evaluation, both: Evaluation, same: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "targets": int(which.sum()),
            "retrieval": float(alone.subset(which).ndcg(TOP).mean()),
            "two_stage": float(both.subset(which).ndcg(TOP).mean()),
        }
        for name, which in (("same time as the event before", same), ("later", ~same))
        if which.any()
    ]


def _users(ranker: Ranker, dataset: Dataset, targets: Targets) -> list[dict[str, object]]:
    """What the app would pass of each target's user."""
    table, kinds = dataset.user_table.iloc[targets.users], {one.name: one for one in dataset.features("users")}
    columns: dict[str, Sequence[object]] = {}
    for feature in ranker.features:
        if feature.of != "user":
            continue
        if feature.type == "number":
            columns[feature.name] = pd.to_numeric(table[feature.name], errors="coerce").astype(float).tolist()
        elif feature.type == "category":
            columns[feature.name] = [None if pd.isna(cell) else cell for cell in table[feature.name]]
        else:
            columns[feature.name] = [kinds[feature.name].values(cell) for cell in table[feature.name]]
    return _lines(columns, len(targets))


def _lines(columns: Mapping[str, Sequence[object]], count: int) -> list[dict[str, object]]:
    return [{name: column[number] for name, column in columns.items()} for number in range(count)]


def _contexts(ranker: Ranker, dataset: Dataset, targets: Targets, places: np.ndarray) -> list[dict[str, object]]:
    """What the app would pass of the moment of each target."""
    rows = LabelledRows(places, targets.users, targets.items, np.ones(len(targets), np.float32))
    columns: dict[str, list[object]] = {}
    for feature in ranker.features:
        if feature.of == "context" and feature.type == "number":
            days = Histories(dataset, len(dataset.events)).days_since(rows, a_day(dataset))
            columns[feature.name] = [None if np.isnan(day) else float(day) for day in days]
        elif feature.of == "context":
            codes = moments(dataset.times[places], str(dataset.info["time_unit"]), feature.name)
            columns[feature.name] = [feature.values[code - 1] for code in codes]
    return _lines(columns, len(targets))
