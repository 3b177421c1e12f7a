"""Quality of a bundle, measured through the device runtime: the very code that runs on the device."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from device_runner import Bundle, Recommender
from device_runner.ranking import TOP
from edgerec.data.dataset import Dataset, Targets
from edgerec.data.user_feature_rows import users_of
from edgerec.errors import DataError
from edgerec.evaluation.ranking import NEVER, NO_ITEM, Evaluation, baskets_of, evaluate


def check_split(model: Path, split_fingerprint: str | None, dataset: Dataset) -> None:
    """Refuse a model of another split: it may have been trained on the events it would be tested on.

    Raises:
        DataError: the fingerprints differ.
    """
    if split_fingerprint != dataset.split_fingerprint:
        raise DataError(
            f"{model}: made from split {split_fingerprint}, the data set {dataset.name} has "
            f"{dataset.split_fingerprint}; figures of different splits cannot be compared"
        )


def check_bundle(bundle: Bundle, dataset: Dataset) -> None:
    """Refuse a bundle, of retrieval or ranking, of another split or another catalogue.

    Raises:
        DataError: the bundle was trained on another split, or its vocabulary is not that of the data set.
    """
    check_split(bundle.path, bundle.manifest.get("dataset", {}).get("split_fingerprint"), dataset)
    known = dataset.items + 1
    appended = len(bundle.items) - known
    if bundle.items[1:known] != list(dataset.item_table["item_id"]) or appended != bundle.manifest.get("new_items", 0):
        raise DataError(f"{bundle.path}: its items are not those of the data set {dataset.name}")


def evaluate_bundle(
    recommender: Recommender,
    targets: Targets,
    dataset: Dataset,
    advance: Callable[[int], None] = lambda steps: None,
) -> Evaluation:
    """Evaluate a loaded bundle like ``evaluate`` does a scorer.

    The top-10 lists are those that ``recommend`` would show, with the items that were appended at export excluded, so
    that figures of files with and without them can be compared: no target is an appended item. Ranks beyond the list
    come from ``item_scores``, and so does a list with more exclusions than the graph takes.

    Raises:
        DataError: the bundle was trained on another split, or its vocabulary is not that of the data set.
        EdgeRecError: the user table lacks a feature that the bundle reads.
    """
    bundle = recommender.bundle
    check_bundle(bundle, dataset)
    known = dataset.items + 1
    appended = range(known, len(bundle.items))

    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([recommender.item_scores(history.tolist())[:known] for history in histories])

    users = users_of(bundle.user_features, dataset.user_table.iloc[targets.users])
    inputs = [
        np.array(recommender.input_rows(history.tolist(), user), np.int32)
        for history, user in zip(targets.histories, users, strict=True)
    ]
    by_score = evaluate(scores, targets, dataset, advance, inputs)
    top = np.zeros_like(by_score.top)
    for line, rows, history in zip(top, inputs, targets.histories, strict=True):
        seen = history.tolist() if dataset.exclude_seen else ()
        ids, _ = recommender.recommend_rows(rows.tolist(), [*seen, *appended], TOP)
        line[: len(ids)] = ids
    ranks = ranks_as_shown(by_score.ranks[:, None], targets.items[:, None], top)[:, 0]
    baskets, basket_ranks = baskets_of(targets), by_score.basket_ranks
    if baskets is not None and basket_ranks is not None:
        basket_ranks = ranks_as_shown(basket_ranks, baskets, top)
    return Evaluation(ranks, top, by_score.items, basket_ranks)


def ranks_as_shown(by_score: np.ndarray, items: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Ranks int32 [n, R] of the rows ``items`` int [n, R]: the place in the list ``top`` [n, 10] that was shown.

    An item that the list lacks keeps its rank ``by_score`` int32 [n, R], but ranks behind the list at best.
    """
    shown = (items[:, :, None] == top[:, None, :]) & (items > 0)[:, :, None]
    ranked = (by_score != NEVER) & (by_score != NO_ITEM)
    behind = np.where(ranked, np.maximum(by_score, TOP + 1), by_score)
    return np.where(shown.any(2), shown.argmax(2) + 1, behind).astype(np.int32)
