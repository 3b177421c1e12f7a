import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_recipe

from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare
from edgerec.errors import DataError
from edgerec.recipe import Recipe


def dataset_of(table: Path, folder: Path, **data: object) -> Dataset:
    settings = {"path": str(table), "columns": {"time": "t"}, "min_user_events": 1, **data}
    prepare(Recipe.model_validate({"data": settings}), folder, "key", lambda text: None)
    return Dataset.load(folder)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


ROWS = "user_id,item_id,t\n" + "".join(f"{u},{i},{t}\n" for u, i, t in [
    ("a", "01", 5), ("a", "02", 3), ("a", "03", 4), ("b", "02", 1), ("b", "01", 1), ("b", "03", 9), ("c", "02", 2),
    ("d", "03", 1),
])  # fmt: skip


def test_events_are_ordered_by_time_then_file_and_split_leave_one_out(tmp_path: Path) -> None:
    dataset = dataset_of(write(tmp_path / "t.csv", ROWS), tmp_path / "d")
    assert dataset.user_ids == ["a", "b", "c", "d"]
    # 01 is not trained on: the other events of a (03, 01) and b (01, 03) are validation and test.
    assert list(dataset.item_table["item_id"]) == ["02", "03"]
    assert list(dataset.events) == [1, 2, 0, 1, 0, 2, 1, 2]
    assert list(dataset.parts) == [0, 1, 2, 0, 1, 2, 0, 0]


def test_rows_follow_training_popularity_and_ties_the_id(small_run) -> None:
    dataset = small_run.dataset
    counts = dataset.popularity[1:]
    ids = list(dataset.item_table["item_id"])
    assert counts.min() >= 1
    assert [*zip(-counts, ids, strict=True)] == sorted(zip(-counts, ids, strict=True))


def test_preparation_agrees_with_pandas(purchases: Path, small_run) -> None:
    """An independent preparation of the same real table."""
    frame = pd.read_csv(purchases / "purchases.csv", dtype=str)
    frame = frame.sort_values("when", kind="stable").drop_duplicates(["household", "product"])
    while True:
        before = len(frame)
        frame = frame[frame.groupby("product").household.transform("size") >= 10]
        frame = frame[frame.groupby("household")["product"].transform("size") >= 5]
        if len(frame) == before:
            break
    dataset = small_run.dataset
    ids = np.array(["", *dataset.item_table["item_id"]])
    expected = {user: list(group["product"]) for user, group in frame.groupby("household")}
    histories = np.split(dataset.events, dataset.offsets[1:-1])
    assert {u: list(ids[h]) for u, h in zip(dataset.user_ids, histories, strict=True)} == expected


def test_csv_tsv_gzip_and_parquet_give_one_fingerprint(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path / "t.csv", ROWS), dtype=str)
    frame.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    prints = {
        dataset_of(tmp_path / name, tmp_path / "d" / name).split_fingerprint
        for name in ("t.csv", "t.tsv", "t.csv.gz", "t.parquet")
    }
    assert len(prints) == 1


def test_the_fingerprint_tells_another_order_apart(tmp_path: Path) -> None:
    first = dataset_of(write(tmp_path / "a.csv", ROWS), tmp_path / "a")
    other = dataset_of(write(tmp_path / "b.csv", ROWS.replace("a,02,3", "a,02,6")), tmp_path / "b")
    assert first.split_fingerprint != other.split_fingerprint


def test_ids_stay_texts_byte_for_byte(tmp_path: Path) -> None:
    ids = ["007", " spaced ", "émoji🎬", 'quo"te', "12345678901234567890", "a,b"]
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user_id", "item_id", "t"), *[("00", item, t) for t, item in enumerate(ids)],
                                    *[("01", item, t) for t, item in enumerate(ids)], ("01", "x", 7), ("01", "y", 8),
                                    ("00", "x", 7), ("00", "y", 8)])  # fmt: skip
    dataset = dataset_of(tmp_path / "t.csv", tmp_path / "d")
    assert set(dataset.item_table["item_id"]) == set(ids)
    assert dataset.user_ids == ["00", "01"]


def test_dates_are_read_with_their_offset(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t.csv",
        "user_id,item_id,t\nu,late,2020-01-01T12:00:00+00:00\nu,early,2020-01-01T12:00:00+02:00\nu,first,2020-01-01\n"
        "u,0,2019-12-31\n",
    )
    dataset = dataset_of(table, tmp_path / "d")
    assert list(dataset.item_table["item_id"]) == ["0", "first"]
    assert list(dataset.parts) == [0, 0, 1, 2]
    assert np.diff(dataset.times).tolist() == [hours * 3600 * 1_000_000 for hours in (24, 10, 2)]


def test_bad_rows_are_written_with_line_and_reason(tmp_path: Path) -> None:
    good = "".join(f"u,i{n},{n}\n" for n in range(10))
    table = write(tmp_path / "t.csv", f"user_id,item_id,t\nu,a,1\nu,b,yesterday\n,c,3\nu,d\nu,e,5,6\nu,,7\n{good}")
    dataset = dataset_of(table, tmp_path / "d", max_rejected=0.5)
    with (tmp_path / "d" / "rejected.csv").open() as file:
        rejected = [(row["line"], row["reason"]) for row in csv.DictReader(file)]
    assert rejected == [
        ("3", "time is not a whole number"),
        ("4", "no user id"),
        ("5", "fewer values than columns"),
        ("6", "more values than columns"),
        ("7", "no item id"),
    ]
    assert dataset.info["rejected"] == 5


def test_too_many_bad_rows_stop_and_leave_the_list(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "user_id,item_id,t\nu,a,1\nu,b,x\nu,c,3\n")
    with pytest.raises(DataError, match=r"line 3: time is not a whole number; 1 of 3 rows are rejected"):
        dataset_of(table, tmp_path / "d")
    assert "t.csv,3,time is not a whole number" in (tmp_path / "rejected.csv").read_text()
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("user_id,item_id,t\n", "a header and no rows"),
        ("user_id,thing,t\nu,a,1\n", "no column 'item_id'; it has user_id, thing, t. Name yours with data"),
        ("user_id,item_id,t,t\nu,a,1,1\n", "column named twice: t"),
        ("user_id,item_id,t\nu,a,1\n", "no interaction is left of 1"),
    ],
)  # fmt: skip
def test_a_table_with_nothing_to_learn_from_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        dataset_of(write(tmp_path / "t.csv", text), tmp_path / "d", min_user_events=2)
    assert said in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.parametrize("name", ["none.csv", "t.xlsx", "t.parquet"])
def test_an_absent_or_foreign_file_is_told(tmp_path: Path, name: str) -> None:
    if name != "none.csv":
        write(tmp_path / name, "not a table")
    with pytest.raises(DataError, match=name):
        dataset_of(tmp_path / name, tmp_path / "d")


def test_min_value_and_last_repeats(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t.csv",
        "user_id,item_id,t,stars\nu,a,1,5\nu,b,2,2\nu,a,3,4.5\nu,c,2,4\nu,d,9,4\nu,e,10,4\n",
    )
    columns = {"time": "t", "value": "stars"}
    dataset = dataset_of(table, tmp_path / "d", min_value=4, repeats="last", columns=columns)
    ids = ["", *dataset.item_table["item_id"]]
    assert [ids[row] for row in dataset.events[:2]] == ["c", "a"]
    assert dataset.info["interactions"] == 4


def test_titles_come_from_the_template(small_run) -> None:
    titles = dict(zip(small_run.dataset.item_table["item_id"], small_run.dataset.item_table["title"], strict=True))
    assert titles["1082185"] == "BANANAS (National)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,name\n1,A,\n", "items.csv,2,more values than columns,"),
        ("id,name\n1,A\n2\n", "items.csv,3,fewer values than columns,2"),
    ],
)
def test_a_row_of_an_item_table_whose_values_would_shift_is_rejected(tmp_path: Path, text: str, said: str) -> None:
    items = {"path": str(write(tmp_path / "items.csv", text)), "id": "id", "title": "name"}
    dataset = dataset_of(write(tmp_path / "t.csv", ROWS), tmp_path / "d", items=items)
    assert said in (tmp_path / "d" / "rejected.csv").read_text()
    assert dataset.info["rejected"] == 0


@pytest.mark.parametrize("title", ["{name", "{name:>9}", "{name!r}"])
def test_a_title_template_that_is_none_is_told(tmp_path: Path, title: str) -> None:
    items = {"path": str(write(tmp_path / "items.csv", "id,name\n02,B\n")), "id": "id", "title": title}
    with pytest.raises(DataError, match=r"data\.items\.title"):
        dataset_of(write(tmp_path / "t.csv", ROWS), tmp_path / "d", items=items)


def test_columns_called_id_or_title_are_features_like_others(tmp_path: Path) -> None:
    table = write(tmp_path / "items.csv", "sku,id,title,name\n02,x,y,Two\n02,again,,\n,none,,\n")
    dataset = dataset_of(
        write(tmp_path / "t.csv", ROWS), tmp_path / "d", items={"path": str(table), "id": "sku", "title": "name"}
    )
    line, _ = dataset.item_table.to_dict("records")
    assert (line["title"], line["id"], line["feature_title"]) == ("Two", "x", "y")


def test_a_missing_title_column_is_told(purchases: Path, tmp_path: Path) -> None:
    recipe = small_recipe(purchases, data={"items": {"path": str(purchases / "products.csv"), "id": "product_id",
                                                     "title": "name"}})  # fmt: skip
    with pytest.raises(DataError, match=r"no column 'name'.*data\.items\.title"):
        prepare(recipe, tmp_path / "d", "key", lambda text: None)
