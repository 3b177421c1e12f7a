"""What ``dataset.json`` says of a Dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, read_events, split_fingerprint
from edgerec.data.sources.places import Tables
from edgerec.recipe import RankingRecipe, Recipe

PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def summarise(recipe: Recipe | RankingRecipe, tables: Tables, folder: Path, funnel: dict[str, Any]) -> dict[str, Any]:
    """Name, source, counts, split and its fingerprint of the tables in ``folder``, ready for JSON.

    Args:
        funnel: how many rows were read, and how many each step removed; the sizes of the parts are added.
    """
    users = _column(folder / "users.parquet", "user_id")
    items = _column(folder / "items.parquet", "item_id")
    parts, cold = np.zeros(len(PARTS), np.int64), 0
    for rows, part in read_events(folder, ["item_row", "part"]):
        parts += np.bincount(part, minlength=len(PARTS))
        cold += int((rows == 0).sum())
    columns = (array for name in ("user_row", "item_row", "part") for (array,) in read_events(folder, [name]))
    return {
        "name": recipe.data.name,
        "source": [{"table": name, **place.described()} for name, place in tables.places().items()],
        "users": len(users),
        "items": len(items),
        "interactions": int(parts.sum()),
        "cold_interactions": cold,
        "repeats": recipe.data.repeats,
        "split": recipe.split.kind,
        "split_fingerprint": split_fingerprint(users, items, columns),
        "has_titles": "title" in pq.read_schema(folder / "items.parquet").names,
        "ties": _ties(folder),
        "funnel": {**funnel, **{name: int(parts[code]) for name, code in PARTS.items()}},
    }


def _ties(folder: Path) -> float | None:
    """Share of events with the same user and time as the event before them, ``None`` where there are no times."""
    same, events, before = 0, 0, (-1, 0)
    for users, times in read_events(folder, ["user_row", "t"]):
        if np.issubdtype(times.dtype, np.floating):  # NULL: the table has no times
            return None
        users, times = np.append(before[0], users), np.append(before[1], times)
        same += int(((users[1:] == users[:-1]) & (times[1:] == times[:-1])).sum())
        events, before = events + len(times) - 1, (users[-1], times[-1])
    return same / max(1, events)


def _column(path: Path, name: str) -> list[str]:
    return list(pq.read_table(path, columns=[name])[name].to_pylist())
