"""Attributes of the items from the item table to a list on the device."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import small_recipe
from tiny import tiny_dataset

from device_runner import Bundle, Recommender
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError, RecipeError
from edgerec.recipe import load_recipe
from edgerec.stages.item_attributes import ItemAttributes


class Prepared:
    """The stage of a data set that is there."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset


class New:
    """Some new items, or none."""

    def __init__(self, table: pd.DataFrame | None) -> None:
        self.table = table


class Asked:
    """A workspace with the recipe that asks for some attributes."""

    def __init__(self, purchases: Path, *names: str) -> None:
        self.retrieval = small_recipe(purchases, convert={"attributes": list(names)})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    import json

    features = {"shelf": ["dairy", None, "fruit"], "tags": ["a|b|a", "", "b"], "price": ["1.5", "2", None]}
    made = tiny_dataset(tmp_path / "tiny", [[1, 2, 3], [3, 2, 1]], features=features)
    kinds = {"shelf": "categorical", "tags": "multi", "price": "numeric"}
    learned = {"items": [{"name": name, "kind": kind} for name, kind in kinds.items()], "users": []}
    (made.folder / "features.json").write_text(json.dumps(learned))
    return made


def test_columns_become_values_of_each_item(purchases: Path, dataset: Dataset) -> None:
    asked = Asked(purchases, "shelf", "tags", "price")
    columns = ItemAttributes(asked, Prepared(dataset), New(None)).columns  # type: ignore[arg-type]
    assert columns == {
        "shelf": [["dairy"], [], ["fruit"]], "tags": [["a", "b"], [], ["b"]], "price": [["1.5"], ["2"], []],
    }  # fmt: skip
    assert ItemAttributes(Asked(purchases), Prepared(dataset), New(None)).columns == {}  # type: ignore[arg-type]


def test_new_items_have_attributes_too(purchases: Path, dataset: Dataset) -> None:
    new = New(pd.DataFrame({"item_id": ["n1", "n2"], "shelf": ["fruit", None]}))
    columns = ItemAttributes(Asked(purchases, "shelf", "tags"), Prepared(dataset), new).columns  # type: ignore[arg-type]
    assert columns["shelf"][3:] == [["fruit"], []] and columns["tags"][3:] == [[], []]


def test_a_column_that_is_not_there_is_named(purchases: Path, dataset: Dataset) -> None:
    said = "convert.attributes: the item table has no column 'colour'; it has: shelf, tags, price"
    with pytest.raises(DataError, match=said):
        ItemAttributes(Asked(purchases, "colour"), Prepared(dataset), New(None)).check()  # type: ignore[arg-type]


def test_a_column_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[data]\npath = "a.csv"\n[convert]\nattributes = ["shelf", "shelf"]\n')
    with pytest.raises(RecipeError, match="attributes must name each column once"):
        load_recipe(tmp_path / "r.toml")


@pytest.mark.slow
def test_a_converted_bundle_caps_its_lists(random_bundle: Callable[..., Path]) -> None:
    shelves = [["front"] if row < 20 else [] if row % 5 == 0 else [f"s{row}", "back"] for row in range(1, 31)]
    path = random_bundle(attributes={"shelf": shelves})
    assert Bundle.read(path).manifest["format"] == 3 and Bundle.read(path).golden()
    with Recommender.load(path) as recommender:
        found = recommender.recommend(["i1", "i2"], k=10, at_most={"shelf": 2})
    counts = Counter(value for entry in found for value in shelves[int(entry.item[1:]) - 1])
    assert counts["front"] == 2 == counts["back"]
