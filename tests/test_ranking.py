import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runner.ranking import overlap, top_rows
from edgerec.evaluation.ranking import NEVER, Evaluation, evaluate, ndcg_drop, popularity_scorer, rank_of

# Few distinct values, so that ties are common.
SCORES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(2, 12)), elements=st.sampled_from([0, 1, 2, 3])
)


@given(SCORES, st.integers(1, 15))
def test_top_rows_is_a_stable_sort(scores: np.ndarray, k: int) -> None:
    assert np.array_equal(top_rows(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])


@given(SCORES, st.data())
def test_rank_is_the_place_in_the_sorted_list(scores: np.ndarray, data: st.DataObject) -> None:
    items = np.array([data.draw(st.integers(0, scores.shape[1] - 1)) for _ in scores])
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = [int(np.flatnonzero(line == item)[0]) + 1 for line, item in zip(order, items, strict=True)]
    assert rank_of(scores, items).tolist() == expected


def test_masked_rows_are_never_shown_nor_ranked() -> None:
    scores = np.array([[-np.inf, 1, -np.inf, 2]], np.float32)
    assert top_rows(scores, 4).tolist() == [[3, 1, 0, 0]]
    assert rank_of(scores, np.array([2])).tolist() == [NEVER]


def test_metrics_of_known_ranks() -> None:
    result = Evaluation(np.array([1, 2, 11, NEVER], np.int32), np.array([[1, 2], [2, 0], [3, 1], [1, 2]]), items=4)
    assert result.ndcg(10).tolist() == [1.0, pytest.approx(1 / np.log2(3)), 0.0, 0.0]
    assert result.hits(10).tolist() == [1, 1, 0, 0]
    assert result.reciprocal_ranks().tolist() == [1, 0.5, pytest.approx(1 / 11), 0]
    assert result.coverage() == 0.75


def test_overlap_counts_common_rows_whatever_their_order() -> None:
    assert overlap(np.array([[1, 2, 3, 4], [5, 6, 0, 0]]), np.array([[4, 3, 8, 9], [6, 5, 0, 0]])) == 0.75


def test_ndcg_drop_is_paired_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 30, 500).astype(np.int32)
    top = np.zeros((500, 10), np.int32)
    better, worse = Evaluation(ranks, top, 100), Evaluation(ranks + (rng.random(500) < 0.5), top, 100)
    drop, (low, high) = ndcg_drop(better, worse)
    assert 0 < low < drop < high < 0.5
    assert drop == pytest.approx(1 - worse.ndcg(10).mean() / better.ndcg(10).mean())
    assert ndcg_drop(better, better) == (0.0, (0.0, 0.0))


def test_popularity_leaves_out_the_history_and_is_charged_for_cold_targets(small_run) -> None:
    dataset = small_run.dataset
    targets = dataset.targets("test")
    result = evaluate(popularity_scorer(dataset), targets, dataset)
    for history, item, rank, top in zip(targets.histories, targets.items, result.ranks, result.top, strict=True):
        assert not set(history) & set(top)
        # Rows are in order of popularity: the rank is the row less the seen rows before it.
        assert rank == (item - len(set(history[history < item])) if item else NEVER)
