"""Fixtures: a slice of real purchases, and one small run of the whole pipeline over it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: threads of TensorFlow would only wait for each other
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
from edgerec.data.sources.tables import resolve_tables
from edgerec.recipe import Recipe
from edgerec.recipe.data import GroceryData

if TYPE_CHECKING:
    from edgerec.pipeline import Run
    from edgerec.recommenders.parts import Parts

SMALL = {
    "data": {"name": "small-grocery", "min_item_users": 10, "min_user_events": 5},
    "model": {"encoder": "sasrec", "dim": 16, "blocks": 1, "max_history": 20},
    "train": {"epochs": 3, "learning_rate": 3e-3},
    "prune": {"epochs": 2},
    "convert": {"top_k": 20},
    "report": {"histories": 100},
}


# Files that take longest, so that they are begun first and the processes of pytest-xdist end together.
SLOWEST = [
    "test_cluster",
    "test_readme",
    "test_resume",
    "test_new_items",
    "test_user_features",
    "test_preparation_faults",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return SLOWEST.index(item.path.stem) if item.path.stem in SLOWEST else len(SLOWEST)

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of pytest-xdist see, for what is made once."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def purchases(shared_folder: Path) -> Path:
    """A folder with ``purchases.csv`` (household, product, time) and ``products.csv`` of 250 real households."""
    folder = shared_folder / "purchases"
    with FileLock(shared_folder / "purchases.lock"):
        if not folder.exists():
            write_purchases(folder)
    return folder


def write_purchases(folder: Path) -> None:
    folder.mkdir()
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
def small_run(purchases: Path, shared_folder: Path) -> "Run":
    """The whole pipeline, run once over the real slice. Tests only read it; ``run_copy`` is for those that change."""
    from edgerec.pipeline import Run
    from edgerec.progress import Progress

    run = Run(small_recipe(purchases), shared_folder / "small-run", Progress())
    assert run.report  # with several processes, the first one makes it and the others wait
    return run


@pytest.fixture
def run_copy(small_run: "Run", tmp_path: Path) -> Path:
    """The folder of a copy of the small run."""
    return Path(shutil.copytree(small_run.folder, tmp_path / "run-copy"))


@pytest.fixture(scope="session")
def bundle(small_run: "Run") -> Path:
    """The int8 bundle of the small run."""
    return small_run.bundles["int8"]


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a bundle of a model with random weights, which is all that a test of the runtime needs: seconds."""
    return lambda **options: make_random_bundle(tmp_path_factory.mktemp("random"), **options)


def make_random_bundle(
    folder: Path,
    items: int = 30,
    scheme: str = "float32",
    facts: dict[str, object] | None = None,
    parts: "Parts | None" = None,
    attributes: dict[str, list[list[str]]] | None = None,
    **model: object,
) -> Path:
    """A verified bundle with items ``i1``, ``i2``, ... and a network of random weights, beside it ``parts``."""
    import numpy as np
    import tensorflow as tf
    from tiny import architecture

    from converters.build import build
    from converters.convert import Vocabulary, bundle_flatbuffer
    from converters.servable import save_model
    from device_runner.contract import Retrieval
    from edgerec.recommenders import SequenceRecommender
    from edgerec.recommenders.serving import ServedRecommender

    tf.keras.utils.set_random_seed(0)
    shape = architecture(**{"encoder": "gru", "dim": 8, "blocks": 1, "max_history": 6, **model})
    recommender = SequenceRecommender(shape, items, "random")
    rng = np.random.default_rng(0)
    recommender.network.set_weights([w + rng.normal(0, 0.3, size=w.shape) for w in recommender.network.get_weights()])
    recommender.parts = parts = parts or recommender.parts
    sizes = {"max_history": shape.max_history, "max_exclude": 12, "top_k": min(10, items), "items": items}
    sizes |= {"recent": parts.recent, "neighbours": parts.neighbours}
    servable = ServedRecommender(recommender, Retrieval(**sizes, state=(recommender.state_size or 0) * parts.network))
    save_model(servable, folder / "saved_model")
    (flatbuffer,) = build(folder / "saved_model", [scheme], folder).values()
    inputs = rng.integers(1, items + 1, (20, shape.max_history)).astype(np.int32)
    vocabulary = Vocabulary([f"i{row}" for row in range(1, items + 1)], None, attributes or {})
    given = {"dataset": {"name": "random", "split_fingerprint": "random"}, **(facts or {})}
    path = folder / f"{scheme}.tflite"
    path.write_bytes(
        bundle_flatbuffer(flatbuffer, servable, scheme, "random", vocabulary, inputs, given, folder).content
    )
    return path
