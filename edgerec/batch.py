"""Recommendations for every user of a table, by a bundle and the device's own code."""

import io
from pathlib import Path

import pandas as pd

from device_runner import Recommender
from edgerec.artifact import write_file
from edgerec.data.sources.places import File
from edgerec.data.sources.table import Say, require_columns
from edgerec.data.sources.tables import open_table
from edgerec.errors import DataError
from edgerec.progress import Progress
from edgerec.recipe import Columns

# What a file is written as, by its suffix.
WRITERS = {".csv": "to_csv", ".parquet": "to_parquet"}


def recommend_all(bundle: Path, histories: Path, columns: Columns, k: int, out: Path, progress: Progress) -> int:
    """Write the ``k`` best items for every user of a table to ``out``: ``user_id``, ``place`` (1 is best), ``item_id``,
    ``score``, ``title``, and ``source`` (``model`` or ``popularity``).

    Args:
        histories: a table in any form that ``[data] path`` takes; ``columns`` says which of its columns count.
        out: a ``.csv`` or ``.parquet`` file.

    Returns:
        The number of users.

    Raises:
        DataError: the table cannot be read or lacks a column, a time is not a number or an ISO 8601 date, or ``out``
            has an unsupported suffix.
    """
    if out.suffix not in WRITERS:
        raise DataError(f"{out}: unknown kind of file {out.suffix!r}; name it {' or '.join('*' + s for s in WRITERS)}")
    recommender = Recommender.load(bundle)
    by_user = read_histories(histories, columns, progress.say)
    lines = []
    with progress.steps("recommending", len(by_user)) as bar:
        for user, history in by_user.items():
            found = recommender.recommend(history, k)
            lines += [(user, n, e.item, e.score, e.title, found.source) for n, e in enumerate(found, 1)]
            bar.advance()
    table = pd.DataFrame(lines, columns=["user_id", "place", "item_id", "score", "title", "source"])
    content = io.BytesIO()
    getattr(table, WRITERS[out.suffix])(content, index=False)
    write_file(out, content.getvalue())
    return len(by_user)


def read_histories(path: Path, columns: Columns, say: Say) -> dict[str, list[str]]:
    """Each user's item ids, oldest first, in order of the users' first rows. Rows that cannot be read, or lack a user
    or an item, are counted in a message and left out.

    Raises:
        DataError: see :func:`recommend_all`.
    """
    table = open_table(File(path))
    wanted: dict[str, str | None] = {"--user": columns.user, "--item": columns.item, "--time": columns.time}
    require_columns(table, wanted)
    names = [name for name in wanted.values() if name is not None]
    records = list(table.records(names, say))
    rows = [values for _, values, problem in records if problem is None and all((v or "").strip() for v in values[:2])]
    if len(rows) < len(records):
        say(f"{path}: {len(records) - len(rows):,} of {len(records):,} rows have no user or item, or cannot be read")
    frame = pd.DataFrame(rows, columns=["user", "item", "time"][: len(names)], dtype=object)
    users = frame["user"].unique()
    if columns.time is not None:
        frame = frame.iloc[_order(frame["time"], path, columns.time)]
    items = frame.groupby("user")["item"].apply(list)
    return {str(user): items[user] for user in users}


def _order(times: pd.Series, path: Path, column: str) -> pd.Series:
    """The places of the rows in order of time; ties in the order of the file."""
    for parsed in (
        pd.to_numeric(times, errors="coerce"),
        pd.to_datetime(times, errors="coerce", utc=True, format="ISO8601"),
    ):
        if parsed.notna().all():
            return parsed.reset_index(drop=True).sort_values(kind="stable").index.to_series()
    raise DataError(f"{path}: the column {column!r} is not of numbers or of ISO 8601 dates throughout; see --time")
