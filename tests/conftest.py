"""Fixtures: a slice of real purchases, and one small run of the whole pipeline over it."""

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
from edgerec.data.sources.tables import resolve_tables
from edgerec.recipe import Recipe
from edgerec.recipe.data import GroceryData

if TYPE_CHECKING:
    from edgerec.pipeline import Run

SMALL = {
    "data": {"name": "small-grocery", "min_item_users": 10, "min_user_events": 5},
    "model": {"encoder": "sasrec", "dim": 16, "blocks": 1, "max_history": 20},
    "train": {"epochs": 3, "learning_rate": 3e-3},
    "prune": {"epochs": 2, "sparsity": 0.5},
    "convert": {"top_k": 20},
    "report": {"histories": 100},
}


@pytest.fixture(scope="session")
def purchases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``purchases.csv`` (household, product, time) and ``products.csv`` of 250 real households."""
    folder = tmp_path_factory.mktemp("purchases")
    tables = resolve_tables(GroceryData(source="grocery"))
    duckdb.execute(
        f"""
        copy (select household_id as household, product_id as product, transaction_timestamp as "when", quantity
              from read_parquet('{tables.interactions.path}') where household_id <= 250)
        to '{folder}/purchases.csv' (header)
        """
    )
    assert tables.items
    products = tables.items.place.path
    duckdb.execute(f"copy (select * from read_parquet('{products}')) to '{folder}/products.csv' (header)")
    return folder


def small_recipe(purchases: Path, **sections: dict[str, object]) -> Recipe:
    """The recipe of the small run, with some keys of some sections set otherwise."""
    document: dict[str, dict[str, object]] = {name: dict(section) for name, section in SMALL.items()}
    document["data"] |= {
        "path": str(purchases / "purchases.csv"),
        "columns": {"user": "household", "item": "product", "time": "when", "value": "quantity"},
        "items": {"path": str(purchases / "products.csv"), "id": "product_id", "title": "{product_type} ({brand})"},
    }
    for name, section in sections.items():
        document.setdefault(name, {}).update(section)
    return Recipe.model_validate(document)


@pytest.fixture(scope="session")
def small_run(purchases: Path, tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """The whole pipeline, run once over the real slice."""
    from edgerec.pipeline import Run
    from edgerec.progress import Progress

    run = Run(small_recipe(purchases), tmp_path_factory.mktemp("run"), Progress())
    run.report()
    return run


@pytest.fixture(scope="session")
def bundle(small_run: "Run") -> Path:
    """The int8 bundle of the small run."""
    return small_run.bundles["int8"]
