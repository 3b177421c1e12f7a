"""First recipes for tables of many kinds: the guesses are right, and the recipe works (issue 10, item 20)."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from edgerec.data.dataset import Dataset
from edgerec.data.guess import GuessedRecipe, guess_recipe
from edgerec.data.guess_columns import by_name, words_of
from edgerec.data.prepare import prepare
from edgerec.errors import DataError
from edgerec.recipe import Recipe, load_recipe

Row = tuple[str, str, int, int]


@pytest.fixture
def rows() -> list[Row]:
    """(user, item, time, quantity): 40 users with 20 events of 60 items each."""
    draw = random.Random(1)
    return [(f"c{u:03}", f"p{draw.randrange(60):02}", 1_500_000_000 + 3600 * n, draw.randrange(-1, 5))
            for n in range(800) for u in [draw.randrange(40)]]  # fmt: skip


def recipe_of(guess: GuessedRecipe, folder: Path) -> Recipe:
    (folder / "recipe.toml").write_text(guess.toml, encoding="utf-8")
    return load_recipe(folder / "recipe.toml")


def prepared(guess: GuessedRecipe, folder: Path) -> Dataset:
    prepare(recipe_of(guess, folder), folder / "dataset", "key", lambda text: None)
    return Dataset.load(folder / "dataset")


def table(path: Path, header: list[str], rows: list[Row], delimiter: str) -> Path:
    path.write_text("".join(delimiter.join(map(str, row)) + "\n" for row in [header, *rows]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "delimiter", "written"),
    [
        ("t.csv", ",", None),
        ("t.csv", ";", ";"),
        ("t.csv", "\t", "\t"),
        ("t.txt", "|", "|"),
        ("t.txt", "\t", None),
        ("t.tsv", "\t", None),
        ("t.dat", "::", "::"),
    ],
)
def test_any_usual_delimiter_is_found(
    name: str, delimiter: str, written: str | None, rows: list[Row], tmp_path: Path
) -> None:
    path = table(tmp_path / name, ["CustomerID", "StockCode", "InvoiceDate", "Quantity"], rows, delimiter)
    guess = guess_recipe(path)
    recipe = recipe_of(guess, tmp_path)
    assert recipe.data.delimiter == written
    assert recipe.data.columns.model_dump() == {
        "user": "CustomerID", "item": "StockCode", "time": "InvoiceDate", "value": "Quantity"
    }  # fmt: skip
    assert recipe.data.min_value == 1  # some quantities are negative
    assert prepared(guess, tmp_path).users == 40
    assert {what.partition(" =")[0] for what, _ in guess.guesses} >= {
        "data.columns.user",
        "data.min_value",
        "split.kind",
    }


@pytest.mark.parametrize(
    ("user", "item", "time", "value"),
    [
        ("user_id", "item_id", "timestamp", "rating"),
        ("userId", "movieId", "timestamp", "rating"),
        ("reviewerID", "asin", "unixReviewTime", "overall"),
        ("visitorid", "itemid", "timestamp", "score"),
        ("household_key", "PRODUCT_ID", "event_time", "QUANTITY"),
        ("member", "track", "date", "plays"),
        ("customer_id", "article_id", "t_dat_time", "qty"),
        ("User", "sku", "created_at", "count"),
    ],
)
def test_columns_are_found_by_their_names_in_any_order(
    user: str, item: str, time: str, value: str, rows: list[Row], tmp_path: Path
) -> None:
    frame = pd.DataFrame(rows, columns=[user, item, time, value])
    frame = frame.assign(order_id=range(len(frame)), category_id=1, userName="x", summary="a, b | c")
    frame[sorted(frame, reverse=True)].to_csv(tmp_path / "t.csv", index=False)
    columns = recipe_of(guess_recipe(tmp_path / "t.csv"), tmp_path).data.columns
    assert columns.model_dump() == {"user": user, "item": item, "time": time, "value": value}


def test_names_are_split_into_words() -> None:
    assert words_of("unixReviewTime") == ["unix", "review", "time"]
    assert words_of("CustomerID") == ["customer", "id"]
    assert words_of("userid") == ["user", "id"]
    assert words_of("HTTPServer_2x") == ["http", "server", "2", "x"]
    assert by_name(["user_name", "age", "user_id"], ["user"]) == "user_id"
    assert by_name(["age"], ["user"]) is None


def test_columns_without_telling_names_are_found_by_what_they_hold(rows: list[Row], tmp_path: Path) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d"])
    frame.insert(0, "kind", "view")
    frame.insert(0, "number", range(len(frame)))
    frame.to_csv(tmp_path / "t.csv", index=False)
    guess = guess_recipe(tmp_path / "t.csv")
    recipe = recipe_of(guess, tmp_path)
    assert recipe.data.columns.model_dump() == {"user": "a", "item": "b", "time": "c", "value": None}
    assert "are these users?" in guess.toml and "are these items?" in guess.toml
    assert prepared(guess, tmp_path).users == 40


def as_parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.assign(when=pd.to_datetime(frame["when"], unit="s")).to_parquet(folder / "events.parquet")
    return folder / "events.parquet"


def as_parquet_folder(frame: pd.DataFrame, folder: Path) -> Path:
    (folder / "t").mkdir()
    for number in range(3):
        frame[number::3].to_parquet(folder / "t" / f"part-{number}.parquet")
    return folder / "t"


def as_json_lines(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    return path


def as_gzip(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "t.csv.gz", index=False)
    return folder / "t.csv.gz"


@pytest.mark.parametrize("write", [as_parquet, as_parquet_folder, as_json_lines, as_gzip], ids=lambda w: w.__name__)
def test_every_kind_of_file_is_read(
    write: Callable[[pd.DataFrame, Path], Path], rows: list[Row], tmp_path: Path
) -> None:
    path = write(pd.DataFrame(rows, columns=["household", "product", "when", "quantity"]), tmp_path)
    dataset = prepared(guess_recipe(path), tmp_path)
    assert dataset.users == 40
    assert dataset.info["time_unit"] in ("s", "us")


def test_real_purchases_are_understood(purchases: Path, tmp_path: Path) -> None:
    guess = guess_recipe(purchases / "purchases.csv")
    recipe = recipe_of(guess, tmp_path)
    assert recipe.data.columns.model_dump() == {
        "user": "household", "item": "product", "time": "when", "value": "quantity"
    }  # fmt: skip
    assert recipe.data.items is not None and recipe.data.items.id == "product_id"
    assert recipe.split.kind == "last-basket"
    assert 'repeats = "first"' in guess.toml
    dataset = prepared(guess, tmp_path)
    assert dataset.users > 200
    assert dataset.targets("test").baskets is not None


def test_a_folder_is_searched_and_tables_beside_are_used(rows: list[Row], tmp_path: Path) -> None:
    folder = tmp_path / "my shop!"
    folder.mkdir()
    table(folder / "orders.csv", ["buyer", "sku", "date", "n"], rows, ",")
    names = {item for _, item, *_ in rows}
    lines = "".join(f"{item};Thing {item};red|big\n" for item in sorted(names))
    (folder / "products.csv").write_text("code;product_name;tags\n" + lines)
    (folder / "customers.csv").write_text("number,age\n" + "".join(f"c{n:03},{n}\n" for n in range(30)))
    (folder / "users.csv").write_text("broken\n")
    (folder / "notes.txt").write_text("a\tb\n" * 9999)
    guess = guess_recipe(folder)
    recipe = recipe_of(guess, tmp_path)
    assert Path(recipe.data.path) == folder / "orders.csv"
    assert recipe.data.name == "my shop-"
    items, users = recipe.data.items, recipe.data.users
    assert items is not None and users is not None
    assert (items.id, items.title, items.multi, items.delimiter) == ("code", "product_name", {"tags": "|"}, ";")
    assert (Path(users.path or "").name, users.id) == ("customers.csv", "number")
    dataset = prepared(guess, tmp_path)
    assert set(dataset.item_table["tags"]) == {"red|big"}
    assert dataset.item_table["title"][0].startswith("Thing p")


def test_paths_may_be_relative_to_the_recipe(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "recipes").mkdir()
    path = table(tmp_path / "data" / "t.csv", ["user", "item", "time", "n"], rows, ",")
    guess = guess_recipe(path, relative_to=tmp_path / "recipes")
    assert 'path = "../data/t.csv"' in guess.toml
    assert prepared(guess, tmp_path / "recipes").users == 40


def test_bad_rows_are_allowed_for_and_told(rows: list[Row], tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["user", "item", "time", "n"], rows, ",")
    with path.open("a") as file:
        file.writelines(f",p01,{n},1\nc001,p02\n" for n in range(20))
    guess = guess_recipe(path)
    assert recipe_of(guess, tmp_path).data.max_rejected == pytest.approx(0.11, abs=0.01)
    assert prepared(guess, tmp_path).info["rejected"] == 40


def test_a_least_value_is_only_asked_of_quantities(rows: list[Row], tmp_path: Path) -> None:
    frame = pd.DataFrame(rows, columns=["user", "item", "time", "weight"])
    for name, values in (("weight", frame["weight"]), ("quantity", frame["weight"] / 7)):
        frame.assign(weight=values).rename(columns={"weight": name}).to_csv(tmp_path / "t.csv", index=False)
        recipe = recipe_of(guess_recipe(tmp_path / "t.csv"), tmp_path)
        assert (recipe.data.columns.value, recipe.data.min_value) == (name, None)


def test_dates_of_another_form_are_told_and_not_used(rows: list[Row], tmp_path: Path) -> None:
    frame = pd.DataFrame(rows, columns=["user", "item", "InvoiceDate", "n"]).assign(InvoiceDate="12/1/2010 8:26")
    frame.to_csv(tmp_path / "t.csv", index=False)
    guess = guess_recipe(tmp_path / "t.csv")
    assert recipe_of(guess, tmp_path).data.columns.time is None
    (why,) = [why for what, why in guess.guesses if what == "no data.columns.time"]
    assert "'InvoiceDate' holds neither numbers nor dates like 2020-12-31 (but '12/1/2010 8:26')" in why


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1,2,3\n4,5,6\n", "its first line holds values"),
        ("word\nother\n", "no delimiter cuts its lines"),
        ("a,b\n1,2\n3,4\n", "no column could be that of users; it has a, b"),
        ("", "no delimiter cuts its lines"),
    ],
)
def test_a_table_that_cannot_be_understood_is_told(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        guess_recipe(tmp_path / "t.csv")


def test_a_folder_without_a_table_is_told(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "no table here"), (tmp_path / "none", "no such file")):
        with pytest.raises(DataError, match=said):
            guess_recipe(path)


@pytest.mark.parametrize(("release", "file"), [("100k", "u.data"), ("1m", "ratings.dat"), ("latest", "ratings.csv")])
def test_a_movielens_release_is_recognised(release: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "ml"
    folder.mkdir()
    lines = [(u, i, 4, 1_000_000_000 + u * 60 + i) for u in range(1, 9) for i in range(1, 7)]
    delimiter = {"100k": "\t", "1m": "::", "latest": ","}[release]
    header = "userId,movieId,rating,timestamp\n" if release == "latest" else ""
    (folder / file).write_text(header + "".join(delimiter.join(map(str, line)) + "\n" for line in lines))
    if release == "latest":
        (folder / "movies.csv").write_text("movieId,title,genres\n1,One,Action|Comedy\n")
    for path in (folder, folder / file):
        guess = guess_recipe(path)
        recipe = recipe_of(guess, tmp_path)
        assert (recipe.data.source, Path(recipe.data.path)) == ("movielens", folder)
        assert prepared(guess, tmp_path).users == 8


def test_a_ratings_table_that_is_not_movielens_is_a_table(rows: list[Row], tmp_path: Path) -> None:
    table(tmp_path / "ratings.csv", ["user", "item", "time", "stars"], rows, ",")
    assert recipe_of(guess_recipe(tmp_path), tmp_path).data.source == "table"


def test_a_large_table_gets_a_limit_of_time(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "t.csv", ["user", "item", "time", "stars"], rows, ",")
    assert recipe_of(guess_recipe(tmp_path / "t.csv"), tmp_path).train.max_minutes is None
    monkeypatch.setattr("edgerec.data.guess.LARGE", len(rows))
    assert recipe_of(guess_recipe(tmp_path / "t.csv"), tmp_path).train.max_minutes == 20
