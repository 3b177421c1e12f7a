"""What ``dataset.json`` says of a Dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, parquet_files, read_events, split_fingerprint
from edgerec.data.sources.places import Tables
from edgerec.recipe import Recipe

PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def summarise(recipe: Recipe, tables: Tables, folder: Path, funnel: dict[str, Any]) -> dict[str, Any]:
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
        "has_titles": "title" in pq.read_schema(parquet_files(folder / "items.parquet")[0]).names,
        "funnel": {**funnel, **{name: int(parts[code]) for name, code in PARTS.items()}},
    }


def _column(path: Path, name: str) -> list[str]:
    return [value for file in parquet_files(path) for value in pq.read_table(file, columns=[name])[name].to_pylist()]
