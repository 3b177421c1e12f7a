"""User features as a model reads them: learned from training users, encoded by the device's own code."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from device_runner import EdgeRecError
from device_runner.user_features import UserFeature, user_rows
from edgerec.data.features import Feature

# A value of fewer training users has no row: it would tell who they are, and teaches little.
MIN_USERS = 10
# Ranges of a numeric feature, each with as many training users.
RANGES = 8


def fit_user_features(
    names: Sequence[str], features: Sequence[Feature], table: pd.DataFrame, first: int
) -> list[UserFeature]:
    """The features ``names`` of ``table`` (``Dataset.user_table``), with rows from ``first`` on.

    Raises:
        EdgeRecError: a name is no feature, or one with several values.
    """
    known = {feature.name: feature for feature in features}
    fitted = []
    for name in names:
        if name not in known:
            raise EdgeRecError(
                f"model.user_features: the user table has no feature {name!r}; it has: {', '.join(known) or 'none'}"
            )
        feature = _fit(known[name], table.loc[table["trained"], name], first)
        fitted.append(feature)
        first += feature.rows
    return fitted


def _fit(feature: Feature, column: pd.Series, first: int) -> UserFeature:
    if feature.kind == "multi":
        raise EdgeRecError(f"model.user_features: {feature.name!r} has several values a user; give one, or a number")
    if feature.kind == "numeric":
        numbers = pd.to_numeric(column, errors="coerce").dropna()
        inner = np.linspace(0, 1, RANGES + 1)[1:-1]
        edges = np.unique(np.quantile(numbers, inner)) if len(numbers) >= RANGES * MIN_USERS else []
        return UserFeature(feature.name, first, edges=tuple(float(edge) for edge in edges))
    counts = column.dropna().str.strip().value_counts()
    values = tuple(value for value in feature.vocabulary if counts.get(value, 0) >= MIN_USERS)
    if not values:
        raise EdgeRecError(f"model.user_features: {feature.name!r} has no value that {MIN_USERS} users share")
    return UserFeature(feature.name, first, values=values)


def encode_users(features: Sequence[UserFeature], table: pd.DataFrame) -> list[np.ndarray]:
    """Rows of each user's known values, int32 [≤ len(features)] each, for the lines of a user table."""
    names = [feature.name for feature in features]
    lines = table[names].to_numpy(object)
    return [np.array(user_rows(features, dict(zip(names, line, strict=True))), np.int32) for line in lines]
