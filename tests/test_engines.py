"""One preparation, two engines: DuckDB and Spark give the same Dataset."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_recipe

from edgerec.data.dataset import Dataset, parquet_files
from edgerec.data.prepare import prepare
from edgerec.data.spark_engine import SparkEngine
from edgerec.data.spark_session import spark_session
from edgerec.recipe import Recipe

pytest.importorskip("pyspark")
SPARK = {"engine": "spark", "spark_master": "local[2]"}


@pytest.fixture(scope="module", autouse=True)
def java() -> None:
    if not shutil.which("java"):
        pytest.skip("Spark needs Java")


def prepared(recipe: Recipe, folder: Path) -> Dataset:
    prepare(recipe, folder, "key", lambda text: None)
    return Dataset.load(folder)


def both(recipe: Recipe, folder: Path) -> tuple[Dataset, Dataset]:
    data = recipe.data.model_copy(update=SPARK)
    return prepared(recipe, folder / "duckdb"), prepared(recipe.model_copy(update={"data": data}), folder / "spark")


def assert_equal(one: Dataset, other: Dataset) -> None:
    assert one.split_fingerprint == other.split_fingerprint
    assert np.array_equal(one.events, other.events)
    assert one.user_ids == other.user_ids
    pd.testing.assert_frame_equal(one.item_table, other.item_table, check_dtype=False)
    for same in ("dataset.json", "features.json", "rejected.csv"):
        assert (one.folder / same).read_text() == (other.folder / same).read_text()
    assert not [p for p in other.folder.rglob("*") if p.name.startswith((".", "_"))]


@pytest.mark.slow
def test_a_real_table_gives_the_same_dataset(purchases: Path, tmp_path: Path) -> None:
    assert_equal(*both(small_recipe(purchases, split={"kind": "temporal"}), tmp_path))


@pytest.mark.slow
def test_a_dirty_table_gives_the_same_dataset(tmp_path: Path) -> None:
    """Ties, unicode, quotes, leading zeros, missing values, bad times and offsets; a Parquet folder, so that Spark
    reads it itself."""
    rng = np.random.default_rng(3)
    ids = ["007", "7", " seven", "é🎬", 'q"uote', "back\\slash", "comma,", "per%cent", "`tick`", "12345678901234567890"]
    times = ["2020-01-01", "2020-01-02 10:00:00", "2020-01-01T12:00:00+02:00", "2020-02-30", "10:00:00", "soon", None]
    rows = 3000
    frame = pd.DataFrame(
        {
            "user id": rng.choice([*(f"u{n}" for n in range(60)), None, ""], rows),
            "item": rng.choice(ids, rows),
            "at": rng.choice(times, rows, p=[0.4, 0.3, 0.2, 0.02, 0.02, 0.03, 0.03]),
        }
    )
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, rows, 1000)):
        frame[start : start + 1000].to_parquet(tmp_path / "parts" / f"{number}.parquet")
    columns = {"user": "user id", "item": "item", "time": "at"}
    data = {"path": str(tmp_path / "parts"), "columns": columns, "min_user_events": 3, "max_rejected": 0.5}
    one, other = both(Recipe.model_validate({"data": data}), tmp_path)
    assert one.info["rejected"] > 100
    assert_equal(one, other)


@pytest.mark.slow
def test_a_large_result_is_written_in_parts_in_its_order(tmp_path: Path) -> None:
    engine = SparkEngine(tmp_path, "local[2]")
    session = spark_session("local[2]")
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        engine.save("t", "select id as n, (id * 7919) % 10007 as t from range(10000)")
        engine.write("select t, n from t order by t", tmp_path / "t.parquet", in_parts=True)
        engine.write("select t, n from t order by t", tmp_path / "one.parquet")
    finally:
        session.conf.unset("spark.sql.adaptive.enabled")
        session.conf.unset("spark.sql.shuffle.partitions")
        engine.close()
    files = parquet_files(tmp_path / "t.parquet")
    assert len(files) > 1
    together = pd.concat(map(pd.read_parquet, files), ignore_index=True)
    assert together["t"].is_monotonic_increasing and len(together) == 10_000
    pd.testing.assert_frame_equal(together, pd.read_parquet(tmp_path / "one.parquet"))
