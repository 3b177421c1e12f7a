"""A bundle measured through the device runtime: the very code the device runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from device_runner import Recommender
from edgerec.data.dataset import Dataset, Targets
from edgerec.data.user_features import users_of
from edgerec.errors import DataError
from edgerec.evaluation.ranking import NEVER, TOP, Evaluation, evaluate


def check_split(model: Path, split_fingerprint: str | None, dataset: Dataset) -> None:
    """Refuse a model of another split: it may have been trained on what it would be tested on.

    Raises:
        DataError: the fingerprints differ.
    """
    if split_fingerprint != dataset.split_fingerprint:
        raise DataError(
            f"{model}: made from split {split_fingerprint}, the data set {dataset.name} has "
            f"{dataset.split_fingerprint}; figures of different splits cannot be compared"
        )


def evaluate_bundle(
    recommender: Recommender,
    targets: Targets,
    dataset: Dataset,
    advance: Callable[[int], None] = lambda steps: None,
) -> Evaluation:
    """Evaluate a loaded bundle as ``evaluate`` does a scorer.

    The lists are those that ``recommend`` would show with the items that were appended at export excluded: no target is
    one, and so figures of files with and without them compare. What stands behind comes from ``item_scores``, as
    does a list with more exclusions than the graph takes.

    Raises:
        DataError: the bundle was trained on another split, or its vocabulary is not the data set's.
        EdgeRecError: the user table lacks a feature that the bundle is told.
    """
    bundle = recommender.bundle
    check_split(bundle.path, bundle.manifest.get("dataset", {}).get("split_fingerprint"), dataset)
    known = dataset.items + 1
    appended = range(known, len(bundle.items))
    expected = list(dataset.item_table["item_id"])
    if bundle.items[1:known] != expected or len(appended) != bundle.manifest.get("new_items", 0):
        raise DataError(f"{bundle.path}: its items are not those of the data set {dataset.name}")

    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([recommender.item_scores(history.tolist())[:known] for history in histories])

    users = users_of(bundle.user_features, dataset.user_table.iloc[targets.users])
    read = [
        np.array(recommender.read(history.tolist(), user), np.int32)
        for history, user in zip(targets.histories, users, strict=True)
    ]
    by_score = evaluate(scores, targets, dataset, advance, read)
    top = np.zeros_like(by_score.top)
    for line, rows, history in zip(top, read, targets.histories, strict=True):
        seen = history.tolist() if dataset.exclude_seen else ()
        ids, _ = recommender.recommend_rows(rows.tolist(), [*seen, *appended], TOP)
        line[: len(ids)] = ids
    shown = top == targets.items[:, None]
    in_list = shown.any(1) & (targets.items > 0)
    # A target that the list lacks stands behind it, whatever its score says.
    behind = np.where(by_score.ranks == NEVER, NEVER, np.maximum(by_score.ranks, TOP + 1))
    ranks = np.where(in_list, shown.argmax(1) + 1, behind).astype(np.int32)
    return replace(by_score, ranks=ranks, top=top)
