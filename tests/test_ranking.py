import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runner.ranking import overlap, top_rows
from edgerec.baselines.popularity import Popularity
from edgerec.data.dataset import Targets
from edgerec.evaluation.precision import average_precision
from edgerec.evaluation.ranking import (
    BATCH,
    CUTOFFS,
    NEVER,
    Evaluation,
    evaluate,
    mask_scores,
    ndcg_drop,
    rank_of,
)

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


def test_a_score_that_is_no_number_never_ranks_first() -> None:
    scores = np.array([[-np.inf, np.nan, 1, 2]], np.float32)
    assert rank_of(scores, np.array([1])).tolist() == [NEVER]


def test_masking_hides_each_histories_own_items_and_padding() -> None:
    scores = np.ones((3, 5), np.float32)
    mask_scores(scores, [np.array([1, 4, 1]), np.array([], np.int32), np.array([2])])
    assert [np.flatnonzero(line > 0).tolist() for line in scores] == [[2, 3], [1, 2, 3, 4], [1, 3, 4]]
    scores = np.ones((1, 3), np.float32)
    mask_scores(scores, ())
    assert np.isneginf(scores).tolist() == [[True, False, False]]


def test_metrics_of_known_ranks() -> None:
    result = Evaluation(np.array([1, 2, 11, NEVER], np.int32), np.array([[1, 2], [2, 0], [3, 1], [1, 2]]), items=4)
    assert result.ndcg(10).tolist() == [1.0, pytest.approx(1 / np.log2(3)), 0.0, 0.0]
    assert result.hits(10).tolist() == [1, 1, 0, 0]
    assert result.reciprocal_ranks().tolist() == [1, 0.5, pytest.approx(1 / 11), 0]
    assert result.reciprocal_ranks(1).tolist() == [1, 0, 0, 0]
    assert result.coverage() == 0.75
    assert result.subset(result.ranks < 3).quality()["hr@1"] == 0.5


def test_quality_holds_every_figure_at_every_cutoff() -> None:
    quality = Evaluation(np.array([3, 15, NEVER], np.int32), np.ones((3, 10), np.int32), items=20).quality()
    assert set(quality) == {"mrr", "coverage@10"} | {
        f"{name}@{k}" for name in ("ndcg", "hr", "mrr", "map") for k in CUTOFFS
    }
    assert [quality[f"hr@{k}"] for k in CUTOFFS] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])
    assert [quality[f"map@{k}"] for k in CUTOFFS] == [quality[f"mrr@{k}"] for k in CUTOFFS]


def test_average_precision_of_several_relevant_items() -> None:
    ranks = np.array([[5, 1, NEVER], [1, 2, 3], [NEVER, NEVER, NEVER]])
    assert average_precision(ranks, 10) == pytest.approx([(1 + 2 / 5) / 3, 1, 0])
    assert average_precision(ranks, 2) == pytest.approx([1 / 3, 2 / 3, 0])


@pytest.mark.slow
def test_figures_agree_with_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    users, items = 40, 60
    # A permutation a line: without ties, whose order is this package's own.
    scores = rng.permuted(np.tile(np.arange(1, items + 2, dtype=np.float32), (users, 1)), axis=1)
    targets = rng.integers(0, items + 1, users)
    mask_scores(scores, ())
    result = Evaluation(rank_of(scores, targets), np.zeros((users, 10), np.int32), items)
    run = ranx.Run({f"u{u}": {str(i): float(scores[u, i]) for i in range(1, items + 1)} for u in range(users)})
    truth = ranx.Qrels({f"u{u}": {str(targets[u]): 1} for u in range(users)})
    theirs = {"ndcg": "ndcg", "hr": "hit_rate", "mrr": "mrr", "map": "map"}
    asked = [f"{name}@{k}" for name in theirs.values() for k in CUTOFFS]
    found = ranx.evaluate(truth, run, asked)
    for ours, name in theirs.items():
        for k in CUTOFFS:
            assert result.quality()[f"{ours}@{k}"] == pytest.approx(found[f"{name}@{k}"], abs=1e-9)
    assert result.quality()["hr@10"] == pytest.approx(ranx.evaluate(truth, run, "recall@10"))

    relevant = rng.permuted(np.tile(np.arange(1, items + 1), (users, 1)), axis=1)[:, :4]
    several = ranx.Qrels({f"u{u}": {str(i): 1 for i in relevant[u]} for u in range(users)})
    ranks = np.stack([rank_of(scores, column) for column in relevant.T], axis=1)
    assert average_precision(ranks, 20).mean() == pytest.approx(ranx.evaluate(several, run, "map@20"))


class _Catalogue:
    """What ``evaluate`` reads of a Dataset."""

    items, exclude_seen = 3416, True


@pytest.mark.slow
def test_ready_scores_of_6040_users_are_evaluated_within_two_seconds() -> None:
    rng = np.random.default_rng(0)
    users, items = 6040, _Catalogue.items
    scores = rng.standard_normal((users, items + 1), dtype=np.float32)
    histories = [rng.integers(1, items + 1, 165, dtype=np.int32) for _ in range(users)]
    targets = Targets(np.arange(users), histories, rng.integers(1, items + 1, users, dtype=np.int32))
    batches = iter(np.split(scores, range(BATCH, users, BATCH)))
    started = time.perf_counter()
    result = evaluate(lambda _: next(batches), targets, _Catalogue())
    result.quality()
    assert time.perf_counter() - started < 2
    assert len(result.ranks) == users


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
    result = evaluate(Popularity.fit(dataset).score, targets, dataset)
    for history, item, rank, top in zip(targets.histories, targets.items, result.ranks, result.top, strict=True):
        assert not set(history) & set(top)
        # Rows are in order of popularity: the rank is the row less the seen rows before it.
        assert rank == (item - len(set(history[history < item])) if item else NEVER)
