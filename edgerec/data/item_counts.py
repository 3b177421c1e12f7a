"""Counts of items from a file, such as the sales of the last weeks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from edgerec.errors import DataError

FORM = "write a CSV file with a header and two columns, item id and count"


def read_item_counts(path: Path, ids: Sequence[str], say: Callable[[str], None]) -> np.ndarray:
    """Counts float64 [N + 1] by row, 0 for items without a line, from a CSV file with a header and two columns, the
    item id and the count. Lines of one item are summed.

    ``say`` is told how many lines are of items that are not in ``ids``, the raw ids of rows 1..N.

    Raises:
        DataError: the file is not of this form, a count is not a number of 0 or more, or no known item has a count
            above 0.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except FileNotFoundError:
        raise DataError(f"convert.prior: {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"convert.prior: {path}: cannot be read: {error}; {FORM}") from None
    if table.shape[1] != 2:
        raise DataError(f"convert.prior: {path}: has the columns {', '.join(map(str, table.columns))}; {FORM}")
    item, count = table.columns
    if not np.isnan(pd.to_numeric(pd.Series([count]), errors="coerce")[0]):
        raise DataError(f"convert.prior: {path}, line 1: {item},{count} is not a header; {FORM}")
    table = table[(table[item] != "") | (table[count] != "")]  # blank lines
    counts = pd.to_numeric(table[count], errors="coerce").to_numpy(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(counts) | (counts < 0))):
        raise DataError(
            f"convert.prior: {path}, line {table.index[wrong[0]] + 2}: column {count} holds "
            f"{table[count].iloc[wrong[0]]!r}, which is not a count; write a number of 0 or more"
        )
    rows = pd.Index(ids).get_indexer(pd.Index(table[item])) + 1
    known = rows > 0
    if not counts[known].any():
        raise DataError(
            f"convert.prior: {path}: none of its {len(table):,} lines gives a count above 0 to an item of the "
            f"catalogue; column {item} must hold the item ids of the data set"
        )
    say(f"convert.prior: {known.sum():,} lines read, {(~known).sum():,} of unknown items left out")
    return np.bincount(rows[known], counts[known], len(ids) + 1)
