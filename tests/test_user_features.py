"""User features: rows of the table that stand before the history, optional everywhere."""

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import small_recipe

from converters.bundle_writer import with_facts
from device_runner import BundleError, EdgeRecError, Recommender
from device_runner.backends import installed_backends
from device_runner.bundle import _user_features
from device_runner.cli import main as device
from device_runner.contract import Retrieval
from device_runner.user_features import UserFeature, user_rows
from edgerec.cli.main import main as workstation
from edgerec.data.feature_encoding import fit_feature
from edgerec.data.sources.tables import resolve_tables
from edgerec.data.user_feature_rows import MIN_USERS, encode_users, fit_user_features, users_of
from edgerec.evaluation.device import evaluate_bundle
from edgerec.evaluation.ranking import Evaluation
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe
from edgerec.recipe.data import GroceryData
from edgerec.recommenders import SequenceRecommender
from edgerec.training.batches import WITHOUT_FEATURES, training_batches

GENDER = UserFeature("gender", 101, values=("F", "M"))
AGE = UserFeature("age", 103, edges=(18.0, 35.0))


@pytest.mark.parametrize(
    ("user", "rows"),
    [
        ({"gender": "M", "age": 17.9}, [102, 103]),
        ({"age": "18", "gender": " F "}, [101, 104]),
        ({"age": 99}, [105]),
        ({"gender": "unheard of", "age": "old"}, []),
        ({"gender": None, "age": float("nan")}, []),
        ({"age": 10**400}, []),
        ({}, []),
    ],
)
def test_values_become_rows_and_what_is_not_known_is_skipped(user: dict[str, object], rows: list[int]) -> None:
    assert user_rows([GENDER, AGE], user) == rows


def test_a_category_called_none_is_not_what_is_absent() -> None:
    plan = UserFeature("plan", 4, values=("None", "Gold"))
    assert user_rows([plan], {}) == user_rows([plan], {"plan": None}) == []
    assert user_rows([plan], {"plan": "None"}) == [4]


def test_a_feature_that_the_model_lacks_is_told() -> None:
    with pytest.raises(ValueError, match="no user feature colour, height; it has: gender, age"):
        user_rows([GENDER, AGE], {"colour": "red", "age": 3, "height": 1})
    with pytest.raises(ValueError, match="it has: none"):
        user_rows([], {"colour": "red"})


def test_features_are_learned_from_training_users() -> None:
    table = pd.DataFrame(
        {
            "town": ["a"] * MIN_USERS + ["b"] * (MIN_USERS - 1) + [None] + ["b"] * 99,
            "age": [str(n) for n in range(2 * MIN_USERS)] + ["1000"] * 99,
            "trained": [True] * 2 * MIN_USERS + [False] * 99,
        }
    )
    known = table[table["trained"]]
    features = [fit_feature("town", "categorical", known["town"]), fit_feature("age", "numeric", known["age"])]
    town, age = fit_user_features(["town", "age"], features, table, 7)
    assert (town.first, town.values, age.first) == (7, ("a",), 8)  # a value of nine would tell who they are
    assert age.edges == (9.5,)  # too few users for more
    with pytest.raises(EdgeRecError, match="no feature 'name'; it has: town, age"):
        fit_user_features(["name"], features, table, 1)
    with pytest.raises(EdgeRecError, match="'town' has several values a user"):
        fit_user_features(["town"], [fit_feature("town", "multi", known["town"])], table, 1)
    with pytest.raises(EdgeRecError, match="'name' has no value that 10 users share"):
        names = table.assign(name=[f"n{n}" for n in range(len(table))])
        fit_user_features(["name"], [fit_feature("name", "categorical", names["name"])], names, 1)


@pytest.mark.parametrize(
    ("numbers", "ranges"),
    [
        ([str(n) for n in range(1, 801)], 8),
        (["0"] * 500 + [str(n) for n in range(300)], 3),
        (["0"] * 40 + ["57.25"] + ["100"] * 40, 2),
        (["inf"] * 300 + [str(n) for n in range(100)], 8),
        (["7"] * 50, 1),
        ([str(50000 + 37 * n) for n in range(801)], 8),
        ([], 1),
    ],
    ids=["spread", "ties", "lone", "infinite", "constant", "incomes", "none"],
)
def test_each_range_of_numbers_is_of_many_users_and_no_bound_is_a_users_own(numbers: list[str], ranges: int) -> None:
    table = pd.DataFrame({"age": pd.Series(numbers, dtype="string"), "trained": True})
    (age,) = fit_user_features(["age"], [fit_feature("age", "numeric", table["age"])], table, 1)
    assert age.rows == ranges
    assert all(edge == float(f"{edge:.1e}") for edge in age.edges)
    rows = np.concatenate([np.zeros(0, int), *encode_users([age], table[table["age"] != "inf"])])
    assert not len(numbers) or np.bincount(rows, minlength=ranges + 1)[1:].min() >= MIN_USERS


def test_windows_begin_with_the_users_features_which_are_no_targets() -> None:
    rng = np.random.default_rng(0)
    histories = [rng.integers(1, 101, n).astype(np.int32) for n in (5, 40, 9, 1) * 60]
    users = [np.array(rows, np.int32) for rows in ([101, 104], [102], [], [103]) * 60]
    told = 0
    for batch in training_batches(histories, 10, 8, 1, 1, users):
        assert batch.inputs.shape[1] <= 10 and batch.targets.max() <= 100
        for line, targets in zip(batch.inputs, batch.targets, strict=True):
            rows = line[line > 0]
            special = rows > 100
            told += special.any()
            assert not np.any(np.diff(special.astype(int)) > 0)  # before all events, if anywhere
            assert np.count_nonzero(targets) == len(rows) - max(special.sum() - 1, 0)
    # The only event of a user is a target too, after what is known of the user.
    alone = [b.inputs[b.targets[:, -1] > 0] for b in training_batches(histories[3:4], 10, 8, 1, 1, users[3:4])]
    assert [a.tolist() for a in alone] == [[[103]]]
    windows = sum(len(b.inputs) for b in training_batches(histories, 10, 8, 1, 1))
    assert 0.5 * (1 - 2 * WITHOUT_FEATURES) < told / windows < 1


def test_a_manifest_with_malformed_features_is_refused() -> None:
    contract = Retrieval(max_history=4, max_exclude=4, top_k=2, items=3)
    good = {"name": "age", "first": 4, "values": [], "edges": [1.0]}
    assert _user_features({"user_features": [good]}, contract, Path("m"))[0].rows == 2
    bad_edges = [{**good, "edges": edges} for edges in (["x"], [float("nan"), 1.0], [2.0, 1.0])]
    for bad in ({**good, "first": 9}, {"name": "age"}, 7, {**good, "values": ["a"]}, *bad_edges):
        with pytest.raises(BundleError, match=r"user.features?"):
            _user_features({"user_features": [bad]}, contract, Path("m"))


def test_a_recipe_leaves_place_for_the_history() -> None:
    model = {"max_history": 2, "user_features": ["a", "b"]}
    with pytest.raises(ValueError, match="2 user features leave no place in max_history"):
        Recipe.model_validate({"data": {"path": "t.csv"}, "model": model})
    with pytest.raises(ValueError, match="a feature is named twice: a"):
        Recipe.model_validate({"data": {"path": "t.csv"}, "model": {"user_features": ["a", "a"]}})
    with pytest.raises(ValueError, match=r"model\.user_features are columns of \[data\] users"):
        Recipe.model_validate({"data": {"path": "t.csv"}, "model": {"user_features": ["a"]}})


@pytest.fixture(scope="module", params=["gru", "sasrec"])
def told_run(request: pytest.FixtureRequest, purchases: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over real households: the model may be told income, size, and a number (which says nothing)."""
    folder = tmp_path_factory.mktemp("told")
    users = resolve_tables(GroceryData(source="grocery")).users
    assert users
    duckdb.execute(
        f"copy (select *, cast(household_id as int) as number from read_parquet('{users.place.path}')) "
        f"to '{folder}/households.csv' (header)"
    )
    sections = {
        "data": {"users": {"path": str(folder / "households.csv"), "id": "household_id", "numeric": ["number"]}},
        "model": {"encoder": request.param, "user_features": ["income", "household_size", "number"],
                  "item_features": ["department"]},
        "prune": {"epochs": 1},
        "convert": {"schemes": ["float32", "int8"]},
    }  # fmt: skip
    run = Run(small_recipe(purchases, **sections), folder / "run", Progress())
    assert run.report
    return run


@pytest.mark.slow
def test_a_bundle_can_be_told_who_the_user_is(told_run: Run) -> None:
    recommender = Recommender.load(told_run.bundles["int8"])
    bundle = recommender.bundle
    assert set(bundle.runtimes) == set(installed_backends())
    income, size, number = bundle.user_features
    assert income.values and income.first == bundle.contract.items + 1
    history = bundle.items[3:9]
    person = {"income": income.values[0], "household_size": size.values[1]}
    plain, told, other = (recommender.recommend(history, user=u) for u in (None, person, {"income": income.values[1]}))
    assert len({tuple(r.score for r in found) for found in (plain, told, other)}) == 3
    assert [r.item for r in recommender.recommend(history, user={"income": "never heard of"})] == [
        r.item for r in plain
    ]
    # Known without any history: the model's own list, and never a row of a feature.
    first = recommender.recommend([], k=bundle.contract.items + 5, user=person)
    assert first.source == "model" and {r.item for r in first} == set(bundle.items[1:])
    assert recommender.recommend([]).source == "popularity"
    # The features keep their place before a history that is too long.
    long = bundle.items[1:60]
    read = recommender.input_rows(recommender.rows(long), person)
    assert read[:2] == [income.first, size.first + 1] and len(read) == bundle.contract.max_history
    assert number.rows > 2 and recommender.input_rows([], {"number": 1e9}) == [number.first + number.rows - 1]
    assert any(case["history"][0] > bundle.contract.items for case in bundle.golden())


@pytest.mark.slow
def test_keras_model_and_bundle_are_told_the_same(told_run: Run) -> None:
    dataset = told_run.dataset
    targets = dataset.targets("test")
    keras = SequenceRecommender.load(told_run.pruned)
    recommender = Recommender.load(told_run.bundles["float32"])
    read = keras.inputs_of(targets, dataset)
    assert any(rows[0] > dataset.items for rows in read)
    users = users_of(keras.user_features, dataset.user_table.iloc[targets.users])
    for rows, history, user in zip(read, targets.histories, users, strict=True):
        assert recommender.input_rows(history.tolist(), user) == rows.tolist()
    expected = keras.score(read[:20])
    assert expected.shape[1] == dataset.items + 1
    found = np.stack([recommender.item_scores(rows.tolist()) for rows in read[:20]])
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:], rtol=1e-3, atol=1e-4)
    by_bundle = evaluate_bundle(recommender, targets, dataset)
    assert by_bundle.ndcg(10).mean() == pytest.approx(
        Evaluation.load(told_run.pruned, dataset.items).ndcg(10).mean(), rel=0.02
    )


@pytest.mark.slow
def test_a_state_begins_with_the_user(told_run: Run) -> None:
    recommender = Recommender.load(told_run.bundles["float32"])
    person = {"income": recommender.bundle.user_features[0].values[0]}
    if not recommender.bundle.contract.state:
        with pytest.raises(BundleError, match="not a recurrent model"):
            recommender.new_state(person)
        return
    history = recommender.bundle.items[3:9]
    state = recommender.new_state(person)
    for item in history:
        state = recommender.advance(state, item)
    by_state = recommender.recommend_from_state(state, exclude=history)
    whole = recommender.recommend(history, user=person)
    assert [r.item for r in by_state] == [r.item for r in whole]


@pytest.mark.slow
def test_the_command_line_takes_them(told_run: Run, tmp_path: Path) -> None:
    path = told_run.bundles["int8"]
    items = Recommender.load(path).bundle
    (tmp_path / "h.csv").write_text("item_id\n" + "\n".join(items.items[3:6]) + "\n")
    arguments = ["recommend", str(path), "--history", str(tmp_path / "h.csv")]
    value = items.user_features[0].values[0]
    plain, told = (CliRunner().invoke(device, [*arguments, *more]) for more in ([], ["--user", f"income={value}"]))
    assert plain.exit_code == told.exit_code == 0 and plain.stdout != told.stdout
    for wrong, message in (("income", "not NAME=VALUE"), ("colour=red", "it has: income, household_size, number")):
        failed = CliRunner().invoke(device, [*arguments, "--user", wrong])
        assert failed.exit_code == 2 and message in " ".join(failed.output.split())
    skipped = CliRunner().invoke(device, [*arguments, "--user", "number=many"])
    assert skipped.exit_code == 0 and "number=many is not known to the model and was skipped" in skipped.stderr
    assert skipped.stdout == plain.stdout
    assert CliRunner().invoke(device, ["bench", str(path), "--runs", "3"]).exit_code == 0
    assert "income: " in CliRunner().invoke(device, ["inspect", str(path)]).stdout


@pytest.mark.slow
def test_what_does_not_fit_together_is_told(told_run: Run, tmp_path: Path) -> None:
    path = told_run.bundles["int8"]
    bundle = Recommender.load(path).bundle
    more = [*bundle.manifest["user_features"]]
    last = bundle.user_features[-1]
    more.append({"name": "age", "first": last.first + last.rows, "values": [], "edges": [1.0]})
    (tmp_path / "m.tflite").write_bytes(with_facts(path, {"user_features": more}))
    with pytest.raises(BundleError, match="the model fails on row"):
        Recommender.load(tmp_path / "m.tflite")
    folder = tmp_path / "dataset"
    shutil.copytree(told_run.folder / "dataset", folder)
    users = pd.read_parquet(folder / "users.parquet").drop(columns=["income"])
    users.to_parquet(folder / "users.parquet", index=False)
    for model in (path, told_run.trained):
        failed = CliRunner().invoke(workstation, ["evaluate", str(model), "--dataset", str(folder)])
        assert failed.exit_code == 1 and "the user table lacks the feature income" in failed.output
    described = json.loads((told_run.trained / "model.json").read_text())
    del described["user_features"]
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(EdgeRecError, match="made by another version"):
        SequenceRecommender.load(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(EdgeRecError, match="damaged"):
        SequenceRecommender.load(tmp_path)
    card = (told_run.folder / "MODEL_CARD.md").read_text()
    assert "with the user features income, household_size, number" in card
