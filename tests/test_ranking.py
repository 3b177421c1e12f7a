import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runner.errors import EdgeRecError
from device_runner.ranking import exclude, overlap, top_rows
from edgerec.baselines.popularity import Popularity
from edgerec.data.dataset import Targets
from edgerec.evaluation.device import ranks_as_shown
from edgerec.evaluation.precision import average_precision
from edgerec.evaluation.ranking import (
    BATCH,
    CUTOFFS,
    NEVER,
    NO_ITEM,
    Evaluation,
    drop_figures,
    evaluate,
    ndcg_drop,
    rank_of,
)


@dataclass
class _Catalogue:
    """What ``evaluate`` reads of a Dataset."""

    items: int = 3416
    exclude_seen: bool = True


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
        f"{name}@{k}" for name in ("ndcg", "hr", "recall", "mrr", "map") for k in CUTOFFS
    }
    assert [quality[f"hr@{k}"] for k in CUTOFFS] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])
    assert [quality[f"map@{k}"] for k in CUTOFFS] == [quality[f"mrr@{k}"] for k in CUTOFFS]
    assert [quality[f"recall@{k}"] for k in CUTOFFS] == [quality[f"hr@{k}"] for k in CUTOFFS]


# Two baskets: items ranked 4, 1 and a cold one; a single item ranked 12.
BASKETS = Evaluation(
    ranks=np.array([4, 12], np.int32),
    top=np.ones((2, 10), np.int32),
    items=20,
    basket_ranks=np.array([[4, 1, NEVER], [12, NO_ITEM, NO_ITEM]], np.int32),
)


def test_figures_of_baskets_are_over_all_their_items() -> None:
    gain, best = 1 + 1 / math.log2(5), 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert BASKETS.ndcg(10).tolist() == pytest.approx([gain / best, 0])
    assert BASKETS.ndcg(1).tolist() == [1, 0]  # one place: one hit is the best there is
    assert BASKETS.recall(10).tolist() == pytest.approx([2 / 3, 0])
    assert BASKETS.recall(20).tolist() == pytest.approx([2 / 3, 1])
    assert BASKETS.hits(10).tolist() == [1, 0]
    assert BASKETS.reciprocal_ranks().tolist() == pytest.approx([1, 1 / 12])
    assert BASKETS.average_precision(10).tolist() == pytest.approx([(1 + 2 / 4) / 3, 0])
    assert BASKETS.subset(np.array([False, True])).quality()["recall@20"] == 1


@given(st.lists(st.one_of(st.integers(1, 30), st.just(NEVER)), min_size=1, max_size=10))
def test_baskets_of_one_item_have_exactly_the_figures_of_single_targets(ranks: list[int]) -> None:
    single = Evaluation(np.array(ranks, np.int32), np.ones((len(ranks), 10), np.int32), items=30)
    baskets = replace(single, basket_ranks=np.pad(single.ranks[:, None], ((0, 0), (0, 2)), constant_values=NO_ITEM))
    assert baskets.quality() == single.quality()


def test_evaluate_ranks_every_item_of_a_basket_as_if_it_were_the_only_target() -> None:
    rng = np.random.default_rng(0)
    users, items = BATCH + 10, 8  # more than a batch; few distinct scores, so that there are ties
    scores = rng.integers(0, 4, (users, items + 1)).astype(np.float32)
    baskets = [rng.permutation(np.arange(0, items + 1))[: rng.integers(1, 5)] for _ in range(users)]
    histories = [rng.integers(1, items + 1, 2) for _ in range(users)]
    catalogue = _Catalogue(items)

    def of(targets: Targets) -> Evaluation:
        return evaluate(lambda given: scores[[user[0] for user in given]], targets, catalogue, inputs=inputs)

    inputs = list(np.arange(users)[:, None])
    targets = Targets(np.arange(users), histories, np.array([basket[0] for basket in baskets]))
    object.__setattr__(targets, "baskets", baskets)  # the field is not in this branch's Targets yet
    found = of(targets).basket_ranks
    assert found is not None and found.shape == (users, 4)
    for place in range(4):
        held = np.array([len(basket) > place for basket in baskets])
        assert (found[~held, place] == NO_ITEM).all()
        rows = np.array([basket[min(place, len(basket) - 1)] for basket in baskets])
        alone = of(Targets(targets.users, histories, rows))
        assert alone.basket_ranks is None
        assert np.array_equal(found[held, place], alone.ranks[held])


def test_a_list_that_was_shown_decides_the_ranks_of_its_items_and_puts_the_others_behind_it() -> None:
    top = np.array([[7, 5, *[0] * 8]])
    items = np.array([[5, 7, 3, 9, 0, 2]])
    by_score = np.array([[1, 2, 3, 40, NEVER, NO_ITEM]], np.int32)
    assert ranks_as_shown(by_score, items, top).tolist() == [[2, 1, 11, 40, NEVER, NO_ITEM]]


@pytest.mark.parametrize("evaluation", [BASKETS, replace(BASKETS, basket_ranks=None)])
def test_a_saved_evaluation_is_loaded_as_it_was(tmp_path: Path, evaluation: Evaluation) -> None:
    evaluation.save(tmp_path)
    loaded = Evaluation.load(tmp_path, 20)
    assert np.array_equal(loaded.ranks, evaluation.ranks)
    assert np.array_equal(loaded.top, evaluation.top)
    assert loaded.quality() == evaluation.quality()


def test_an_evaluation_that_is_missing_damaged_or_of_another_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeRecError, match=r"evaluation\.npz: not found"):
        Evaluation.load(tmp_path, 20)
    BASKETS.save(tmp_path)
    with pytest.raises(EdgeRecError, match="items beyond the 0 of the catalogue"):
        Evaluation.load(tmp_path, 0)
    whole = (tmp_path / "evaluation.npz").read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2]):
        (tmp_path / "evaluation.npz").write_bytes(damaged)
        with pytest.raises(EdgeRecError, match="damaged"):
            Evaluation.load(tmp_path, 20)
    for arrays in ({"ranks": np.ones(2, np.int32)}, {"ranks": np.ones(2), "top": np.ones((3, 10))}):
        np.savez(tmp_path / "evaluation.npz", **arrays)
        with pytest.raises(EdgeRecError, match="damaged"):
            Evaluation.load(tmp_path, 20)


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
    exclude(scores, ())
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
    sets = Evaluation(ranks[:, 0], np.zeros((users, 10), np.int32), items, ranks).quality()
    for ours, name in {**theirs, "recall": "recall"}.items():
        for k in CUTOFFS:
            assert sets[f"{ours}@{k}"] == pytest.approx(ranx.evaluate(several, run, f"{name}@{k}"), abs=1e-9)


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


def test_against_a_reference_without_hits_the_drop_is_not_measurable() -> None:
    reference, other = (Evaluation(np.full(5, rank, np.int32), np.zeros((5, 10), np.int32), 100) for rank in (11, 1))
    assert ndcg_drop(reference, other) == (None, None)
    assert drop_figures(reference, other) == {"ndcg_drop": None, "ndcg_drop_ci": None}
    assert drop_figures(other, reference) == {"ndcg_drop": 1.0, "ndcg_drop_ci": [1.0, 1.0]}


def test_popularity_leaves_out_the_history_and_is_charged_for_cold_targets(small_run) -> None:
    dataset = small_run.dataset
    targets = dataset.targets("test")
    result = evaluate(Popularity.fit(dataset).score, targets, dataset)
    for history, item, rank, top in zip(targets.histories, targets.items, result.ranks, result.top, strict=True):
        assert not set(history) & set(top)
        # Rows are in order of popularity: the rank is the row less the seen rows before it.
        assert rank == (item - len(set(history[history < item])) if item else NEVER)
