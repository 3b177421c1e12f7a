"""Faults in reading tables that were reported (issue 10), each with its number."""

import csv
import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare
from edgerec.errors import DataError
from edgerec.recipe import Recipe, mask_url

HEADER = "user_id,item_id,t\n"


def prepared(table: Path, said: list[str] | None = None, **data: object) -> Dataset:
    settings = {"path": str(table), "columns": {"time": "t"}, "min_user_events": 1, "max_rejected": 0.5, **data}
    folder = table.parent / f"{table.name}-dataset"
    prepare(Recipe.model_validate({"data": settings}), folder, "key", (said if said is not None else []).append)
    return Dataset.load(folder)


def read_from_database(url: str, folder: Path) -> None:
    data = {"source": "sql", "url": url, "table": "t"}
    prepare(Recipe.model_validate({"data": data}), folder / "d", "key", lambda text: None)


def rejected(dataset: Dataset) -> list[tuple[str, str, str]]:
    with (dataset.folder / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return [(Path(row["file"]).name, row["line"], row["reason"]) for row in csv.DictReader(file)]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(count: int, start: int = 0) -> str:
    return "".join(f"u{n % 7},i{n % 11},{n}\n" for n in range(start, start + count))


# Item 4: times and ids of other types


def test_item_4_milliseconds_with_a_fraction_are_times(tmp_path: Path) -> None:
    lines = "".join(f"u,i{n},{1612345678901.5 + n}\n" for n in range(5))
    dataset = prepared(written(tmp_path / "t.csv", HEADER + lines))
    assert dataset.times.tolist() == [1612345678901500 + 1000 * n for n in range(5)]
    assert dataset.info["time_unit"] == "us"


def test_item_4_nanoseconds_are_times(tmp_path: Path) -> None:
    lines = "".join(f"u,i{n},{1612345678901234567 + 1000 * n}\n" for n in range(5))
    dataset = prepared(written(tmp_path / "t.csv", HEADER + lines))
    assert dataset.times.tolist() == [1612345678901234 + n for n in range(5)]
    assert dataset.info["time_unit"] == "us"


def test_item_4_whole_numbers_with_gaps_stay_whole_in_parquet(tmp_path: Path) -> None:
    users = pa.array([17850.0, None, *[17850.0] * 4, 1.3e16], pa.float64())
    items = pa.array([float(n) for n in range(7)], pa.float32())
    times = pa.array([1612345678.25 + n for n in range(7)])
    pq.write_table(pa.table({"user_id": users, "item_id": items, "t": times}), tmp_path / "t.parquet")
    items_table = pa.table({"id": pa.array([0.0, None, 1.0, 2.0]), "size": ["s", "m", "l", "x"]})
    pq.write_table(items_table, tmp_path / "items.parquet")
    dataset = prepared(tmp_path / "t.parquet", items={"path": str(tmp_path / "items.parquet"), "id": "id"})
    assert dataset.user_ids == ["13000000000000000", "17850"]
    table = dataset.item_table.set_index("item_id")
    assert set(table.index) == {"0", "2", "3", "6"}
    assert (table["size"]["0"], table["size"]["2"]) == ("s", "x")
    assert dataset.times.max() == 1612345684250000


def test_item_4_whole_numbers_with_gaps_stay_whole_in_a_database(tmp_path: Path) -> None:
    rows = [(17850.0 if n != 3 else None, float(n), n) for n in range(8)]
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute("create table t (user_id real, item_id real, t integer)")
        database.executemany("insert into t values (?, ?, ?)", rows)
        database.commit()
    data = {"source": "sql", "url": f"sqlite:///{tmp_path}/t.db", "table": "t", "columns": {"time": "t"}}
    settings = {**data, "max_rejected": 0.5, "min_user_events": 1}
    prepare(Recipe.model_validate({"data": settings}), tmp_path / "d", "key", lambda text: None)
    dataset = Dataset.load(tmp_path / "d")
    assert dataset.user_ids == ["17850"]
    assert list(dataset.item_table["item_id"]) == ["0", "1", "2", "4", "5"]
    assert rejected(dataset) == [("t", "4", "no user id")]


def test_item_4_numbers_in_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    lines = "".join(f"7.0,{item},{n}\n" for n, item in enumerate(["1.0", "01", "1.3e+16", "1", "2"]))
    dataset = prepared(written(tmp_path / "t.csv", HEADER + lines))
    assert dataset.user_ids == ["7.0"]
    assert list(dataset.item_table["item_id"]) == ["01", "1.0", "1.3e+16"]


# Item 10: line numbers


def test_item_10_lines_are_right_after_blank_and_multi_line_records(tmp_path: Path) -> None:
    text = HEADER + 'u,a,1\n\n\n"u","b\nc\nd",2\nu,e,soon\n\nu,f\n' + rows(10) + "u,g,late\n"
    dataset = prepared(written(tmp_path / "t.csv", text))
    assert [line for _, line, _ in rejected(dataset)] == ["8", "10", "21"]


def test_item_10_bad_rows_of_item_and_user_tables_are_listed_but_do_not_count(tmp_path: Path) -> None:
    items = written(tmp_path / "items.csv", 'id,name\n1,"One\nand only"\n2\n,none\n1,again\n3,x,y\n')
    users = written(tmp_path / "users.csv", b"id,age\nu0,7\n\xff,8\n")
    tables = {"items": {"path": str(items), "id": "id"}, "users": {"path": str(users), "id": "id"}}
    dataset = prepared(written(tmp_path / "t.csv", HEADER + rows(20)), max_rejected=0.0, **tables)
    assert rejected(dataset) == [
        ("items.csv", "4", "fewer values than columns"),
        ("items.csv", "5", "no id"),
        ("items.csv", "6", "duplicate id"),
        ("items.csv", "7", "more values than columns"),
        ("users.csv", "3", "not UTF-8"),
    ]
    assert dataset.info["rejected"] == 0


def test_item_10_rows_of_a_parquet_folder_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for name, users in (("a", ["u", "u", None]), ("b", ["u", None, "u", "u", "u"])):
        table = {"user_id": users, "item_id": [f"{name}{n}" for n in range(len(users))], "t": list(range(len(users)))}
        pq.write_table(pa.table(table), tmp_path / "t" / f"{name}.parquet")
    dataset = prepared(tmp_path / "t")
    assert rejected(dataset) == [("a.parquet", "3", "no user id"), ("b.parquet", "2", "no user id")]


# Item 24: quotes that are not closed


def test_item_24_a_quote_that_is_never_closed_stops_with_its_line(tmp_path: Path) -> None:
    lines = rows(6000).splitlines(keepends=True)
    lines[2998] = '"' + lines[2998]
    with pytest.raises(DataError, match=r"t\.csv: line 3000: the quote that opens here is not closed"):
        prepared(written(tmp_path / "t.csv", HEADER + "".join(lines)))


def test_item_24_a_stray_quote_costs_no_more_than_its_own_line(tmp_path: Path) -> None:
    text = HEADER + rows(50) + '"u,x,1\n' + rows(50) + '"u2","y",2\n' + rows(50)
    dataset = prepared(written(tmp_path / "t.csv", text))
    assert rejected(dataset) == [("t.csv", "52", "a quote inside a value is not closed or not doubled")]
    assert dataset.info["good_rows"] == 151


def test_item_24_two_quotes_far_apart_that_do_not_fit_the_columns_are_not_one_record(tmp_path: Path) -> None:
    text = HEADER + '"u,x,1\n' + rows(300) + 'u,y",2\n' + rows(50)
    dataset = prepared(written(tmp_path / "t.csv", text))
    assert rejected(dataset) == [("t.csv", "2", "a quote is not closed on its line")]
    assert dataset.info["good_rows"] == 351


def test_item_24_a_record_of_very_many_lines_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    text = HEADER + rows(20) + 'u,"' + "x\n" * 150 + '",9\n' + rows(20, 20)
    dataset = prepared(written(tmp_path / "t.csv", text), said)
    assert any("lines 22 to 172 are one record: is a quote not closed?" in line for line in said)
    assert dataset.info["good_rows"] == 41


# Item 25: Parquet and gzip


def test_item_25_binary_ids_are_utf_8(tmp_path: Path) -> None:
    users = pa.array(["é001".encode(), b"\xff", "é002".encode(), *["é001".encode()] * 4], pa.binary())
    table = {"user_id": users, "item_id": [f"i{n}" for n in range(7)], "t": list(range(7))}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    dataset = prepared(tmp_path / "t.parquet")
    assert dataset.user_ids == ["é001", "é002"]
    assert rejected(dataset) == [("t.parquet", "2", "user_id is not UTF-8")]


def test_item_25_rejected_rows_of_parquet_count_from_one(tmp_path: Path) -> None:
    table = {"user_id": ["u", None, "u", "u", "u", "u"], "item_id": list("abcdef"), "t": [1, 2, 3, 4, 5, 6]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    assert rejected(prepared(tmp_path / "t.parquet")) == [("t.parquet", "2", "no user id")]


def test_item_25_a_gzip_with_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress((HEADER + rows(2000)).encode()))
    packed[-8] ^= 0xFF
    with pytest.raises(DataError, match=r"t\.csv\.gz: cannot be read"):
        prepared(written(tmp_path / "t.csv.gz", bytes(packed)))


# Item 26: bytes that are not text


def test_item_26_an_invalid_byte_costs_its_row(tmp_path: Path) -> None:
    text = HEADER.encode() + b"u,caf\xe9,1\n" + rows(30).encode() + "u,café,2\n".encode()
    items = written(tmp_path / "items.csv", b"id,name\ni1,caf\xe9\ni2,x\n")
    dataset = prepared(written(tmp_path / "t.csv", text), items={"path": str(items), "id": "id"})
    assert rejected(dataset) == [("t.csv", "2", "not UTF-8"), ("items.csv", "2", "not UTF-8")]
    assert "u,caf\\xe9,1" in (dataset.folder / "rejected.csv").read_text()


def test_item_26_a_header_that_is_not_text_is_told(tmp_path: Path) -> None:
    for content, reason in ((b"user_id,it\xe9m\nu,a\n", "not UTF-8"), (b"\0" * 5000, "a NUL character")):
        with pytest.raises(DataError) as caught:
            prepared(written(tmp_path / "t.csv", content))
        assert f"t.csv: line 1: its header cannot be read: {reason}" in str(caught.value)
        assert str(caught.value).isprintable()


def test_item_26_a_stray_carriage_return_is_told_with_its_line(tmp_path: Path) -> None:
    text = HEADER + rows(20) + "u,a\rb,3\n" + rows(5)
    dataset = prepared(written(tmp_path / "t.csv", text))
    assert rejected(dataset) == [("t.csv", "22", "a carriage return inside the line")]
    assert "u,a\\rb,3" in (dataset.folder / "rejected.csv").read_text()


def test_item_26_control_characters_are_escaped(tmp_path: Path) -> None:
    text = HEADER + rows(20) + "u,a\0b,3\nu,\x1b[2Jc,soon\n"
    dataset = prepared(written(tmp_path / "t.csv", text))
    assert rejected(dataset) == [("t.csv", "22", "a NUL character"), ("t.csv", "23", "time is not a whole number")]
    listed = (dataset.folder / "rejected.csv").read_text()
    assert "u,a\\x00b,3" in listed and "\\x1b[2Jc" in listed and "\x1b" not in listed


def test_item_26_an_id_of_nothing_but_spaces_is_none(tmp_path: Path) -> None:
    dataset = prepared(written(tmp_path / "t.csv", HEADER + rows(20) + "  ,a,1\nu,\t\u3000 ,2\n"))
    assert rejected(dataset) == [("t.csv", "22", "no user id"), ("t.csv", "23", "no item id")]


# Item 28: passwords


@pytest.mark.parametrize(
    "url",
    [
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BUID%3Drd%3BPWD%3Dhush",
        "mysql://rd@h/d?api_key=hush",
        "mysql:/rd:hush@h/d",
        "mysql//rd:hush@h/d",
        "rd:hush@h/db",
        "mysql:rd:hush@h/d",
        "mysql://rd:hush",
        "postgresql://h/d?options=hush&sslmode=require",
        "data.url=rd:hush@h/db",
    ],
)
def test_item_28_a_password_is_not_shown_however_the_url_is_written(url: str, tmp_path: Path) -> None:
    assert "hush" not in mask_url(url)
    with pytest.raises(DataError) as caught:
        read_from_database(url, tmp_path)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("creds", ["rd:hush", "hush"])
def test_item_28_no_value_of_the_environment_is_shown(
    creds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDS", creds)
    for url in ("mysql+pymysql://${CREDS}@127.0.0.1:1/d", "mysql+pymysql://127.0.0.1:1/d?${CREDS}=1", "${CREDS}@h/d"):
        with pytest.raises(DataError) as caught:
            read_from_database(url, tmp_path)
        assert "hush" not in str(caught.value)


def test_item_28_an_unknown_parameter_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no connection: ") as caught:
        read_from_database("mysql+pymysql://rd@127.0.0.1:1/d?pwd=hush", tmp_path)
    assert "hush" not in str(caught.value)


def test_item_28_what_is_no_secret_is_still_shown() -> None:
    for text in (
        "epochs=3",
        "data.path=a//b.csv",
        "C:/x",
        "hdfs://node:8020/t",
        "fourty",
        "-1.5",
        "mysql://rd@h:3306/d?charset=utf8mb4",
        "${DB}",
    ):
        assert mask_url(text) == text


# Item 31: time zones


def test_item_31_a_time_zone_that_does_not_exist_is_rejected(tmp_path: Path) -> None:
    lines = "".join(f"u,i{n},2020-01-0{n + 1}T10:00:00+05:30\n" for n in range(5))
    text = HEADER + lines + "u,a,2020-01-01T10:00:00+99:99\nu,b,2020-01-01T10:00:00-12:60\n"
    dataset = prepared(written(tmp_path / "t.csv", text))
    assert [line for _, line, _ in rejected(dataset)] == ["7", "8"]


# Item 33: times of several units


def test_item_33_seconds_and_milliseconds_in_one_column_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    lines = "".join(f"u,i{n},{1600000000 * (1000 if n < 3 else 1) + n}\n" for n in range(12))
    prepared(written(tmp_path / "t.csv", HEADER + lines), said)
    (warning,) = [line for line in said if "several units" in line]
    assert "75.0% like seconds, 25.0% like milliseconds" in warning


def test_item_33_times_of_one_unit_are_no_reason_to_warn(tmp_path: Path) -> None:
    said: list[str] = []
    lines = "".join(f"u,i{n},{1600000000 + n}\n" for n in range(12))
    assert prepared(written(tmp_path / "t.csv", HEADER + lines), said).info["time_unit"] == "s"
    assert not [line for line in said if "unit" in line]


def test_many_rejected_rows_are_never_held_in_memory(tmp_path: Path) -> None:
    """200,000 of them, a third of the table, are counted and listed."""
    lines = "".join(f"u{n % 50},i{n % 40},{n}\nu,broken\n,i,{n}\n" for n in range(100_000))
    dataset = prepared(written(tmp_path / "t.csv", HEADER + lines), max_rejected=0.7)
    assert dataset.info["funnel"]["rejected"] == {"fewer values than columns": 100_000, "no user id": 100_000}
    with (dataset.folder / "rejected.csv").open() as file:
        assert sum(1 for _ in file) == 200_001
    assert json.loads((dataset.folder / "dataset.json").read_text())["rejected"] == 200_000
