"""User features as rows that a model reads: learned from training users, encoded by the code that runs on devices."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from device_runner import EdgeRecError
from device_runner.user_features import UserFeature, rows_of, user_rows
from edgerec.data.feature_encoding import Feature, chosen_features, finite_numbers

# A value that fewer training users have gets no row: it could identify them, and little can be learned from it.
MIN_USERS = 10
# A numeric feature is cut into at most so many ranges, of about equally many training users each.
RANGES = 8


def fit_user_features(
    names: Sequence[str], features: Sequence[Feature], table: pd.DataFrame, first: int
) -> list[UserFeature]:
    """Learn the features ``names`` from ``table`` (``Dataset.user_table``), and give them the rows from ``first`` on.

    Raises:
        EdgeRecError: there is no feature of a name, it has several values a user, or no value is frequent enough.
    """
    fitted: list[UserFeature] = []
    for feature in chosen_features(names, features, "user"):
        fitted.append(_fit(feature, table.loc[table["trained"], feature.name], first + rows_of(fitted)))
    return fitted


def _fit(feature: Feature, column: pd.Series, first: int) -> UserFeature:
    if feature.kind == "multi":
        raise EdgeRecError(f"model.user_features: {feature.name!r} has several values a user; give one, or a number")
    if feature.kind == "numeric":
        return UserFeature(feature.name, first, edges=_edges(finite_numbers(column)))
    counts = column.dropna().str.strip().value_counts()
    values = tuple(value for value in feature.vocabulary if counts.get(value, 0) >= MIN_USERS)
    if not values:
        raise EdgeRecError(f"model.user_features: {feature.name!r} has no value that {MIN_USERS} users share")
    return UserFeature(feature.name, first, values=values)


def _edges(numbers: np.ndarray) -> tuple[float, ...]:
    """Bounds of ranges that hold ``MIN_USERS`` numbers or more each, rounded to two digits: no bound is the number of a
    single user.
    """
    if len(numbers) == 0:
        return ()
    wanted = np.quantile(numbers, np.linspace(0, 1, RANGES + 1)[1:-1])
    edges: list[float] = []
    for edge in sorted({float(f"{number:.1e}") for number in wanted}):
        below = numbers[numbers < edge]
        inside = below[below >= edges[-1]] if edges else below
        if min(len(inside), len(numbers) - len(below)) >= MIN_USERS:
            edges.append(edge)
    return tuple(edges)


def users_of(features: Sequence[UserFeature], table: pd.DataFrame) -> list[dict[str, object]]:
    """The values of each user's features, by name, one dictionary a row of the user table.

    Raises:
        EdgeRecError: the table lacks a column.
    """
    names = [feature.name for feature in features]
    if absent := [name for name in names if name not in table]:
        raise EdgeRecError(
            f"the user table lacks the feature {', '.join(absent)}, which the model reads; it has: "
            f"{', '.join(map(str, table))}"
        )
    return [dict(zip(names, line, strict=True)) for line in table[names].to_numpy(object)]


def encode_users(features: Sequence[UserFeature], table: pd.DataFrame) -> list[np.ndarray]:
    """The rows of each user's known values, one int32 [at most len(features)] a row of the user table.

    Raises:
        EdgeRecError: the table lacks a column.
    """
    return [np.array(user_rows(features, user), np.int32) for user in users_of(features, table)]
