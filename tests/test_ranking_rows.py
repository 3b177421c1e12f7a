"""Ranking: splits by chance, labelled rows, histories, figures and recipes."""

from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_dataset

from edgerec.data.labelled_rows import Histories, labelled_rows
from edgerec.data.splits import random_parts
from edgerec.errors import DataError, RecipeError
from edgerec.evaluation.scored_rows import (
    ScoredRows,
    area_under_curve,
    expected_calibration_error,
    fidelity,
    loss,
    ndcg,
)
from edgerec.rankers.inputs import fit_inputs
from edgerec.recipe.load import check_recipe
from edgerec.recipe.ranker import MlpRanker
from edgerec.recipe.split import RandomRows
from edgerec.recipe.task import ImplicitTask

USERS = [[1, 2, 3, 4, 5], [2, 3, 6, 7], [1, 8, 9, 4, 2, 6]]


def folds_of_surprise(rows: int, folds: int, seed: int) -> list[np.ndarray]:
    """The tests of scikit-surprise's ``KFold``, as its source has them."""
    indices = np.arange(rows)
    np.random.RandomState(seed).shuffle(indices)
    start, stop, found = 0, 0, []
    for number in range(folds):
        start = stop
        stop += rows // folds
        if number < rows % folds:
            stop += 1
        found.append(indices[start:stop])
    return found


@pytest.mark.parametrize("rows", [100, 1003])
def test_the_random_split_has_the_folds_of_surprise(rows: int) -> None:
    for fold, expected in enumerate(folds_of_surprise(rows, 5, 0)):
        parts = random_parts(rows, RandomRows(fold=fold))
        assert set(np.flatnonzero(parts == 2)) == set(expected)
        assert (parts == 1).sum() == int((rows - len(expected)) * 0.1)


def test_a_random_split_keeps_the_row_itself_and_other_parts_out_of_its_history(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, USERS, split="random", time_unit="s")
    histories = Histories(dataset, 10)
    assert dataset.events[histories.events(1, 0)].tolist() == [1, 3]  # 4 is validation, 5 is test
    assert dataset.events[histories.events(4, 0)].tolist() == [1, 2, 3]
    assert dataset.events[Histories(dataset, 2, ("train", "validation")).events(4, 0)].tolist() == [3, 4]


def test_a_temporal_split_reads_only_what_came_before_the_moment(tmp_path: Path) -> None:
    times = [[0, 1, 1, 1, 2], [0, 1, 2, 3], [0, 0, 1, 2, 3, 4]]
    dataset = tiny_dataset(tmp_path, USERS, times, split="temporal", time_unit="s")
    histories = Histories(dataset, 10)
    for place, expected in ((0, []), (1, [1]), (3, [1]), (4, [1, 2, 3, 4])):
        assert dataset.events[histories.events(place, 0)].tolist() == expected


def test_the_moment_is_read_where_the_table_has_times(tmp_path: Path) -> None:
    timed = tiny_dataset(tmp_path / "timed", USERS, split="random", time_unit="s")
    without = tiny_dataset(tmp_path / "without", USERS, split="random", time_unit=None)
    read = {
        name: [feature.name for feature in fit_inputs(MlpRanker(), dataset, True, None).of("context")]
        for name, dataset in (("timed", timed), ("without", without))
    }
    assert read == {"timed": ["hour", "weekday"], "without": []}
    with pytest.raises(DataError, match=r"model\.context: hour needs times"):
        fit_inputs(MlpRanker(context=["hour"]), without, True, None)


def test_negatives_are_items_that_the_user_has_not(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, USERS, split="random", time_unit="s")
    rows = labelled_rows(dataset, ImplicitTask(kind="implicit", negatives=3), ("train",), seed=1)
    assert rows.group == 4 and rows.labels.reshape(-1, 4).tolist() == [[1, 0, 0, 0]] * rows.groups
    for user, item, label in zip(rows.users, rows.items, rows.labels, strict=True):
        assert (item in USERS[user][:-2]) == (label == 1)


def test_the_area_under_the_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, 60).astype(float), rng.integers(0, 2, 60)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    assert area_under_curve(scores, labels) == pytest.approx(np.mean(pairs))
    assert np.isnan(area_under_curve(scores, np.ones(60)))


def test_ndcg_gives_nothing_for_ties() -> None:
    assert ndcg(np.array([3.0, 2.0, 1.0]), np.array([1, 0, 0])) == 1
    assert ndcg(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 0])) == pytest.approx(0.5)
    assert ndcg(np.zeros(3), np.array([1, 0, 0])) == pytest.approx(0.5)


def test_calibration_error_is_the_gap_of_shares() -> None:
    labels = np.tile([0, 0, 0, 1], 100)
    assert expected_calibration_error(np.full(400, 0.25), labels) == pytest.approx(0, abs=0.05)
    assert expected_calibration_error(np.full(400, 0.75), labels) == pytest.approx(0.5, abs=0.05)


def test_losses_are_relative_and_paired() -> None:
    rng = np.random.default_rng(0)
    users, labels = np.repeat(np.arange(20, dtype=np.int32), 30), rng.normal(3, 1, 600).astype(np.float32)
    good = ScoredRows("rating", (labels + rng.normal(0, 0.5, 600)).astype(np.float32), labels, users)
    bad = ScoredRows("rating", (good.scores + rng.normal(0, 0.5, 600)).astype(np.float32), labels, users)
    lost, (low, high) = loss(good, bad)
    assert low < lost < high and lost == pytest.approx(bad.quality()["rmse"] / good.quality()["rmse"] - 1)
    assert loss(good, good) == (0.0, (0.0, 0.0))
    same = fidelity(good, good, good.lists())
    assert same["kendall_tau"] == pytest.approx(1) and same["score_error"] == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": {"encoder": "gru"}}, "model.encoder: unknown key"),
        ({"model": {"crosses": [["age", "genres"]]}}, "crosses: age, genres is not among"),
        ({"split": {"fold": 5}}, "there are the folds 0 to 4"),
        ({"data": {"path": "x.csv"}}, "data.columns.value"),
        ({"prune": {"method": "structured"}}, "no units of the kind feed_forward"),
        ({"kind": "rankin"}, "did you mean ranking"),
    ],
)
def test_a_wrong_ranking_recipe_is_told_what_is_wrong(changed: dict[str, object], message: str) -> None:
    data = {"path": "x.csv", "columns": {"value": "rating"}}
    with pytest.raises(RecipeError, match=message):
        check_recipe({"kind": "ranking", "data": data, **changed})
