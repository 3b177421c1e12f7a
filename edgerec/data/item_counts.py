"""Counts of items from a file, such as the sales of the last weeks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from edgerec.errors import DataError


def read_item_counts(path: Path, ids: Sequence[str], say: Callable[[str], None]) -> np.ndarray:
    """Counts float64 [N + 1] by row, 0 for items without a line, from a CSV file with a header whose first column is
    the item id and whose second is the count; lines of one item are summed.

    ``say`` is told how many lines are of items that are not in ``ids``, the raw ids of rows 1..N.

    Raises:
        DataError: the file cannot be read, a count is not a number or is negative, or no line is of a known item.
    """
    try:
        table = pd.read_csv(path, dtype=str, usecols=[0, 1], keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"convert.prior: {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"convert.prior: {path}: not a CSV file with an item id and a count: {error}") from None
    counts = pd.to_numeric(table.iloc[:, 1], errors="coerce").to_numpy(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(counts) | (counts < 0))):
        raise DataError(
            f"convert.prior: {path}, line {wrong[0] + 2}: column {table.columns[1]} holds "
            f"{table.iloc[wrong[0], 1]!r}, which is not a count; write a number of 0 or more"
        )
    rows = pd.Index(ids).get_indexer(pd.Index(table.iloc[:, 0])) + 1
    if not (rows > 0).any():
        raise DataError(
            f"convert.prior: {path}: none of its {len(table):,} lines is of an item of the catalogue; column "
            f"{table.columns[0]} must hold the item ids of the data set"
        )
    say(f"convert.prior: {(rows > 0).sum():,} lines read, {(rows == 0).sum():,} of unknown items left out")
    return np.bincount(rows[rows > 0], counts[rows > 0], len(ids) + 1)
