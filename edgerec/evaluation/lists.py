"""What the top-10 lists are like, apart from their hits: how popular, how surprising, how varied."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import sparse

from edgerec.data.dataset import TRAIN, Dataset, Targets
from edgerec.data.feature_encoding import Feature
from edgerec.evaluation.ranking import Evaluation

BATCH = 4096


def list_figures(evaluation: Evaluation, targets: Targets, dataset: Dataset) -> dict[str, float]:
    """``popularity_lift``, ``novelty`` and, where items have features, ``diversity`` of the top-10 lists.

    A figure that is not defined (no lists, no histories, no item features) is left out.
    """
    figures = {
        "popularity_lift": popularity_lift(evaluation.top, targets, dataset),
        "novelty": novelty(evaluation.top, dataset),
        "diversity": diversity(evaluation.top, dataset.item_table, dataset.features("items")),
    }
    return {name: value for name, value in figures.items() if value is not None}


def popularity_lift(top: np.ndarray, targets: Targets, dataset: Dataset) -> float | None:
    """How much more popular the listed items are than those of the histories; above 1, more popular.

    Popularity is the number of training interactions of an item. It is averaged over each user's list, then over
    users, and divided by the same average over histories. Users without a history or a list are left out.

    Args:
        top: rows of the lists, int [n, k], 0 where a list is shorter.

    Returns:
        The ratio, ``None`` if no user has both a history and a list.
    """
    popularity = dataset.popularity.astype(np.float64)
    popularity[0] = 0
    lengths = np.array([len(history) for history in targets.histories], np.int64)
    users = np.repeat(np.arange(len(lengths)), lengths)
    events = np.concatenate([np.zeros(0, np.int32), *targets.histories])
    chosen = np.bincount(users, weights=popularity[events], minlength=len(lengths))
    shown, listed = popularity[top].sum(1), (top > 0).sum(1)
    counted = (lengths > 0) & (listed > 0)
    if not counted.any():
        return None
    return float((shown[counted] / listed[counted]).mean() / (chosen[counted] / lengths[counted]).mean())


def novelty(top: np.ndarray, dataset: Dataset) -> float | None:
    """Mean self-information of the listed items in bits (Zhou et al. 2010); ``None`` if all lists are empty.

    It is -log2 of the share of users who have the item in training; an item that nobody has counts as if one user
    had it. ``top`` holds the rows of the lists, int [n, k], 0 where a list is shorter.
    """
    users = np.repeat(np.arange(dataset.users), np.diff(dataset.offsets))
    training = dataset.parts == TRAIN
    # A user who has an item twice counts once.
    held = np.unique(users[training] * (dataset.items + 1) + dataset.events[training]) % (dataset.items + 1)
    owners = np.bincount(held, minlength=dataset.items + 1)
    listed = top[top > 0]
    return float(-np.log2(np.maximum(owners[listed], 1) / dataset.users).mean()) if len(listed) else None


def diversity(top: np.ndarray, item_table: pd.DataFrame, features: Sequence[Feature]) -> float | None:
    """Intra-list diversity: mean distance between the items of a list, averaged over lists; 0 to 1.

    The distance of two items is the mean, over feature columns, of 1 - Jaccard of their value sets: 0 or 1 for a plain
    category, anything between for a column of several values ("Comedy|Drama"). A column does not count for a pair
    that has no value in it. Numeric columns never count, nor do columns that work as an id, where every value belongs
    to one item.

    Args:
        top: rows of the lists, int [n, k], 0 where a list is shorter.
        item_table: one line an item, in order of rows.
        features: the item features of the data set.

    Returns:
        The diversity, ``None`` without a feature that counts, or without a list of two items.
    """
    columns = [
        matrix
        for feature in features
        if feature.kind != "numeric" and (matrix := _values(item_table[feature.name], feature)) is not None
    ]
    pairs = np.array(list(combinations(range(top.shape[1]), 2)), np.int64).reshape(-1, 2)
    if not columns:
        return None
    means = []
    for start in range(0, len(top), BATCH):
        batch = top[start : start + BATCH]
        distances = _distances(batch[:, pairs[:, 0]].ravel(), batch[:, pairs[:, 1]].ravel(), columns)
        distances = distances.reshape(len(batch), len(pairs))
        counted = ~np.isnan(distances)
        lists = counted.any(1)
        means.append(np.nansum(distances, 1)[lists] / counted.sum(1)[lists])
    every = np.concatenate([np.zeros(0), *means])
    return float(every.mean()) if len(every) else None


def _distances(first: np.ndarray, second: np.ndarray, columns: list[sparse.csr_matrix]) -> np.ndarray:
    """Distance of each of p pairs of rows, float64 [p]; NaN where either row is padding, or no column counts."""
    total, counted = np.zeros(len(first)), np.zeros(len(first))
    for matrix in columns:
        sizes = np.asarray(matrix.sum(1)).ravel()
        common = np.asarray(matrix[first].multiply(matrix[second]).sum(1)).ravel()
        union = sizes[first] + sizes[second] - common
        total += np.where(union > 0, 1 - common / np.maximum(union, 1), 0)
        counted += union > 0
    defined = (counted > 0) & (first > 0) & (second > 0)
    return np.where(defined, total / np.maximum(counted, 1), np.nan)


def _values(column: pd.Series, feature: Feature) -> sparse.csr_matrix | None:
    """Which values each row has, sparse 0/1 [N + 1, values] with row 0 empty; ``None`` if the column is an id."""
    cells = sorted({(row, value) for row, cell in enumerate(column, 1) for value in feature.values(cell)})
    codes, names = pd.factorize(np.array([value for _, value in cells], object))
    if len(names) == len(cells):
        return None
    places = (np.array([row for row, _ in cells], np.int64), codes)
    return sparse.csr_matrix((np.ones(len(cells)), places), shape=(len(column) + 1, len(names)))
