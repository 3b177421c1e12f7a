"""A ranking run over real purchases, from the tables to a bundle that a device scores with."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from filelock import FileLock
from servers import mariadb  # noqa: F401  (fixture)

from device_runner import Ranker
from device_runner.ranking_golden import check_ranking_golden
from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare
from edgerec.evaluation.scored_rows import ScoredRows
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.dense_units import cut_dense, dense_groups
from edgerec.rankers import RankingModel
from edgerec.recipe.load import check_recipe

COLUMNS = {"user": "household", "item": "product", "time": "when", "value": "quantity"}


def document(purchases: Path, ranker: str = "mlp", **sections: dict[str, object]) -> dict[str, object]:
    return {
        "kind": "ranking",
        "data": {
            "name": "ranked-grocery",
            "path": str(purchases / "purchases.csv"),
            "columns": COLUMNS,
            "items": {"path": str(purchases / "products.csv"), "id": "product_id", "title": "{product_type}"},
            "min_item_users": 20,
        },
        "task": {"kind": "implicit", "negatives": 3},
        "split": {"kind": "temporal"},
        "model": {
            "ranker": ranker, "item_features": ["department", "brand"], "max_history": 20,
            "context": ["hour", "weekday", "recency"], "buckets": {"recency": 4}, "crosses": [["hour", "department"]],
        },
        "train": {"epochs": 3, "batch": 64, "learning_rate": 1e-2},
        "convert": {"schemes": ["float32", "int8"], "candidates": 20},
        "report": {"histories": 50},
        **sections,
    }  # fmt: skip


@pytest.fixture(scope="module")
def ranked(purchases: Path, shared_folder: Path) -> Run:
    with FileLock(shared_folder / "ranked.lock"):
        pruned = {"method": "structured", "shares": {"hidden": 0.5}, "criterion": "taylor", "epochs": 1}
        run = Run(check_recipe(document(purchases, prune=pruned)), shared_folder / "ranked-run", Progress())
        assert run.report
    return run


@pytest.mark.slow
def test_a_run_beats_chance_and_reports_every_file(ranked: Run) -> None:
    report = ranked.report
    assert [v["name"] for v in report["variants"]] == [
        "keras", "keras-pruned", "unpruned-float32", "float32", "int8",
    ]  # fmt: skip
    assert all(variant["quality"]["auc"] > 0.52 for variant in report["variants"])
    exact = report["variants"][3]["fidelity"]["loss"] - report["variants"][1]["fidelity"]["loss"]
    assert abs(exact) < 1e-4  # the file gives what its Keras model gives
    assert report["training"]["pruned"]["parameters"]["total"] < report["training"]["trained"]["parameters"]["total"]
    assert "test rows" in (ranked.folder / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_the_page_shows_what_each_step_did_and_where_it_pays(ranked: Run) -> None:
    report, page = ranked.report, (ranked.folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "File size against AUC of each file" in page
    for stage, log in report["training"].items():
        assert f"<td>{stage}</td><td>{log['parameters']['total']:,}</td>" in page
    for variant in report["variants"]:
        assert f"<td>{variant['name']}</td>" in page and f"{variant['quality']['auc']:.4f}" in page
    shipped = report["variants"][-1]
    assert 0 < shipped["invoke_ms"]["p50"] < shipped["latency_ms"]["p50"]  # the call turns raw values into tensors
    assert shipped["cold_start_ms"]["process"] > shipped["cold_start_ms"]["load"] > 0 and shipped["peak_rss_mb"] > 20


@pytest.mark.slow
def test_the_device_scores_raw_values_as_the_bundle_promises(ranked: Run) -> None:
    with Ranker.load(ranked.bundle) as ranker:
        assert check_ranking_golden(ranker) == 5
        items = [str(item) for item in ranked.dataset.item_table["item_id"][:25]]
        scores = ranker.score({}, items, {"hour": 17, "weekday": 3}, items[5:9])
    assert len(scores) == 25 and all(0 < score < 1 for score in scores)


@pytest.mark.slow
def test_no_user_is_in_a_bundle(ranked: Run) -> None:
    users = set(ranked.dataset.user_ids)
    with zipfile.ZipFile(ranked.bundle) as archive:
        assert {"features.json", "item_values.json", "golden.json"} <= set(archive.namelist())
        features = json.loads(archive.read("features.json"))
    assert not [entry for entry in features if entry["of"] == "user" or users & set(entry.get("values", ())) - DIGITS]


# Hours and weekdays are texts of digits, as the ids of households are.
DIGITS = set(map(str, range(24)))


@pytest.mark.slow
@pytest.mark.parametrize("ranker", ["mlp", "deepfm", "dcn"])
def test_a_saved_model_gives_the_same_scores(ranker: str, purchases: Path, ranked: Run, tmp_path: Path) -> None:
    recipe = check_recipe(document(purchases, ranker))
    model = RankingModel.of_dataset(recipe, ranked.dataset)
    rows = ranked.stages.prepared.test_rows.sample(20, seed=0)
    model.save(tmp_path)
    again = RankingModel.load(tmp_path)
    expected = model.predict(rows, model.row_inputs(ranked.dataset))
    np.testing.assert_allclose(again.predict(rows, again.row_inputs(ranked.dataset)), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("ranker", ["mlp", "deepfm", "dcn"])
def test_units_that_give_nothing_can_be_cut_without_a_trace(ranker: str, purchases: Path, ranked: Run) -> None:
    model = RankingModel.of_dataset(check_recipe(document(purchases, ranker)), ranked.dataset)
    groups = dense_groups(model, ["hidden"])
    kept = {group.name: np.arange(0, group.units, 2) for group in groups}
    for group in groups:
        for part in group.outputs:
            values = part.variable.numpy()
            values[1::2] = 0
            part.variable.assign(values)
    rows = ranked.stages.prepared.test_rows.sample(20, seed=0)
    smaller = cut_dense(model, groups, kept)
    assert smaller.architecture.hidden == (16, 8)
    inputs = model.row_inputs(ranked.dataset)
    np.testing.assert_allclose(smaller.predict(rows, inputs), model.predict(rows, inputs), atol=1e-6)


@pytest.mark.slow
def test_scores_of_the_file_are_kept_beside_it(ranked: Run) -> None:
    kept = ScoredRows.load(ranked.bundle.parent)
    assert kept.quality() == ranked.report["variants"][-1]["quality"]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["random", "temporal"])
def test_three_tables_of_a_database_give_the_labels_of_the_files(
    split: str, purchases: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url: sa.URL = request.getfixturevalue("mariadb")
    engine = sa.create_engine(url)
    for name, key in (("purchases", None), ("products", "product_id")):
        with (purchases / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        number = [sa.Column("number", sa.Integer, primary_key=True)] if key is None else []
        columns = [*number, *(sa.Column(c, sa.String(120), primary_key=c == key) for c in lines[0])]
        table = sa.Table(f"{name}_{split}", sa.MetaData(), *columns, mysql_charset="utf8mb4")
        table.create(engine)
        with engine.begin() as connection:
            connection.execute(table.insert(), [{k: v or None for k, v in line.items()} for line in lines])
    shared = {"name": "labels", "columns": COLUMNS, "min_item_users": 5}
    sections = {"kind": "ranking", "split": {"kind": split}}
    items = {"id": "product_id"}
    text = url.render_as_string(hide_password=False)
    files = {
        "path": str(purchases / "purchases.csv"),
        "items": {**items, "path": str(purchases / "products.csv"), "ignore": []},
    }
    tables = {
        "source": "sql",
        "url": text,
        "table": f"purchases_{split}",
        "items": {"id": "product_id", "table": f"products_{split}"},
    }
    found = []
    for name, data in (("files", files), ("tables", tables)):
        prepare(check_recipe({**sections, "data": {**shared, **data}}), tmp_path / name, "key", lambda said: None)
        found.append(Dataset.load(tmp_path / name))
    one, other = found
    assert one.split_fingerprint == other.split_fingerprint
    assert np.array_equal(one.values, other.values) and (one.parts == 2).any()
    assert one.features("items") == other.features("items")
