from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from edgerec.data.prepare import prepare
from edgerec.errors import DataError
from edgerec.recipe import Recipe


def prepared(recipe: Recipe, folder: Path) -> Dataset:
    prepare(recipe, folder, "key", lambda text: None)
    return Dataset.load(folder)


def table_of(rows: list[tuple[str, str, int]], folder: Path, **sections: dict[str, object]) -> Dataset:
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["user_id", "item_id", "t"]).to_csv(folder / "t.csv", index=False)
    data = {"path": str(folder / "t.csv"), "columns": {"time": "t"}, "min_user_events": 1, "repeats": "all"}
    return prepared(Recipe.model_validate({"data": data, **sections}), folder / "dataset")


@pytest.fixture(scope="module")
def temporal(purchases: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(small_recipe(purchases, split={"kind": "temporal"}), tmp_path_factory.mktemp("temporal") / "d")


def test_a_temporal_split_cuts_all_users_at_the_same_times(temporal: Dataset) -> None:
    times = pd.read_parquet(temporal.folder / "interactions.parquet")["t"].to_numpy()
    by_part = [times[temporal.parts == part] for part in (TRAIN, VALIDATION, TEST)]
    assert by_part[0].max() < temporal.info["validation_from"] <= by_part[1].min()
    assert by_part[1].max() < temporal.info["test_from"] <= by_part[2].min()
    shares = [len(part) / len(times) for part in by_part]
    # The cuts are at 80 and 90 % of all rows; of the later ones more are repeats, which are not kept.
    assert shares[0] < 0.9 and min(shares[1:]) > 0.03


def test_temporal_targets_are_first_events_with_all_that_is_known_before(temporal: Dataset) -> None:
    targets = temporal.targets("test")
    assert len(set(targets.users)) == len(targets) > 100
    for user, history, item in zip(targets.users, targets.histories, targets.items, strict=True):
        events = temporal.events[temporal.offsets[user] : temporal.offsets[user + 1]]
        parts = temporal.parts[temporal.offsets[user] : temporal.offsets[user + 1]]
        before = events[parts < TEST]
        assert np.array_equal(history, before[before > 0])
        assert item == events[len(before)]


def test_cold_items_and_users_are_counted(temporal: Dataset, tmp_path: Path) -> None:
    assert temporal.info["cold_interactions"] == (temporal.events == 0).sum()
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("a", "x", 4), ("a", "z", 5), ("new", "x", 6), ("new", "w", 7)]
    dataset = table_of(rows, tmp_path, split={"kind": "temporal", "validation": 0.2, "test": 0.3})
    assert (dataset.info["cold_items"], dataset.info["cold_users"]) == (2, 1)
    # Of the test's events (z, x, w) only z follows a known one of its user.
    assert [dataset.user_ids[user] for user in dataset.targets("test").users] == ["a"]


def test_a_temporal_split_without_times_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no two times to cut at.*data\.columns\.time"):
        table_of([("a", "x", 1)] * 9, tmp_path, split={"kind": "temporal"})


EVENT = st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwxyz"), st.integers(0, 9))
ROWS = st.lists(EVENT, min_size=4, max_size=40)


@given(rows=ROWS, replacement=st.lists(st.sampled_from("uvwxyzNM"), min_size=8, max_size=8))
@settings(max_examples=40, deadline=None)
def test_nothing_learned_from_training_changes_with_the_held_out_rows(tmp_path_factory, rows, replacement) -> None:
    """Vocabulary, popularity and feature scaling, when validation and test items are swapped for others."""
    folder = tmp_path_factory.mktemp("leak")
    items = pd.DataFrame({"id": list("uvwxyzNM"), "price": [1.0, 2, 3, 4, 5, 6, 1e6, -1e6], "kind": list("ababccQR")})
    items.to_csv(folder / "items.csv", index=False)
    tables = {"items": {"path": str(folder / "items.csv"), "id": "id", "numeric": ["price"]}}

    def learned(name: str, rows: list[tuple[str, str, int]]) -> tuple[object, ...]:
        (folder / name).mkdir()
        rows = [("e", "u", 1), ("e", "v", 2), *rows]  # two events only train: there are two items to rank
        pd.DataFrame(rows, columns=["user_id", "item_id", "t"]).to_csv(folder / name / "t.csv", index=False)
        data = {"path": str(folder / name / "t.csv"), "columns": {"time": "t"}, "min_user_events": 1, "repeats": "all"}
        dataset = prepared(Recipe.model_validate({"data": {**data, **tables}}), folder / name / "d")
        return (
            list(dataset.item_table["item_id"]),
            dataset.popularity.tolist(),
            (dataset.folder / "features.json").read_text(),
            dataset.parts.tolist(),
        )

    numbered = [(user, item, time * 100 + place) for place, (user, item, time) in enumerate(rows)]
    held_out = {
        row for user in "abcd" if len(own := sorted((r for r in numbered if r[0] == user), key=lambda r: r[2])) >= 3
        for row in own[-2:]
    }  # fmt: skip
    other = [
        (user, replacement[place % 8] if (user, item, time) in held_out else item, time)
        for place, (user, item, time) in enumerate(numbered)
    ]
    assert learned("one", numbered) == learned("other", other)
