from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from tiny import tiny_dataset

from edgerec.baselines import BASELINES, Popularity, RecentPopularity, WindowedCounts, fit_markov
from edgerec.baselines.windowed_counts import count_pairs, largest_of_rows
from edgerec.data.dataset import TRAIN
from edgerec.evaluation.ranking import evaluate

ITEMS = 6
HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), max_size=8), min_size=1, max_size=4)
DAY = 86_400


def arrays(histories: list[list[int]]) -> list[np.ndarray]:
    return [np.array(history, np.int32) for history in histories]


def counted_by_hand(histories: list[list[int]], window: int) -> np.ndarray:
    counts = np.zeros((ITEMS + 1, ITEMS + 1))
    for history in histories:
        for p, first in enumerate(history):
            for q in range(p + 1, min(p + window, len(history) - 1) + 1):
                counts[first, history[q]] += 1 / (q - p)
    return counts


def scored_by_hand(transitions: np.ndarray, history: list[int], recent: int, decay: float) -> np.ndarray:
    return sum(
        (decay**age * transitions[row] for age, row in enumerate(history[::-1][:recent])), np.zeros(len(transitions))
    )


@given(HISTORIES, st.integers(1, 10))
def test_pairs_are_counted_forward_within_the_window_of_one_user(histories: list[list[int]], window: int) -> None:
    counts = count_pairs(arrays(histories), window, ITEMS).toarray()
    assert counts == pytest.approx(counted_by_hand(histories, window))


@given(HISTORIES, HISTORIES, st.integers(1, 5), st.floats(0.1, 1))
def test_the_score_of_a_history_is_the_decayed_sum_of_its_last_events(
    trained: list[list[int]], asked: list[list[int]], recent: int, decay: float
) -> None:
    transitions = counted_by_hand(trained, 3)
    found = WindowedCounts(sparse.csr_matrix(transitions, dtype=np.float32), recent, decay).score(arrays(asked))
    assert found.dtype == np.float32
    assert found == pytest.approx(
        np.array([scored_by_hand(transitions, history, recent, decay) for history in asked]), rel=1e-5
    )


@given(HISTORIES, st.integers(1, 4))
def test_pruning_keeps_the_largest_entries_of_each_row(histories: list[list[int]], count: int) -> None:
    full = count_pairs(arrays(histories), 4, ITEMS)
    pruned = largest_of_rows(full, count).toarray()
    for line, kept in zip(full.toarray(), pruned, strict=True):
        best = np.argsort(-line, kind="stable")[:count]
        assert np.array_equal(kept, np.where(np.isin(np.arange(ITEMS + 1), best), line, 0))


def test_fitted_rows_sum_to_one_and_follow_the_training_events_only(tmp_path: Path) -> None:
    # 5 and 6 are seen in validation and test only.
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 5, 6], [1, 3, 6, 5]])
    transitions = WindowedCounts.fit(dataset).transitions.toarray()
    expected = counted_by_hand([[1, 2, 3], [1, 3]], 20)
    expected[1:3] /= expected[1:3].sum(1, keepdims=True)
    assert transitions == pytest.approx(expected)
    assert not transitions[:, 5:].any()


def test_markov_reads_the_last_event_and_what_came_right_after_it(tmp_path: Path) -> None:
    markov = fit_markov(tiny_dataset(tmp_path, [[1, 2, 3, 4, 4], [1, 2, 4, 4, 4], [1, 3, 4, 4]]))
    expected = [0, 0, 2 / 3, 1 / 3, 0]
    assert markov.score(arrays([[3, 2, 1]]))[0] == pytest.approx(expected)


def test_padding_and_unknown_items_in_a_history_are_skipped(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 4, 4], [2, 1, 4, 3, 4]])
    for fit in BASELINES.values():
        padded, bare, empty = fit(dataset).score(arrays([[0, 0, 1, 0, 2, 0], [1, 2], []]))
        assert np.array_equal(padded, bare)
        assert np.isfinite(empty).all()


@pytest.mark.parametrize(("unit", "ticks"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_recent_popularity_counts_the_last_days_of_training(tmp_path: Path, unit: str, ticks: int) -> None:
    days = [[0, 99, 100, 200, 201], [10, 92, 93, 93, 94]]
    times = [[day * DAY * ticks for day in user] for user in days]
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 4, 4], [1, 2, 3, 1, 1]], times, time_unit=unit)
    assert RecentPopularity.fit(dataset, days=8).interactions.tolist() == [0, 0, 1, 2, 0]
    assert (
        RecentPopularity.fit(dataset, days=1000).interactions.tolist() == Popularity.fit(dataset).interactions.tolist()
    )


@pytest.mark.parametrize("info", [{}, {"time_unit": None}])
def test_recent_popularity_without_a_unit_counts_the_newest_tenth(tmp_path: Path, info: dict[str, None]) -> None:
    dataset = tiny_dataset(tmp_path, [[*range(1, 21), 1, 2]], **info)
    assert np.flatnonzero(RecentPopularity.fit(dataset).interactions).tolist() == [19, 20]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_fitted_on_training_events_alone(small_run, name: str) -> None:
    """Other validation and test events do not change it."""
    dataset = small_run.dataset
    other = replace(dataset, events=np.where(dataset.parts == TRAIN, dataset.events, 1))
    histories = dataset.targets("test").histories[:50]
    assert np.array_equal(BASELINES[name](dataset).score(histories), BASELINES[name](other).score(histories))


def test_order_beats_popularity_on_real_purchases(small_run) -> None:
    dataset = small_run.dataset
    targets = dataset.targets("test")
    ndcg = {name: evaluate(fit(dataset).score, targets, dataset).ndcg(10).mean() for name, fit in BASELINES.items()}
    assert ndcg["windowed-counts"] > ndcg["popularity"]
