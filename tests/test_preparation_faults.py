"""Faults in preparing data sets that were reported (issue 10), each with its number."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from edgerec.data.describe import describe, describe_lines
from edgerec.data.prepare import prepare
from edgerec.errors import DataError
from edgerec.recipe import Recipe, dump_recipe, load_recipe

Rows = list[tuple[str, str, int]]


def prepared(
    rows: Rows, folder: Path, said: list[str] | None = None, split: str = "leave-one-out", **data: object
) -> Dataset:
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["user_id", "item_id", "t"]).to_csv(folder / "t.csv", index=False)
    settings = {"path": str(folder / "t.csv"), "columns": {"time": "t"}, "min_user_events": 1, **data}
    recipe = Recipe.model_validate({"data": settings, "split": {"kind": split}})
    prepare(recipe, folder / "d", "key", (said if said is not None else []).append)
    return Dataset.load(folder / "d")


def events(dataset: Dataset, part: int) -> list[tuple[str, str]]:
    """(user, item) of the events in a part; of cold items ``?``."""
    ids = np.array(["?", *dataset.item_table["item_id"]], dtype=object)
    users = np.repeat(dataset.user_ids, np.diff(dataset.offsets))
    here = dataset.parts == part
    return list(zip(users[here], ids[dataset.events[here]], strict=True))


# Item 3: what a temporal split learns from the time after its cuts

EARLY: Rows = [(u, i, 10 * n + m) for n, u in enumerate("abcd") for m, i in enumerate("wxyz")]


@given(
    late=st.lists(st.tuples(st.sampled_from("abcdN"), st.sampled_from("vwxyzM"), st.integers(0, 9)), max_size=12),
    repeats=st.sampled_from(["first", "last", "all"]),
    least=st.sampled_from([(1, 1), (3, 2), (1, 4)]),
)
@settings(max_examples=25, deadline=None)
def test_item_3_no_later_event_changes_what_is_trained_on(tmp_path_factory, late, repeats, least) -> None:
    """The number of rows stays, and with it the cuts; which users and items the later rows name does not matter."""
    folder = tmp_path_factory.mktemp("leak")
    later = [(user, item, 1000 + 10 * n + time) for n, (user, item, time) in enumerate(late)]
    later += [("a", "w", 2000 + n) for n in range(12 - len(later))]
    other = [("a", "w", time) for _, _, time in later]
    thresholds = {"min_user_events": least[0], "min_item_users": least[1], "repeats": repeats}

    def learned(name: str, rows: Rows) -> tuple[object, ...]:
        path = folder / name
        path.mkdir()
        pd.DataFrame(rows, columns=["user_id", "item_id", "t"]).to_csv(path / "t.csv", index=False)
        data = {"path": str(path / "t.csv"), "columns": {"time": "t"}, **thresholds}
        split = {"kind": "temporal", "validation": 0.2, "test": 0.2}
        prepare(Recipe.model_validate({"data": data, "split": split}), path / "d", "key", lambda text: None)
        dataset = Dataset.load(path / "d")
        return list(dataset.item_table["item_id"]), dataset.popularity[1:].tolist(), events(dataset, TRAIN)

    assert learned("one", EARLY + later) == learned("other", EARLY + other)


def test_item_3_repeats_are_seen_from_the_past(tmp_path: Path) -> None:
    """20 rows: the cuts are at the 17th and 19th."""
    rows = [("a", "x", 1), ("a", "x", 2), ("a", "y", 3), *(("b", f"i{n}", 4 + n) for n in range(13))]
    rows += [("a", "z", 17), ("a", "x", 18), ("a", "y", 19), ("b", "x", 20)]
    for repeats in ("first", "last"):
        dataset = prepared(rows, tmp_path / repeats, split="temporal", repeats=repeats)
        assert (dataset.info["validation_from"], dataset.info["test_from"]) == (17, 19)
        trained = [event for event in events(dataset, TRAIN) if event[0] == "a"]
        assert trained == [("a", "x"), ("a", "y")]
        # a had x and y before: they would not be recommended again.
        assert events(dataset, VALIDATION) == [("a", "?")]
        assert events(dataset, TEST) == [("b", "x")]


def test_item_3_thresholds_count_training_events_alone(tmp_path: Path) -> None:
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 4), ("c", "x", 5), ("c", "w", 6)]
    rows += [("a", "z", 7), ("c", "y", 8), ("a", "w", 9), ("b", "w", 10)]
    data = {"repeats": "all", "min_item_users": 2}
    dataset = prepared(rows, tmp_path, split="temporal", **data)
    assert dataset.info["validation_from"] == 9
    # w has one training event; that it had two with those of validation and test decides nothing.
    assert list(dataset.item_table["item_id"]) == ["x", "y"]


def test_item_3_leave_one_out_keeps_its_fingerprint(tmp_path: Path) -> None:
    rows = [(f"u{n % 17}", f"i{(n * n + n // 5) % 23}", (n * 7919) % 500) for n in range(900)]
    found = {repeats: prepared(rows, tmp_path / repeats, repeats=repeats, min_item_users=3, min_user_events=5)
             for repeats in ("first", "last", "all")}  # fmt: skip
    expected = {"first": "d834e133356446bd", "last": "c76a581051a05181", "all": "bbe221da8746b9ed"}
    assert {repeats: dataset.split_fingerprint for repeats, dataset in found.items()} == expected


# Item 16: ties


BASKETS: Rows = [
    ("a", "x", 1), ("a", "y", 1), ("a", "z", 2), ("a", "w", 2), ("a", "x", 3), ("a", "new", 3), ("a", "w", 3),
    ("b", "x", 1), ("b", "y", 1), ("b", "z", 2), ("b", "w", 2),
    ("c", "z", 1), ("c", "w", 2), ("c", "y", 3),
]  # fmt: skip


def test_item_16_ties_are_counted_and_told(tmp_path: Path) -> None:
    said: list[str] = []
    dataset = prepared(BASKETS, tmp_path / "one", said, repeats="all")
    assert dataset.info["ties"] == pytest.approx(6 / 14)
    (warning,) = [line for line in said if "share user and time" in line]
    assert "43 % of events" in warning and "their order is the file's" in warning and "last-basket" in warning
    said.clear()
    ordered = prepared([(user, item, n) for n, (user, item, _) in enumerate(BASKETS)], tmp_path / "other", said)
    assert ordered.info["ties"] == 0
    assert not [line for line in said if "warning" in line]


def test_item_16_the_last_basket_is_held_out_whole(tmp_path: Path) -> None:
    dataset = prepared(BASKETS, tmp_path, split="last-basket", repeats="all")
    ids = np.array(["?", *dataset.item_table["item_id"]])
    for part, baskets in (("validation", [["z", "w"], ["w"]]), ("test", [["x", "?", "w"], ["y"]])):
        targets = dataset.targets(part)
        assert [dataset.user_ids[user] for user in targets.users] == ["a", "c"]
        assert targets.baskets is not None
        assert [ids[basket].tolist() for basket in targets.baskets] == baskets
        assert [basket[0] for basket in targets.baskets] == targets.items.tolist()
    histories = [ids[history].tolist() for history in dataset.targets("test").histories]
    assert histories == [["x", "y", "z", "w"], ["z", "w"]]
    one = dataset.targets("test").sample(1, 0)
    assert one.baskets is not None and len(one.baskets) == 1 and one.baskets[0][0] == one.items[0]
    # b has two baskets, which only train.
    assert [item for user, item in events(dataset, TRAIN) if user == "b"] == ["x", "y", "z", "w"]


def test_item_16_other_splits_have_one_target_a_user(tmp_path: Path) -> None:
    assert prepared(BASKETS, tmp_path, repeats="all").targets("test").baskets is None


def test_item_16_a_split_by_time_needs_times(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'split\.kind = "last-basket" needs times: .*data\.columns\.time'):
        prepared(BASKETS, tmp_path, split="last-basket", columns={})


# Item 17: what describe shows


def test_item_17_the_funnel_adds_up(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    lines = "".join(f"u{n % 9},i{(n * n) % 13},{n},{n % 5}\n" for n in range(400))
    (tmp_path / "t.csv").write_text(f"user_id,item_id,t,stars\n{lines}u,,1,5\n,i,1,5\nu,i,1,many\nrare,i0,1,5\n")
    columns = {"time": "t", "value": "stars"}
    data = {"path": str(tmp_path / "t.csv"), "columns": columns, "min_value": 2, "max_rejected": 0.1}
    prepare(Recipe.model_validate({"data": data}), tmp_path / "d", "key", lambda text: None)
    dataset = Dataset.load(tmp_path / "d")
    funnel = dict(dataset.info["funnel"])
    assert funnel["rejected"] == {"no item id": 1, "no user id": 1, "value is not a number": 1}
    assert funnel["rows_read"] == 404
    assert funnel["below_min_value"] == 160
    assert funnel["k_core"] >= 1
    removed = 3 + funnel["below_min_value"] + funnel["repeats"] + funnel["k_core"]
    assert funnel["rows_read"] - removed == funnel["train"] + funnel["validation"] + funnel["test"]
    (line,) = [line for line in describe_lines(describe(dataset)) if line.startswith("funnel")]
    assert "rows_read 404, rejected (no item id 1, no user id 1, value is not a number 1), below_min_value 160" in line


def test_item_17_numbers_are_plain_and_missing_values_are_missing(tmp_path: Path) -> None:
    said: list[str] = []
    items = tmp_path / "items.csv"
    items.write_text(
        "id,name,year,brand,empty\nNA,None,1995,NA,\nnull,nan,2001,x,n/a\ni3,C,1998,null,None\ni4,D,1990,x,NA\n"
    )
    rows = [(u, i, n) for n, (u, i) in enumerate((u, i) for u in "ab" for i in ("NA", "null", "i3", "i4", "i5", "i6"))]
    table = {"path": str(items), "id": "id", "title": "name", "numeric": ["year"]}
    dataset = prepared(rows, tmp_path, said, items=table)
    known = dataset.item_table.set_index("item_id")
    assert list(known["title"][["NA", "null"]]) == ["None", "nan"]
    assert known["brand"]["NA"] is pd.NA or pd.isna(known["brand"]["NA"])
    _, brand, empty = dataset.features("items")
    assert (brand.vocabulary, brand.missing, empty.missing) == (["x"], 0.5, 1)
    assert [line for line in said if "no training row has a value in empty" in line and "data.items.ignore" in line]
    (line,) = [line for line in describe_lines(describe(dataset)) if "items: year" in line]
    assert "mean 1996" in line and "e+" not in line
    dataset = prepared(rows, tmp_path / "again", items={**table, "missing": ["x"]})
    assert dataset.features("items")[1].vocabulary == ["NA", "null"]


# Item 31: too little to go by


def test_item_31_a_single_item_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to rank: fewer than two items"):
        prepared([(user, "x", 1) for user in "abc"], tmp_path)
    assert not (tmp_path / "d").exists()


def test_item_31_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk, in a process of its own."""
    lines = "".join(f"u{n % 9999},i{n % 5000},{n}\n" for n in range(200_000))
    (tmp_path / "t.csv").write_text("user_id,item_id,t\n" + lines)
    (tmp_path / "r.toml").write_text('[data]\npath = "t.csv"\ncolumns = { time = "t" }\n')
    code = (
        "import sys; from pathlib import Path\n"
        "from edgerec.data.prepare import prepare; from edgerec.recipe import load_recipe\n"
        "from edgerec.errors import DataError\n"
        "try: prepare(load_recipe(Path('r.toml')), Path('d'), 'k', print)\n"
        "except DataError as error: print('told:', error)\n"
    )
    for limit in (100_000, 1_000_000, 1_500_000):  # of the file of texts, of the engine, and of what comes later

        def limited(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, preexec_fn=limited, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        (told,) = [line for line in done.stdout.splitlines() if line.startswith("told:")]
        assert "preparation stopped" in told
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# Item 32: fingerprints of sources


def test_item_32_a_path_means_the_same_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgerec.data.sources.tables import source_fingerprint

    (tmp_path / "shop").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "shop" / "t.csv").write_text("user_id,item_id\nu,i\n")
    (tmp_path / "shop" / "r.toml").write_text('[data]\npath = "t.csv"\n')
    monkeypatch.chdir(tmp_path / "other")
    spellings = ["../shop/r.toml", str(tmp_path / "shop" / "r.toml"), "../other/../shop/./r.toml"]
    assert len({json.dumps(source_fingerprint(load_recipe(Path(path)).data)) for path in spellings}) == 1


def test_item_32_a_file_that_changed_in_place_is_noticed(tmp_path: Path) -> None:
    from edgerec.data.sources.tables import source_fingerprint

    path = tmp_path / "t.csv"
    recipe = Recipe.model_validate({"data": {"path": str(path)}})
    prints = []
    for item in "ij":
        path.write_text(f"user_id,item_id\nu,{item}\n")
        os.utime(path, ns=(10**18, 10**18))
        prints.append(source_fingerprint(recipe.data))
    assert prints[0] != prints[1]


# Item 1: a data set says what it was made from


def test_item_1_a_data_set_names_its_tables(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id,name\nx,X\n")
    items = {"path": str(tmp_path / "s" / ".." / "items.csv"), "id": "id"}
    (tmp_path / "s").mkdir()
    dataset = prepared(BASKETS, tmp_path, items=items)
    assert dataset.info["source"] == [
        {"table": "interactions", "path": str((tmp_path / "t.csv").resolve())},
        {"table": "items", "path": str((tmp_path / "items.csv").resolve())},
    ]


# Item 12: Spark reads what is not here


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java")
def test_item_12_spark_reads_a_uri(tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    said: list[str] = []
    rows = [(f"u{n % 17}", f"i{(n * n) % 23}", n) for n in range(900)]
    expected = prepared(rows, tmp_path / "expected")
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "t"])
    frame.to_parquet(tmp_path / "t.parquet")
    lines = (tmp_path / "expected" / "t.csv").read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join([*lines[:5], "u,i\n", "u,i,1,2\n", *lines[5:]]))
    for name in ("t.parquet", "t.csv"):
        data = {"path": (tmp_path / name).as_uri(), "columns": {"time": "t"}, "min_user_events": 1,
                "engine": "spark", "spark_master": "local[2]"}  # fmt: skip
        prepare(Recipe.model_validate({"data": data}), tmp_path / f"{name}-d", "key", said.append)
        assert Dataset.load(tmp_path / f"{name}-d").split_fingerprint == expected.split_fingerprint
    listed = (tmp_path / "t.csv-d" / "rejected.csv").read_text().splitlines()
    uri = (tmp_path / "t.csv").as_uri()
    assert sorted(listed[1:]) == [
        f'{uri},,more or fewer values than columns,"u,i"',
        f'{uri},,more or fewer values than columns,"u,i,1,2"',
    ]
    assert any("no line numbers" in line for line in said)
    with pytest.raises(DataError, match="Spark cannot read it"):
        prepare(
            Recipe.model_validate({"data": {**data, "path": (tmp_path / "none.csv").as_uri()}}),
            tmp_path / "none",
            "key",
            said.append,
        )


def test_item_12_a_uri_needs_spark() -> None:
    with pytest.raises(ValueError, match='read by Spark: set engine = "spark"'):
        Recipe.model_validate({"data": {"path": "s3a://bucket/t.parquet"}})


def test_item_12_a_password_in_a_uri_is_not_written_out() -> None:
    data = {"path": "s3a://key:hush@bucket/t.parquet", "engine": "spark"}
    assert "hush" not in dump_recipe(Recipe.model_validate({"data": data}))
    assert dump_recipe(Recipe.model_validate({"data": {"path": "a@b:c/t.csv"}})).count("a@b:c/t.csv") == 1


def test_item_12_a_data_set_in_several_part_files_is_one(tmp_path: Path) -> None:
    dataset = prepared([(f"u{n % 17}", f"i{(n * n) % 23}", n) for n in range(900)], tmp_path)
    path = dataset.folder / "interactions.parquet"
    table = pd.read_parquet(path)
    path.unlink()
    path.mkdir()
    for number, start in enumerate(range(0, len(table), 50)):
        table[start : start + 50].to_parquet(path / f"part-{number:05}.parquet", index=False)
    again = Dataset.load(dataset.folder)
    for name in ("events", "parts", "offsets", "times"):
        assert np.array_equal(getattr(again, name), getattr(dataset, name))


def test_item_23_a_movielens_folder_with_other_columns_is_told_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,movie,rating,timestamp\n1,2,3,4\n")
    data = {"source": "movielens", "path": str(tmp_path)}
    with pytest.raises(DataError, match=r"the columns userId, movieId, timestamp, rating; this file has user, movie"):
        prepare(Recipe.model_validate({"data": data}), tmp_path / "d", "key", lambda said: None)
