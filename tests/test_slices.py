import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_dataset

from edgerec.baselines.popularity import Popularity
from edgerec.data.dataset import Targets
from edgerec.data.feature_encoding import fit_feature
from edgerec.evaluation.lists import diversity, list_figures, novelty, popularity_lift
from edgerec.evaluation.ranking import NEVER, Evaluation, evaluate, ndcg_drop
from edgerec.evaluation.slices import by_slice, members, tiers


def test_tiers_are_cut_where_half_and_four_fifths_of_the_interactions_are_held(tmp_path: Path) -> None:
    # Training interactions of rows 1 to 4: 5, 3, 1, 1 of 10.
    users = [[1, 2, 3, 1, 1], [1, 2, 4, 1, 1], [1, 2, 1, 1], [1, 1, 1], [1, 1, 1]]
    dataset = tiny_dataset(tmp_path, users)
    assert dataset.popularity.tolist() == [0, 5, 3, 1, 1]
    assert tiers(dataset).tolist() == [3, 0, 1, 2, 2]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.data())
def test_each_target_is_in_one_slice_of_a_kind(tmp_path_factory, lengths: list[int], data: st.DataObject) -> None:
    dataset = tiny_dataset(tmp_path_factory.mktemp("tiny"), [[1, 2, 3, 1, 2], [1, 3, 2, 1]])
    items = np.array([data.draw(st.integers(0, 3)) for _ in lengths], np.int32)
    targets = Targets(np.arange(len(items)), [np.ones(length, np.int32) for length in lengths], items)
    for slices in members(targets, dataset).values():
        assert (np.sum(list(slices.values()), axis=0) == 1).all()
    bounds = {"<=20": (0, 20), "<=50": (21, 50), "<=100": (51, 100), "<=200": (101, 200), ">200": (201, math.inf)}
    for name, inside in members(targets, dataset)["history"].items():
        low, high = bounds[name]
        assert all(low <= length <= high for length in np.array(lengths)[inside])


def test_slices_add_up_to_the_whole_and_stand_within_their_intervals(small_run) -> None:
    dataset = small_run.dataset
    targets = dataset.targets("test")
    result = evaluate(Popularity.fit(dataset).score, targets, dataset)
    for rows in by_slice(result, targets, dataset).values():
        assert sum(row["targets"] for row in rows) == len(targets)
        for figure in ("ndcg@10", "hr@10"):
            whole = sum(row["targets"] * row[figure] for row in rows) / len(targets)
            assert whole == pytest.approx(result.quality()[figure])
            for row in rows:
                low, high = row[f"{figure}_ci"]
                assert 0 <= low <= row[figure] <= high <= 1


def test_an_interval_is_as_wide_as_the_normal_one() -> None:
    rng = np.random.default_rng(0)
    users = 2000
    ranks = np.where(rng.random(users) < 0.3, 1, NEVER).astype(np.int32)
    result = Evaluation(ranks, np.zeros((users, 10), np.int32), 5)
    targets = Targets(np.arange(users), [np.ones(1, np.int32)] * users, np.ones(users, np.int32))
    (row,) = by_slice(result, targets, _Catalogue())["history"]
    share = row["hr@10"]
    expected = 1.96 * math.sqrt(share * (1 - share) / users)
    low, high = row["hr@10_ci"]
    assert high - share == pytest.approx(expected, rel=0.1)
    assert share - low == pytest.approx(expected, rel=0.1)


class _Catalogue:
    """What slices read of a Dataset."""

    items = 5
    popularity = np.array([0, 5, 4, 3, 2, 1])


def test_losses_are_those_of_the_slice_and_none_where_the_reference_hits_hardly_anything() -> None:
    items = np.array([1] * 20 + [5, 0], np.int32)
    targets = Targets(np.arange(22), [np.ones(3, np.int32)] * 22, items)
    top = np.zeros((22, 10), np.int32)
    reference = Evaluation(np.array([1, 2] * 10 + [50, NEVER], np.int32), top, 5)
    other = Evaluation(np.array([2, 2] * 10 + [1, NEVER], np.int32), top, 5)
    rows = {row["name"]: row for row in by_slice(other, targets, _Catalogue(), reference)["popularity"]}
    assert list(rows) == ["head", "tail", "cold"]
    head = np.arange(20)
    assert rows["head"]["ndcg_drop"] == pytest.approx(ndcg_drop(reference.subset(head), other.subset(head))[0])
    assert rows["tail"]["ndcg_drop"] is None
    assert rows["tail"]["ndcg@10_ci"] == [0, 1]
    assert rows["cold"]["ndcg@10"] == 0


def test_popularity_lift_and_novelty_of_known_lists(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 1, 1], [1, 2, 1, 1], [1, 1, 1], [1, 1, 1]])
    assert dataset.popularity.tolist() == [0, 4, 2, 1]
    targets = Targets(np.arange(3), [np.array([1, 3]), np.array([2]), np.array([], np.int32)], np.array([1, 1, 1]))
    top = np.array([[2, 3, 0], [1, 0, 0], [1, 1, 1]])
    # Lists: 1.5 and 4; histories: 2.5 and 2; the user without a history does not count.
    assert popularity_lift(top, targets, dataset) == pytest.approx((1.5 + 4) / (2.5 + 2))
    assert novelty(np.array([[1, 2, 3, 0]]), dataset) == pytest.approx((0 + 1 + 2) / 3)
    assert popularity_lift(np.zeros((3, 2), int), targets, dataset) is None
    assert novelty(np.zeros((3, 2), int), dataset) is None


def test_repeats_of_one_user_make_an_item_no_less_novel(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 1, 1, 2, 2], [2, 1, 1]], repeats="all")
    assert novelty(np.array([[1]]), dataset) == pytest.approx(1)


def test_diversity_is_the_share_of_features_that_differ() -> None:
    table = pd.DataFrame(
        {
            "item_row": [1, 2, 3],
            "item_id": ["a", "b", "c"],
            "sku": ["x", "y", "z"],
            "price": [1.0, 2.0, 2.0],
            "genres": ["Comedy|Drama", "Drama", None],
            "brand": ["p", "p", "q"],
        }
    )
    features = [
        fit_feature("sku", "categorical", table["sku"]),
        fit_feature("price", "numeric", table["price"]),
        fit_feature("genres", "multi", table["genres"]),
        fit_feature("brand", "categorical", table["brand"]),
    ]
    # a and b: (1/2 + 0) / 2; a and c: (1 + 1) / 2, b and c likewise.
    assert diversity(np.array([[1, 2, 0]]), table, features) == pytest.approx(0.25)
    assert diversity(np.array([[1, 2, 3], [1, 2, 0]]), table, features) == pytest.approx(
        ((0.25 + 1 + 1) / 3 + 0.25) / 2
    )
    assert diversity(np.array([[1, 0, 0]]), table, features) is None
    assert diversity(np.array([[1, 2, 3]]), table, features[:2]) is None


def test_lists_without_features_have_no_diversity(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3], [4, 3, 2], [2, 1, 4]])
    targets = dataset.targets("test")
    result = evaluate(Popularity.fit(dataset).score, targets, dataset)
    assert set(list_figures(result, targets, dataset)) == {"popularity_lift", "novelty"}
