"""Datasets of a few events, written by hand, for tests that count by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from edgerec.data.dataset import Dataset
from edgerec.recipe import Model
from edgerec.recommenders.architecture import Architecture


def architecture(**model: object) -> Architecture:
    """The architecture that ``[model]`` with these keys asks for."""
    return Architecture.of_recipe(TypeAdapter(Model).validate_python(model))


def tiny_dataset(
    folder: Path,
    users: Sequence[Sequence[int]],
    times: Sequence[Sequence[int]] | None = None,
    features: dict[str, Sequence[object]] | None = None,
    **info: object,
) -> Dataset:
    """Leave-one-out over each user's rows, as ``edgerec data prepare`` would write it (rows keep the given numbers)."""
    events = [row for user in users for row in user]
    parts = [part for user in users for part in [0] * (len(user) - 2) + [1, 2]]
    items = max(events)
    table = pd.DataFrame(
        {
            "user_row": np.repeat(np.arange(len(users)), [len(user) for user in users]),
            "item_row": np.array(events, np.int32),
            "t": np.array([t for user in times or [range(len(user)) for user in users] for t in user], np.int64),
            "part": np.array(parts, np.int8),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "interactions.parquet", index=False)
    training = table[table["part"] == 0]["item_row"]
    rows = np.arange(1, items + 1)
    pd.DataFrame(
        {
            "item_row": rows,
            "item_id": [f"i{row}" for row in rows],
            "interactions": np.bincount(training, minlength=items + 1)[1:],
            **(features or {}),
        }
    ).to_parquet(folder / "items.parquet", index=False)
    pd.DataFrame({"user_id": [f"u{user}" for user in range(len(users))]}).to_parquet(
        folder / "users.parquet", index=False
    )
    described = {
        "name": "tiny", "users": len(users), "items": items, "interactions": len(events), "repeats": "first",
        "split": "leave-one-out", "split_fingerprint": "tiny", **info,
    }  # fmt: skip
    (folder / "features.json").write_text(json.dumps({"items": [], "users": []}))
    (folder / "dataset.json").write_text(json.dumps(described))
    return Dataset.load(folder)
