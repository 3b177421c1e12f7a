"""Baselines of ranking tasks: what a model has to beat. Unlike the models, some of them know who the user is."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from edgerec.data.labelled_rows import LabelledRows
from edgerec.evaluation.calibration import calibrated

# Training rows and rows to score -> scores float32 [n]. ``sizes`` are users and items, with row 0.
LabelBaseline = Callable[[LabelledRows, LabelledRows, tuple[int, int]], np.ndarray]
# Regularisation of biases (Koren et al. 2009), and of the factors, with their number and rounds.
BIAS, FACTOR, FACTORS, ROUNDS = 10.0, 8.0, 10, 12


def global_mean(train: LabelledRows, rows: LabelledRows, sizes: tuple[int, int]) -> np.ndarray:
    """The mean training label for every row."""
    return np.full(len(rows), train.labels.mean(), np.float32)


def user_and_item_bias(train: LabelledRows, rows: LabelledRows, sizes: tuple[int, int]) -> np.ndarray:
    """Mean plus a bias of the item and one of the user, each drawn to zero where there are few rows."""
    mean, users, items = biases(train, sizes)
    return (mean + users[rows.users] + items[rows.items]).astype(np.float32)


def matrix_factorization(train: LabelledRows, rows: LabelledRows, sizes: tuple[int, int]) -> np.ndarray:
    """Biases plus the inner product of factors of user and item, by alternating least squares on what the biases leave
    (Koren et al. 2009).
    """
    mean, user_bias, item_bias = biases(train, sizes)
    left = train.labels - mean - user_bias[train.users] - item_bias[train.items]
    rng = np.random.default_rng(0)
    factors = [rng.normal(0, 0.1, (size, FACTORS)) for size in sizes]
    sides = [(train.users, train.items), (train.items, train.users)]
    for _ in range(ROUNDS):
        for side, (own, other) in enumerate(sides):
            order = np.argsort(own, kind="stable")
            for group in np.split(order, np.flatnonzero(np.diff(own[order])) + 1):
                read = factors[1 - side][other[group]]
                square = read.T @ read + FACTOR * np.eye(FACTORS)
                factors[side][own[group[0]]] = np.linalg.solve(square, read.T @ left[group])
    known = np.isin(rows.items, np.unique(train.items))
    products = (factors[0][rows.users] * factors[1][rows.items]).sum(1) * known
    return (mean + user_bias[rows.users] + item_bias[rows.items] + products).astype(np.float32)


def popularity(train: LabelledRows, rows: LabelledRows, sizes: tuple[int, int]) -> np.ndarray:
    """The share of positive rows among the item's training rows, drawn to that of all where there are few."""
    mean = float(train.labels.mean())
    counts = np.bincount(train.items, minlength=sizes[1])
    sums = np.bincount(train.items, train.labels, minlength=sizes[1])
    return ((sums + BIAS * mean) / (counts + BIAS)).astype(np.float32)[rows.items]


def retrieval_alone(validation: LabelledRows, rows: LabelledRows) -> np.ndarray:
    """The score of the retrieval model as a chance, scaled on validation rows; that of all where it has none."""
    assert validation.retrieval is not None and rows.retrieval is not None
    known = np.isfinite(validation.retrieval)
    mean, deviation = validation.retrieval[known].mean(), validation.retrieval[known].std() or 1.0
    columns = [np.nan_to_num((part.retrieval - mean) / deviation, nan=0.0) for part in (validation, rows)]
    scale, shift = calibrated(columns[0], validation.labels)
    return expit(scale * columns[1] + shift).astype(np.float32)


def biases(train: LabelledRows, sizes: tuple[int, int]) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean, user biases [users] and item biases [items], fitted in turns."""
    mean = float(train.labels.mean())
    users, items = np.zeros(sizes[0]), np.zeros(sizes[1])
    for _ in range(10):
        for own, of, other, of_other in (
            (train.items, items, train.users, users),
            (train.users, users, train.items, items),
        ):
            left = train.labels - mean - of_other[other]
            of[:] = np.bincount(own, left, len(of)) / (np.bincount(own, minlength=len(of)) + BIAS / 2)
    items[0] = 0.0
    return mean, users, items


def label_baselines(label: str) -> dict[str, LabelBaseline]:
    """The baselines of a task by name."""
    if label == "rating":
        return {
            "global-mean": global_mean,
            "user-and-item-bias": user_and_item_bias,
            "matrix-factorization": matrix_factorization,
        }
    return {"popularity": popularity}
