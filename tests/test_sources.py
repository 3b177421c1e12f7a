"""The same table in every kind of file, and MovieLens folders in their original formats."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgerec.artifact import fingerprint
from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare
from edgerec.data.rejected import Rejected
from edgerec.data.sources.feature_table import ID, read_feature_table
from edgerec.data.sources.places import File, feature_source
from edgerec.data.sources.tables import open_table, source_fingerprint
from edgerec.errors import DataError, RecipeError
from edgerec.recipe import FeatureTable, Recipe, load_recipe
from edgerec.recipe.data import MovieLensData, TableData

HARD_IDS = ["007", "12345678901234567890", "émoji🎬", 'quo"te', "a,b", "tab\there", "back\\slash", " x "]


def prepared(folder: Path, **data: object) -> Dataset:
    prepare(Recipe.model_validate({"data": {"min_user_events": 1, **data}}), folder, "key", lambda text: None)
    return Dataset.load(folder)


def rejected(folder: Path) -> list[tuple[str, str]]:
    with (folder / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return [(row["line"], row["reason"]) for row in csv.DictReader(file)]


def feature_table(settings: FeatureTable, folder: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The table that was read, and the rows that were not."""
    source = feature_source(settings)
    assert source
    with Rejected(folder / "rejected.csv") as bad:
        table = read_feature_table(source, "data.items", (), bad, lambda text: None)
    return table, rejected(folder)


def as_csv(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def as_tsv(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "t.tsv.gz", sep="\t", index=False)
    return folder / "t.tsv.gz"


def as_parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def as_parquet_folder(frame: pd.DataFrame, folder: Path) -> Path:
    """Thirteen files in two levels, several row groups each, and what Spark leaves beside them."""
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), 13)):
        path = folder / "t" / f"year={number // 5}" / f"part-{number:02}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.iloc[rows].to_parquet(path, row_group_size=max(1, len(rows) // 3))
    (folder / "t" / "_SUCCESS").touch()
    (folder / "t" / "_temporary").mkdir()
    (folder / "t" / "_temporary" / "half.parquet").write_bytes(b"PAR1")
    return folder / "t"


def as_json_lines(frame: pd.DataFrame, folder: Path) -> Path:
    with (folder / "t.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in frame.to_dict("records"))
    return folder / "t.jsonl"


def as_json_lines_gz(frame: pd.DataFrame, folder: Path) -> Path:
    with gzip.open(folder / "t.ndjson.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\r\n" for row in frame.to_dict("records"))
    return folder / "t.ndjson.gz"


KINDS = [as_csv, as_tsv, as_parquet, as_parquet_folder, as_json_lines, as_json_lines_gz]
each_kind = pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)


@pytest.mark.slow
@each_kind
def test_real_purchases_give_one_dataset_from_every_kind_of_file(
    write: Callable[[pd.DataFrame, Path], Path], purchases: Path, tmp_path: Path
) -> None:
    settings = {"columns": {"user": "household", "item": "product", "time": "when"}, "min_item_users": 5}
    expected = prepared(tmp_path / "expected", path=str(purchases / "purchases.csv"), **settings)
    frame = pd.read_csv(purchases / "purchases.csv", dtype=str)
    path = write(frame, tmp_path)
    found = prepared(tmp_path / "found", path=str(path), **settings)
    assert found.split_fingerprint == expected.split_fingerprint
    assert found.user_ids == expected.user_ids
    assert list(found.item_table["item_id"]) == list(expected.item_table["item_id"])


@each_kind
def test_ids_stay_byte_for_byte_and_in_file_order(write: Callable[[pd.DataFrame, Path], Path], tmp_path: Path) -> None:
    rows = [(user, item) for user in ("00", "0") for item in [*HARD_IDS, "y", "z"]]
    path = write(pd.DataFrame(rows, columns=["user_id", "item_id"]), tmp_path)
    dataset = prepared(tmp_path / "d", path=str(path))
    assert dataset.user_ids == ["0", "00"]
    ids = ["", *dataset.item_table["item_id"]]
    assert [ids[row] for row in dataset.events[: len(HARD_IDS)]] == HARD_IDS


def test_the_order_of_a_parquet_folder_is_that_of_its_paths(tmp_path: Path) -> None:
    """With no time column, and files large enough for several threads."""
    rows = 300_000
    for name, start in (("b/1", rows), ("a-b/1", 0), ("b/2", 2 * rows)):
        path = tmp_path / "t" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        items = pa.array(range(start, start + rows), pa.int64())
        pq.write_table(pa.table({"user_id": pa.array(["u"] * rows), "item_id": items}), path, row_group_size=20_000)
    dataset = prepared(tmp_path / "d", path=str(tmp_path / "t"))
    ids = np.array(["-1", *dataset.item_table["item_id"]]).astype(int)
    assert np.array_equal(ids[dataset.events[:-2]], np.arange(3 * rows - 2))


def test_a_parquet_folder_whose_files_differ_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    with pytest.raises(DataError, match=r"t: no \.parquet file below this folder"):
        open_table(File(folder))
    pd.DataFrame({"user_id": ["u"], "item_id": [1]}).to_parquet(folder / "a.parquet")
    pd.DataFrame({"user_id": ["u"], "item_id": [1.5]}).to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: column 'item_id' is double, in a\.parquet it is int64"):
        open_table(File(folder))
    pd.DataFrame({"user_id": ["u"]}).to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: no column 'item_id', which a\.parquet has"):
        open_table(File(folder))
    pd.DataFrame({"user_id": ["u"] * 4, "item_id": [2, 3, 4, 5], "t": [None] * 4}).to_parquet(folder / "a.parquet")
    pd.DataFrame({"user_id": ["u"], "item_id": [1], "t": ["now"]}).to_parquet(folder / "b.parquet")
    assert prepared(tmp_path / "d", path=str(folder)).info["interactions"] == 5  # an empty column fits any other
    (folder / "b.parquet").write_text("no")
    with pytest.raises(DataError, match=r"b\.parquet: not a Parquet file"):
        open_table(File(folder))


def test_numbers_in_json_keep_their_digits(tmp_path: Path) -> None:
    numbers = ["7", "12345678901234567890", "123456789012345678901234567890", "1.50", "1e3", "0.1", "-0"]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"user_id": 1, "item_id": {n}}}\n' for n in [*numbers, 8, 9]), encoding="utf-8")
    dataset = prepared(tmp_path / "d", path=str(path))
    assert sorted(dataset.item_table["item_id"]) == sorted(numbers)


def test_a_bad_json_line_is_rejected_with_its_line_and_reason(tmp_path: Path) -> None:
    good = "".join(f'{{"u":"u","i":"i{n}","t":{n}}}\n' for n in range(10))
    path = tmp_path / "t.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"u":"u","i":"a","t":1}\n{"u":"u","i":\n\n[1]\n{"u":"u","i":"b","t":"soon"}\n"text"\n'
        b'{"u":"u","i":"\xff","t":3}\n{"u":"u","i":"\\ud83c","t":3}\n{"i":"c","t":4}\n{"u":"u","i":null,"t":4}\n'
        + good.encode()
        + b"\n \n"
    )
    columns = {"user": "u", "item": "i", "time": "t"}
    dataset = prepared(tmp_path / "d", path=str(path), columns=columns, max_rejected=0.9)
    assert rejected(tmp_path / "d") == [
        ("2", "not JSON"),
        ("3", "not JSON"),
        ("4", "not a JSON object"),
        ("5", "time is not a whole number"),
        ("6", "not a JSON object"),
        ("7", "not UTF-8"),
        ("8", "not UTF-8"),
        ("9", "no user id"),
        ("10", "no item id"),
    ]
    assert dataset.info["rejected"] == 9
    assert dataset.info["interactions"] == 11
    with pytest.raises(DataError, match=r"t\.jsonl: line 2: not JSON; 9 of 20 rows are rejected"):
        prepared(tmp_path / "e", path=str(path), columns=columns)


@pytest.mark.parametrize(("text", "said"), [("", "no JSON object"), ("[1]\n", "no JSON object")])
def test_a_json_file_without_objects_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        open_table(File(path))


def test_a_json_file_that_is_no_gzip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_text("{}")
    with pytest.raises(DataError, match=r"t\.jsonl\.gz: cannot be read"):
        open_table(File(path))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_item_tables_of_every_kind_are_text_with_lists_joined(kind: str, tmp_path: Path) -> None:
    records = [{"id": 7, "name": "x", "tags": ["a", "b"]}, {"id": 8, "name": None, "tags": ["c"]}, {"id": None}]
    frame = pd.DataFrame(records).astype({"id": "Int64"})
    path = tmp_path / ("t" if kind == "folder" else f"t.{kind}")
    if kind == "folder":
        path.mkdir()
        frame[:1].to_parquet(path / "1.parquet")
        frame[1:].to_parquet(path / "2.parquet")
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    table, left_out = feature_table(FeatureTable(path=str(path), id="id", title="name"), tmp_path)
    assert [reason for _, reason in left_out] == ["no id"]
    assert list(table[ID]) == ["7", "8"]
    assert list(table["title"]) == ["x", ""]
    assert list(table["tags"]) == ["a|b", "c"]


def test_a_bad_line_of_a_json_item_table_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": 1}\n{"id":\n')
    table, left_out = feature_table(FeatureTable(path=str(path), id="id"), tmp_path)
    assert list(table[ID]) == ["1"]
    assert left_out == [("2", "not JSON")]


RATINGS = [("1", "10", "5", 3), ("1", "20", "3", 1), ("1", "30", "4", 2), ("1", "40", "1", 4), ("1", "50", "1", 5)]
TITLES = {"10": "Amélie (2001)", "20": 'The "B" (1990)', "30": "C, a film (1995)", "40": "D", "50": "E"}


def movielens(folder: Path, release: str) -> Path:
    """A tiny folder in the format of a release."""
    folder.mkdir()
    if release == "100k":
        (folder / "u.data").write_text("".join("\t".join(map(str, line)) + "\n" for line in RATINGS))
        flags = "|".join(["0", "1", "0", "0", "0", "1", *["0"] * 13])
        (folder / "u.item").write_text(
            "".join(f"{i}|{t}|01-Jan-1995||http://x|{flags}\n" for i, t in TITLES.items()), encoding="latin-1"
        )
        (folder / "u.user").write_text("1|24|M|technician|01002\n")
    elif release in ("1m", "10m"):
        (folder / "ratings.dat").write_text("".join("::".join(map(str, line)) + "\n" for line in RATINGS))
        (folder / "movies.dat").write_text(
            "".join(f"{i}::{t}::Action|Comedy\n" for i, t in TITLES.items()),
            encoding="latin-1" if release == "1m" else "utf-8",
        )
        if release == "1m":
            (folder / "users.dat").write_text("1::M::24::10::01002\n")
    else:
        with (folder / "ratings.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("userId", "movieId", "rating", "timestamp"), *RATINGS])
        with (folder / "movies.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [(i, t, "Action|Comedy") for i, t in TITLES.items()]
            csv.writer(file).writerows([("movieId", "title", "genres"), *rows])
    return folder


@pytest.mark.parametrize("release", ["100k", "1m", "10m", "latest"])
def test_a_movielens_folder_is_read_as_it_was_published(release: str, tmp_path: Path) -> None:
    folder = movielens(tmp_path / "ml", release)
    dataset = prepared(tmp_path / "d", source="movielens", path=str(folder))
    items = dataset.item_table.set_index("item_id")
    ids = ["", *items.index]
    assert [ids[row] for row in dataset.events] == ["20", "30", "10", "", ""]
    assert dict(items["title"]) == {i: TITLES[i] for i in ("10", "20", "30")}
    assert set(items["genres"]) == {"Action|Comedy"}
    users = pd.read_parquet(tmp_path / "d" / "users.parquet")
    assert ("zip_code" in users) == (release in ("100k", "1m"))
    if "zip_code" in users:
        assert list(users["zip_code"]) == ["01002"]
        assert list(users["gender"]) == ["M"]
    data = MovieLensData(source="movielens", path=str(folder))
    assert len(source_fingerprint(data)) == (3 if "zip_code" in users else 2)


def test_lines_of_a_file_without_header_count_from_one(tmp_path: Path) -> None:
    folder = movielens(tmp_path / "ml", "1m")
    text = (folder / "ratings.dat").read_text()
    (folder / "ratings.dat").write_text("1::10::5::soon\n1::10::5\n" + text + "1::60::5::late\n")
    prepared(tmp_path / "d", source="movielens", path=str(folder), max_rejected=0.9)
    assert rejected(tmp_path / "d") == [
        ("1", "time is not a whole number"),
        ("2", "fewer values than columns"),
        ("8", "time is not a whole number"),
    ]


def test_a_movielens_folder_without_ratings_is_told(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none", "no such folder"),
        (tmp_path, r"no MovieLens ratings here; looked for u\.data"),
    ):
        with pytest.raises(DataError, match=said):
            prepared(tmp_path / "d", source="movielens", path=str(path))


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("user_id,item_id\nu,i\n")
    data = TableData(path=str(path))
    before = fingerprint(source_fingerprint(data))
    path.write_text("user_id,item_id\nu,i\nu,j\n")
    assert fingerprint(source_fingerprint(data)) != before
    path.unlink()
    with pytest.raises(DataError, match=r"t\.csv: no such file"):
        source_fingerprint(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('source = "movielens"', 'source = "movielens" needs a path'),
        ('source = "sql"\ntable = "t"', 'source = "sql" needs a url'),
        ('source = "sql"\nurl = "sqlite://"', "needs either a table or a query"),
        ('source = "sql"\nurl = "sqlite://"\ntable = "t"\nquery = "q"', "needs either a table or a query"),
        (
            'source = "sql"\nurl = "sqlite://"\ntable = "t"\npath = "p"',
            "path: unknown key; it goes with",
        ),
        ('path = "p"\ntable = "t"', 'table: unknown key; it goes with source = "sql"'),
        ('path = "p"\nitems = { id = "i" }', "one of path, table and query"),
        ('path = "p"\nitems = { id = "i", path = "p", table = "t" }', "one of path, table and query"),
        ('path = "p"\nitems = { id = "i", path = "p", url = "sqlite://" }', "a url goes with table or query"),
        ('path = "p"\nusers = { id = "i", table = "t" }', "users is read from a database and needs a url"),
    ],
)
def test_a_source_that_cannot_be_meant_is_told(tmp_path: Path, data: str, said: str) -> None:
    (tmp_path / "recipe.toml").write_text(f"[data]\n{data}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "recipe.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
