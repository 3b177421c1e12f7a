"""Items that came after training: in the shipped file by their features alone."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from conftest import small_recipe

from device_runner import Recommender
from device_runner.backends import installed_backends
from edgerec.data.feature_encoding import encode_features
from edgerec.errors import DataError, RecipeError
from edgerec.evaluation.device import evaluate_bundle
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import load_recipe
from edgerec.recommenders import SequenceRecommender
from edgerec.stages.new_items import NewItems

FEATURES = ["department", "product_category"]
NEW = 3


def write_new_items(path: Path, known: pd.DataFrame, more: int = NEW) -> None:
    """The first lines of the catalogue again, and items that are new but for their features."""
    columns = [name for name in known if name not in {"item_row", "item_id", "interactions", "title"}]
    old = known.rename(columns={"item_id": "product_id"})[["product_id", *columns]].head(5)
    new = old.head(more).assign(product_id=[f"new{n}" for n in range(more)])
    pd.concat([old, new, new.head(1)]).to_csv(path, index=False)


@pytest.fixture(scope="module")
def longer_run(purchases: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose bundles hold three items that nobody has bought yet, beside a feature of the user."""
    folder = tmp_path_factory.mktemp("longer")
    duckdb.execute(
        f"copy (select distinct household, household % 2 = 0 as even from '{purchases}/purchases.csv') "
        f"to '{folder}/households.csv' (header)"
    )
    sections = {
        "data": {"users": {"path": str(folder / "households.csv"), "id": "household"}},
        "model": {"encoder": "gru", "item_features": FEATURES, "user_features": ["even"]},
        "prune": {"epochs": 1},
        "convert": {"schemes": ["float32", "int8"], "new_items": str(folder / "new.csv")},
    }
    run = Run(small_recipe(purchases, **sections), folder / "run", Progress())
    write_new_items(folder / "new.csv", run.dataset.item_table)
    assert run.report
    return run


@pytest.mark.slow
def test_the_file_has_the_new_items_behind_the_others(longer_run: Run) -> None:
    dataset = longer_run.dataset
    bundle = (recommender := Recommender.load(longer_run.bundles["int8"])).bundle
    assert bundle.items[dataset.items + 1 :] == ["new0", "new1", "new2"]
    assert bundle.titles[dataset.items + 1] == bundle.titles[1]
    assert set(bundle.runtimes) == set(installed_backends())
    assert bundle.user_features[0].first == dataset.items + NEW + 1
    # What is popular comes first as ever, and a new item is an event like any other.
    assert [r.item for r in recommender.recommend([], k=2)] == bundle.items[1:3]
    found = recommender.recommend(["new1", bundle.items[4]], k=bundle.contract.items)
    assert found.unknown == 0 and {"new0", "new2"} < {r.item for r in found}
    assert "new1" not in {r.item for r in found}
    told = recommender.recommend(["new1"], user={"even": "true"})
    assert told.source == "model" and [r.score for r in told] != [r.score for r in recommender.recommend(["new1"])]


@pytest.mark.slow
def test_a_new_items_score_is_that_of_its_features(longer_run: Run) -> None:
    dataset = longer_run.dataset
    targets = dataset.targets("test")
    trained = SequenceRecommender.load(longer_run.trained)
    history = targets.histories[0][-20:]
    hidden = trained.serving(history[None].astype(np.int32), training=False).numpy()
    table = trained.item_table
    encoded = encode_features(trained.item_features, dataset.item_table.head(NEW))
    vectors = table.categories.numpy()[encoded.codes].sum(1, where=(encoded.codes > 0)[:, :, None])
    scores = Recommender.load(longer_run.bundles["unpruned-float32"]).item_scores(history.tolist())
    np.testing.assert_allclose(scores[dataset.items + 1 :], (hidden @ vectors.T)[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores[1 : dataset.items + 1], trained.score([history])[0, 1:], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_new_items_get_their_vectors_from_the_model_that_ships(longer_run: Run) -> None:
    """Issue 10, item 8: the vectors were those of the model before pruning."""
    dataset = longer_run.dataset
    history = dataset.targets("test").histories[0][-20:]
    pruned = SequenceRecommender.load(longer_run.pruned)
    hidden = pruned.serving(history[None].astype(np.int32), training=False).numpy()
    vectors = pruned.new_item_vectors(dataset.item_table.head(NEW))
    before = SequenceRecommender.load(longer_run.trained).new_item_vectors(dataset.item_table.head(NEW))
    assert np.abs(vectors - before).max() > 1e-4
    scores = Recommender.load(longer_run.bundles["float32"]).item_scores(history.tolist())
    np.testing.assert_allclose(scores[dataset.items + 1 :], (hidden @ vectors.T)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_quality_is_that_of_the_data_sets_own_items(longer_run: Run) -> None:
    dataset = longer_run.dataset
    targets = dataset.targets("test")
    evaluation = evaluate_bundle(Recommender.load(longer_run.bundles["unpruned-float32"]), targets, dataset)
    assert evaluation.top.max() <= dataset.items
    trained = SequenceRecommender.load(longer_run.trained)
    scores = np.array(trained.score(trained.inputs_of(targets, dataset)))
    scores[:, 0] = -np.inf
    for line, history in zip(scores, targets.histories, strict=True):
        line[history] = -np.inf
    assert np.mean(evaluation.top == np.argsort(-scores, 1, "stable")[:, :10]) > 0.999


@pytest.mark.slow
def test_only_what_a_new_table_changes_is_done_again(longer_run: Run) -> None:
    def again() -> Run:
        return Run(longer_run.recipe, longer_run.folder, Progress())

    before = {name: path.stat().st_mtime_ns for name, path in longer_run.bundles.items()}
    trained = (longer_run.trained / "model.weights.h5").stat().st_mtime_ns
    assert {name: path.stat().st_mtime_ns for name, path in again().bundles.items()} == before
    write_new_items(Path(longer_run.recipe.convert.new_items), longer_run.dataset.item_table, NEW - 1)
    changed = again()
    assert Recommender.load(changed.bundles["int8"]).bundle.items[-1] == "new1"
    assert (changed.trained / "model.weights.h5").stat().st_mtime_ns == trained


def test_a_table_that_does_not_do_is_told_before_anything_is_trained(purchases: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    sections = {"model": {"item_features": FEATURES}, "convert": {"new_items": str(path)}}
    run = Run(small_recipe(purchases, **sections), tmp_path / "run", Progress())
    known = run.dataset.item_table.rename(columns={"item_id": "product_id"})
    with pytest.raises(DataError, match=r"new\.csv: no such file"):
        _ = run.bundles
    for lines, message in (
        (known.assign(product_id="n").drop(columns=FEATURES), "no column department, product_category, which"),
        (pd.DataFrame({"sku": ["n"]}), r"new\.csv: no column 'product_id'"),
    ):
        lines.to_csv(path, index=False)
        with pytest.raises(DataError, match=message):
            _ = run.bundles
    assert not (run.folder / "trained").exists()
    known.head(4).to_csv(path, index=False)
    assert (
        NewItems(run.stages.prepared.workspace, run.stages.prepared).table is None
    )  # all are in the catalogue by now, which is no mistake
    lines = known.head(5).assign(product_id=["a", None, "a", "", "bare"])
    lines.loc[4, FEATURES] = "never heard of"
    lines.to_csv(path, index=False)
    assert list(NewItems(run.stages.prepared.workspace, run.stages.prepared).table["item_id"]) == ["a"]


@pytest.mark.slow
def test_a_table_without_titles_does_too(longer_run: Run, tmp_path: Path) -> None:
    """Also where the title is a column like any other, which new items may lack."""
    known = longer_run.dataset.item_table
    with_title = known.rename(columns={"item_id": "product_id"}).drop(columns=["item_row", "interactions"])
    with_title.to_csv(tmp_path / "items.csv", index=False)
    with_title.head(2).assign(product_id=["n1", "n2"]).drop(columns=["title"]).to_csv(tmp_path / "new.csv", index=False)
    data = longer_run.recipe.data
    items = data.items.model_copy(update={"path": str(tmp_path / "items.csv"), "title": None})
    recipe = longer_run.recipe.model_copy(
        update={
            "data": data.model_copy(update={"items": items}),
            "train": longer_run.recipe.train.model_copy(update={"epochs": 1}),
            "prune": longer_run.recipe.prune.model_copy(update={"enabled": False}),
            "convert": longer_run.recipe.convert.model_copy(
                update={"schemes": ["int8"], "new_items": str(tmp_path / "new.csv")}
            ),
        }
    )
    bundle = Recommender.load(Run(recipe, tmp_path / "run", Progress()).bundles["int8"]).bundle
    assert bundle.items[-2:] == ["n1", "n2"] and bundle.titles[-2:] == ["", ""] and bundle.titles[1]


def test_new_items_need_item_features(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[data]\npath = "t.csv"\n[convert]\nnew_items = "new.csv"\n')
    with pytest.raises(RecipeError, match=r"convert\.new_items needs model\.item_features"):
        load_recipe(tmp_path / "r.toml")
    recipe = load_recipe(
        tmp_path / "r.toml", ['model.item_features=["brand"]', "data.items.path=i.csv", "data.items.id=id"]
    )
    assert recipe.convert.new_items == str(tmp_path / "new.csv")
