"""Malformed tables: either a correct Dataset, ids byte for byte, or one clear error, and nothing half-written."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_runner import EdgeRecError
from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare
from edgerec.data.sources import delimited_text
from edgerec.data.sources.delimited_text import DelimitedText
from edgerec.errors import DataError
from edgerec.recipe import Recipe

IDS = st.one_of(
    st.sampled_from(["007", "7", " a ", "", "NULL", "nan", "é🎬", "x" * 5000, "1e5", "123456789012345678", "a\tb"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
)
TIMES = st.one_of(
    st.integers(-5, 2_000_000_000).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.sampled_from(
        ["", "inf", "-inf", "NaN", "2020-01-01", "2020-13-01", "1e3", "0x10", "9" * 20, "1" + "0" * 32, " 5"]
    ),
)
HEADERS = st.sampled_from(
    [
        ["user_id", "item_id", "t"],
        ["t", "item_id", "user_id"],
        ["user_id", "item_id", "t", "t"],
        ["user_id", "item", "t"],
        ["User_ID", "item_id", "t"],
        ["user_id", "item_id", "t", "extra"],
    ]
)
SETTINGS = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(text: bytes, folder: Path) -> Dataset | None:
    """The Dataset, or ``None`` after one clear error that leaves only the list of rejected rows."""
    (folder / "t.csv").write_bytes(text)
    recipe = {"path": str(folder / "t.csv"), "columns": {"time": "t"}, "min_user_events": 1, "max_rejected": 1.0}
    try:
        prepare(Recipe.model_validate({"data": recipe}), folder / "d", "key", lambda said: None)
    except EdgeRecError as error:
        assert str(error).startswith((str(folder), "no interaction is left", "nothing to rank"))
        assert "\n" not in str(error)
        assert {p.name for p in folder.iterdir()} <= {"t.csv", "rejected.csv"}
        return None
    return Dataset.load(folder / "d")


@given(header=HEADERS, rows=st.lists(st.tuples(IDS, IDS, TIMES), max_size=12), bom=st.booleans(), crlf=st.booleans())
@SETTINGS
def test_any_well_quoted_table_keeps_its_ids_or_is_told(tmp_path_factory, header, rows, bom, crlf) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n" if crlf else "\n")
    writer.writerow(header)
    for user, item, time in rows:
        values = {"user_id": user, "item_id": item, "item": item, "t": time, "extra": "x", "User_ID": user}
        writer.writerow([values[name] for name in header])
    dataset = attempt(file.getvalue().encode("utf-8-sig" if bom else "utf-8"), folder)
    if dataset is None:
        return
    assert set(header) >= {"user_id", "item_id", "t"}
    assert len(header) == len(set(header))
    given_pairs = {(user, item) for user, item, _ in rows}
    ids = np.array(["", *dataset.item_table["item_id"]], dtype=object)
    users = np.repeat(dataset.user_ids, np.diff(dataset.offsets))
    kept = {(user, ids[row]) for user, row in zip(users, dataset.events, strict=True) if row}
    assert kept <= given_pairs
    with (dataset.folder / "rejected.csv").open(newline="") as rejected:
        listed = list(csv.DictReader(rejected))
    assert len(listed) == dataset.info["rejected"]
    assert dataset.info["rejected"] + dataset.info["good_rows"] == len(rows)


@given(text=st.binary(max_size=200))
@SETTINGS
def test_any_bytes_at_all_are_read_or_told(tmp_path_factory, text: bytes) -> None:
    attempt(text, tmp_path_factory.mktemp("bytes"))
    attempt(b"user_id,item_id,t\n" + text, tmp_path_factory.mktemp("headed"))


def test_one_user_is_enough_to_prepare(tmp_path: Path) -> None:
    dataset = attempt(b"user_id,item_id,t\nu,a,1\nu,b,2\nu,c,3\nu,d,4\n", tmp_path)
    assert dataset is not None
    assert (dataset.users, dataset.items) == (1, 2)


@given(text=st.text('ab,"\n\ré\0', max_size=120), block=st.integers(1, 40))
@SETTINGS
def test_records_do_not_depend_on_the_blocks_in_which_a_file_is_read(tmp_path_factory, text, block) -> None:
    path = tmp_path_factory.mktemp("blocks") / "t.csv"
    path.write_bytes(text.encode())
    table = DelimitedText(path, ["x", "y"], header=False)

    def read(size: int) -> tuple[list[object], str | None]:
        found: list[object] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delimited_text, "_BLOCK", size)
            try:
                found.extend(table.records(["x", "y"], lambda said: None))
            except DataError as error:
                return found, str(error)
        return found, None

    assert read(block) == read(1 << 18)


def test_well_formed_records_are_those_of_the_csv_module(tmp_path: Path) -> None:
    """Over many blocks, with the line on which each begins."""
    rows = [(f"u{n}", "a\n" * (n % 4) + 'q"é' * (n % 3), str(n)) for n in range(30_000)]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("u", "i", "t"), *rows])
    records = list(DelimitedText.with_header(tmp_path / "t.csv", ",").records(["u", "i", "t"], lambda said: None))
    assert [tuple(values) for _, values, _ in records] == rows
    lines = 2 + np.cumsum([0, *(1 + row[1].count("\n") for row in rows[:-1])])
    assert [line for line, _, _ in records] == lines.tolist()
