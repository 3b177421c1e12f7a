"""Catalogues of 100,000 items: compact ids, exact lists, and bounds on bytes and memory a row."""

from pathlib import Path

import numpy as np
import pytest
from bench_catalogue import make
from hypothesis import given
from hypothesis import strategies as st

from converters.bundle_writer import bundle_bytes
from device_runner import Recommender
from device_runner.bench import cold_start
from device_runner.bundle import Bundle
from device_runner.compact import COMPACT_FROM, IndexedLines, IndexedTexts, Lines, Numbers
from device_runner.errors import BundleError
from device_runner.lines import encoded_line
from device_runner.ranking import exclude, top_rows

ITEMS, SMALL, DIM = 100_000, 60_000, 32


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Bundles of int4-table by the number of items."""
    folder = tmp_path_factory.mktemp("large")
    found = {items: folder / f"{items}.tflite" for items in (SMALL, ITEMS)}
    for items, path in found.items():
        make(items, DIM, "int4-table", path)
    return found


def test_a_file_takes_half_a_byte_a_weight_and_a_few_for_scale_and_id(paths: dict[int, Path]) -> None:
    small, large = (Bundle.read(paths[items]).manifest["flatbuffer_bytes"] for items in (SMALL, ITEMS))
    assert (large - small) / (ITEMS - SMALL) <= DIM / 2 + 1 + 0.1
    ids = paths[ITEMS].stat().st_size - large
    assert ids / ITEMS <= 18 / 8 + 0.1  # below 2 * ITEMS < 2^18


def test_lists_are_exactly_those_of_numpy_in_all_rows(paths: dict[int, Path]) -> None:
    recommender = Recommender.load(paths[ITEMS], "litert")
    items = recommender.bundle.items
    assert isinstance(items, Numbers) and len(items) == ITEMS + 1
    rng = np.random.default_rng(0)
    beyond = 0
    for length in (1, 3, 50):
        rows = [70_000, 99_999, ITEMS, *rng.integers(1, ITEMS + 1, 50)][-length:]
        scores = recommender.item_scores(rows)[None].copy()
        best = top_rows(scores, 200)[0]
        banned = [*best[:150:2].tolist(), *rows][:200]  # most of the best: they must come from further down
        exclude(scores, [banned])
        expected = top_rows(scores, 50)[0]
        found, values = recommender.recommend_rows(rows, banned, 50)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(values, scores[0, expected])
        named = recommender.recommend([items[row] for row in rows], 50, [items[row] for row in banned], False)
        assert [one.item for one in named] == [items[row] for row in expected] and not named.unknown
        beyond += int((expected > 65_535).sum())
    assert beyond > 0


def test_memory_grows_by_few_bytes_a_row(paths: dict[int, Path]) -> None:
    names = Bundle.read(paths[SMALL]).items[1:20]
    peaks = {n: min(cold_start(p, names, "litert", 1)["peak_rss_mb"] for _ in range(2)) for n, p in paths.items()}
    # Table, its packed copy of XNNPACK for two signatures, three float arrays, and ids with their index.
    assert (peaks[ITEMS] - peaks[SMALL]) * 2**20 / (ITEMS - SMALL) < 150


def assert_like_a_list(compact: IndexedTexts, texts: list[str]) -> None:
    expected = ["", *texts]
    assert len(compact) == len(expected) and list(compact) == expected and compact[1:] == texts
    assert compact[-1] == expected[-1] and compact.unique == (len(set(expected)) == len(expected))
    if compact.unique:
        assert compact.find(texts) == list(range(1, len(expected)))
        assert [compact.index(text) for text in expected] == list(range(len(expected)))
    assert all(text in compact for text in texts)


@given(st.lists(st.integers(0, 2**40) | st.integers(0, 20), min_size=1))
def test_numbers_are_like_a_list_of_their_texts(numbers: list[int]) -> None:
    compact = Numbers(np.array(numbers, np.int32 if max(numbers) < 2**31 else np.int64))
    assert_like_a_list(compact, [str(number) for number in numbers])
    strange = ["", "x", "-1", "007", "1.0", "\u0661", "9" * 19, "9" * 30, str(2**31), str(2**40 + 1)]
    assert compact.find([text for text in strange if text not in map(str, numbers)]) == [0] * len(
        [text for text in strange if text not in map(str, numbers)]
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(["a\\", "\n", "\\n", "a\nb"])


@given(st.lists(TEXTS, min_size=1))
def test_lines_are_like_a_list_of_their_texts(texts: list[str]) -> None:
    compact = IndexedLines(b"".join(encoded_line(text) + b"\n" for text in texts))
    assert_like_a_list(compact, texts)
    assert compact.find(["\ud800", "no such text"]) == [0, 0]


def test_a_bundle_of_many_texts_is_read_into_compact_ones(tmp_path: Path, paths: dict[int, Path]) -> None:
    bundle, path = Bundle.read(paths[SMALL]), tmp_path / "texts.tflite"
    flatbuffer = paths[SMALL].read_bytes()[: bundle.manifest["flatbuffer_bytes"]]
    ids = [f"item {row}" for row in range(1, SMALL + 1)]
    ids[6], titles = "a\\b\nc", [f"Title {row}\\" for row in range(1, SMALL + 1)]
    path.write_bytes(bundle_bytes(flatbuffer, "texts", "int4-table", bundle.contract, ids, titles))
    recommender = Recommender.load(path, "litert")
    assert isinstance(recommender.bundle.items, IndexedLines) and isinstance(recommender.bundle.titles, Lines)
    assert recommender.rows(["nothing", "a\\b\nc", f"item {SMALL}"]) == [7, SMALL]
    (best,) = recommender.recommend(["item 3"], k=1)
    assert best.title == titles[recommender.rows([best.item])[0] - 1]
    with pytest.raises(TypeError, match="item ids are strings"):
        recommender.recommend(["item 3", 7])  # type: ignore[list-item]
    path.write_bytes(bundle_bytes(flatbuffer, "twice", "int4-table", bundle.contract, [*ids[:-1], "item 1"]))
    with pytest.raises(BundleError, match="named twice"):
        Bundle.read(path)
    assert SMALL > COMPACT_FROM
