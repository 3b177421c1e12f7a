import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runner import HistoryError
from device_runner.history import read_history


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.csv", "item_id,when\n007,1\n\"a,b\",2\n"),
        ("h.csv", "\ufeffwhen,item_id\r\n1,007\r\n2,\"a,b\"\r\n"),
        ("h.csv", '007\n"a,b"\n'),
        ("h.json", '["007", "a,b"]'),
        ("h.json", '{"history": [{"item_id": "007"}, {"item": "a,b"}]}'),
    ],
)  # fmt: skip
def test_every_form_gives_the_ids_oldest_first(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_history(path) == ["007", "a,b"]


@pytest.mark.parametrize(("name", "text"), [("h.csv", ""), ("h.csv", "item_id\n"), ("h.json", "[]")])
def test_an_empty_history_is_a_history(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_history(path) == []


def test_json_numbers_are_ids_too(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text("[1029743, 2]")
    assert read_history(tmp_path / "h.json") == ["1029743", "2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("h.csv", b"a,b\n1,2\n", "line 1: no column item_id or item among a, b; rename the item column"),
        ("h.csv", b"Product_ID\n1\n", "line 1: no column item_id or item among product_id; rename"),
        ("h.csv", b'when,item_id\n"1\n2",x\n\n3,\n', "line 5: no item id"),
        ("h.csv", b'when,item_id\n"1\n2"x,y\n', "line 2: not CSV"),
        ("h.csv", b"when,item_id\n1,x\n2\n", "line 3: no item id"),
        ("h.csv", b'item_id\n"x\n', "not CSV"),
        ("h.csv", b"\xff\xfe\x00", "UTF-8"),
        ("h.json", b"[1", "not JSON"),
        ("h.json", b'{"items": []}', "give a list of item ids"),
        ("h.json", b'["a", null]', "entry 2 has no item id"),
        ("h.json", b"[true]", "entry 1 has no item id"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HistoryError, match=said):
        read_history(tmp_path / name)


def test_an_absent_history_is_told(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="no such file"):
        read_history(tmp_path / "h.csv")


@pytest.mark.parametrize("item", ["a\u2028b", "a\u0085b", "a\x0bb", "a\x1cb", '"a\nb"', '"a\r\nb"', '"a\rb"'])
def test_an_id_keeps_every_character(tmp_path: Path, item: str) -> None:
    """Issue 10, item 10: ids were cut where ``str.splitlines`` cuts, and lost their line ends."""
    path = tmp_path / "h.csv"
    for end in ("\n", "\r\n"):
        path.write_bytes(f"\ufeffitem_id,t{end}{item},1{end}x,2{end}".encode())
        assert read_history(path) == [item.strip('"'), "x"]


@given(
    items=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_ids_that_csv_writes_are_read_back(tmp_path_factory, items: list[str], end: str) -> None:
    """Issue 10, item 10."""
    path = tmp_path_factory.mktemp("history") / "h.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
            [["item_id"], *([item] for item in items)]
        )
    assert read_history(path) == items


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.csv", "t,Sku\n1,a\n2,b\n"),
        ("h.csv", "SKU\na\nb\n"),
        ("h.csv", "item_id,sku\n1,a\n2,b\n"),
        ("h.csv", "t,item_id\n1,a\n2,b\n"),
        ("h.json", '[{"sKU": "a"}, {"item": "b"}]'),
    ],
)
def test_the_item_column_of_the_bundles_data_set_is_accepted(tmp_path: Path, name: str, text: str) -> None:
    """Issue 10, item 23."""
    (tmp_path / name).write_text(text)
    assert read_history(tmp_path / name, "sKU") == ["a", "b"]


def test_the_names_that_are_accepted_are_said(tmp_path: Path) -> None:
    """Issue 10, item 23."""
    (tmp_path / "h.csv").write_text("user,product\n1,2\n")
    with pytest.raises(HistoryError, match="no column sku, item_id or item among user, product; rename"):
        read_history(tmp_path / "h.csv", "sku")
