import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from edgerec.cli.main import main
from edgerec.data.dataset import Dataset
from edgerec.data.describe import describe
from edgerec.data.feature_encoding import OUTLIER, encode_features, fit_feature, guess_kind
from edgerec.data.prepare import prepare
from edgerec.errors import DataError
from edgerec.recipe import Recipe

if TYPE_CHECKING:
    from edgerec.pipeline import Run


def column(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="string")


def test_numbers_are_standardised_with_the_training_rows_mean_and_deviation() -> None:
    feature = fit_feature("price", "numeric", column("1", "3", None, "soon", "inf"))
    assert (feature.mean, feature.std, feature.missing) == (2, 1, 0.6)
    assert feature.scale(column("4", None, "x", "nan", "1e300", "-70")).tolist() == [2, 0, 0, 0, OUTLIER, -OUTLIER]


def test_a_constant_or_absent_number_does_no_harm() -> None:
    assert fit_feature("p", "numeric", column("5", "5")).scale(column("5", "6")).tolist() == [0, 1]
    assert fit_feature("p", "numeric", column(None, None)).scale(column("5")).tolist() == [5]


def test_categories_are_coded_by_frequency_and_the_unknown_is_zero() -> None:
    feature = fit_feature("brand", "categorical", column("b", "a", "b", None, " a ", "c", ""))
    assert feature.vocabulary == ["a", "b", "c"]
    encoded = encode_features([feature], pd.DataFrame({"brand": column("b", "new", None, "a")}))
    assert encoded.codes.tolist() == [[2], [0], [0], [1]]


def test_several_values_are_several_codes_of_one_joint_vocabulary() -> None:
    brand = fit_feature("brand", "categorical", column("own", None, None))
    genres = fit_feature("genres", "multi", column("War|Drama", "Drama", None))
    assert genres.vocabulary == ["Drama", "War"]
    table = pd.DataFrame(
        {"genres": column("War|New", "New", None, "Drama|War"), "brand": column("own", "x", None, "own")}
    )
    encoded = encode_features([brand, genres], table)
    assert encoded.codes.tolist() == [[1, 3, 0], [0, 0, 0], [0, 0, 0], [1, 2, 3]]
    assert (encoded.codes_used, encoded.numbers.shape) == (4, (4, 0))


def test_a_kind_is_guessed_from_the_values() -> None:
    assert guess_kind(column(*map(str, range(30)))) == "numeric"
    assert guess_kind(column("1", "2", "1")) == "categorical"
    assert guess_kind(column(*(f"v{n}" for n in range(30)))) == "categorical"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    interactions = pd.DataFrame(
        [(user, item, t) for user in ("u1", "u2", "u3") for t, item in enumerate(["1", "2", "3", "4"])],
        columns=["user_id", "item_id", "t"],
    )
    interactions.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "items.csv").write_text("id,name,genres,year\n1,One,War|Drama,1999\n2,Two,,2001\n4,Four,Sci-Fi,1950\n")
    (tmp_path / "users.csv").write_text("id,age\nu1,20\nu2,40\nunknown,99\n")
    recipe = {
        "path": str(tmp_path / "t.csv"),
        "columns": {"time": "t"},
        "items": {"path": str(tmp_path / "items.csv"), "id": "id", "title": "name", "multi": {"genres": "|"},
                  "numeric": ["year"]},
        "users": {"path": str(tmp_path / "users.csv"), "id": "id", "numeric": ["age"]},
    }  # fmt: skip
    prepare(Recipe.model_validate({"data": recipe}), tmp_path / "d", "key", lambda text: None)
    return Dataset.load(tmp_path / "d")


def test_feature_tables_are_joined_and_learned_from_training_rows(dataset: Dataset) -> None:
    genres, year = dataset.features("items")
    assert (genres.kind, genres.vocabulary) == ("multi", ["Drama", "War"])  # item 4 is in no training part
    assert (year.kind, year.mean) == ("numeric", 2000)
    encoded = encode_features([genres, year], dataset.item_table)
    assert (encoded.codes.shape, encoded.codes_used) == ((dataset.items, 2), 3)
    (age,) = dataset.features("users")
    assert (age.mean, age.missing) == (30, pytest.approx(1 / 3))
    assert np.isfinite(age.scale(dataset.user_table["age"])).all()


def test_an_unknown_feature_column_is_told(dataset: Dataset, tmp_path: Path) -> None:
    items = {"path": str(tmp_path / "items.csv"), "id": "id", "multi": {"genre": "|"}}
    recipe = Recipe.model_validate({"data": {"path": str(tmp_path / "t.csv"), "items": items}})
    with pytest.raises(DataError, match=r"data\.items: no column genre; the table has name, genres, year"):
        prepare(recipe, tmp_path / "e", "key", lambda text: None)


def test_describe_tells_what_is_in_a_data_set(small_run: "Run") -> None:
    dataset = small_run.dataset
    found = json.loads(json.dumps(describe(dataset)))
    lengths = np.diff(dataset.offsets)
    assert found["history_length"]["p50"] == np.median(lengths)
    assert found["density"] == pytest.approx(lengths.sum() / (dataset.users * dataset.items))
    assert 0 < found["popularity"]["gini"] < 1
    assert found["popularity"]["top_10_percent_share"] > 0.1
    assert found["parts"]["test"] == found["targets"]["test"]
    assert [time[:7] for time in found["time_range"]] == ["2017-01", "2018-01"]
    assert 0.3 < found["ties"] < 1  # products of one basket share its time
    assert set(found["features"]["items"]) >= {"department", "brand", "product_category"}


def test_describe_is_a_command(small_run: "Run", monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.setattr("edgerec.recipe.load_recipe", lambda *_: small_run.recipe)
    arguments = ["data", "describe", "any.toml", "--out", str(small_run.folder)]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 0
    assert "history_length" in text.stdout and "items: department" in text.stdout
    assert json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["users"] == small_run.dataset.users
