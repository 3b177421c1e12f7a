"""Ranking models compared with each other: every figure, by user, and the verdict."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgerec.artifact import without_nan
from edgerec.errors import DataError
from edgerec.evaluation.scored_comparison import compare_scored
from edgerec.evaluation.scored_rows import ScoredRows
from edgerec.report.ranking import table_rows

USERS = np.repeat(np.arange(60, dtype=np.int32), 12)
ITEMS = np.arange(len(USERS), dtype=np.int32) % 50 + 1


def ratings(error: float) -> ScoredRows:
    """Ratings that are off by so much, as a standard deviation."""
    labels = np.random.default_rng(1).integers(1, 6, len(USERS)).astype(np.float32)
    noise = np.random.default_rng(2).normal(0, error, len(USERS))
    return ScoredRows("rating", (labels + noise).astype(np.float32), labels, USERS, ITEMS)


def clicks(skill: float) -> ScoredRows:
    """Chances of clicks, which say more about the labels the larger the skill."""
    rng = np.random.default_rng(3)
    labels = (rng.random(len(USERS)) < 0.3).astype(np.float32)
    raw = skill * (labels - 0.5) + rng.normal(0, 1, len(USERS))
    return ScoredRows("implicit", (1 / (1 + np.exp(-raw))).astype(np.float32), labels, USERS, ITEMS)


def test_every_figure_is_compared_in_the_direction_in_which_it_is_better() -> None:
    for worse, better, names in (
        (ratings(1.0), ratings(0.8), ["rmse", "mae"]),
        (clicks(0.5), clicks(2.0), ["auc", "gauc", "ndcg@10", "log_loss", "ece"]),
    ):
        found = compare_scored(worse, better)
        assert [change.figure for change in found.figures] == names and found.verdict == "non-inferior"
        for change in found.figures:
            assert change.before == worse.quality()[change.figure] and change.after == better.quality()[change.figure]
            if change.figure != "ece":
                assert change.loss < 0 and change.loss_ci is not None
                assert change.loss_ci[0] <= change.loss <= change.loss_ci[1] < 0, change
        assert compare_scored(better, worse).verdict == "inferior"


def test_the_sums_of_users_give_the_figures_themselves() -> None:
    """So the interval is of the figure that is shown."""
    from edgerec.evaluation.scored_comparison import OF_USERS, _sums_of_users

    for scored in (ratings(1.0), clicks(1.0)):
        quality = scored.quality()
        for name in set(OF_USERS) & quality.keys():
            sums, weights = _sums_of_users(name, scored)
            assert sums.sum() / weights.sum() == pytest.approx(quality[name], rel=1e-6), name


def test_a_model_is_as_good_as_itself() -> None:
    found = compare_scored(ratings(1.0), ratings(1.0))
    assert found.main.loss == 0 and found.main.loss_ci == (0.0, 0.0) and found.verdict == "non-inferior"
    assert found.as_dict()["figures"][1]["loss_ci"] == [0.0, 0.0]


def test_other_rows_cannot_be_compared() -> None:
    one = ratings(1.0)
    for other in (
        clicks(1.0),
        one.subset(np.arange(10)),
        ScoredRows("rating", one.scores, one.labels + 1, USERS, ITEMS),
    ):
        with pytest.raises(DataError, match="tested on other rows"):
            compare_scored(one, other)


def test_rows_of_other_items_cannot_be_compared(tmp_path: Path) -> None:
    """Two runs with other negatives have the same users and labels."""
    one = clicks(1.0)
    one.save(tmp_path)
    kept = ScoredRows.load(tmp_path)
    assert compare_scored(one, kept).main.loss == 0
    with pytest.raises(DataError, match="tested on other items"):
        compare_scored(one, replace(kept, items=ITEMS[::-1]))
    replace(one, items=None).save(tmp_path)  # as earlier versions did
    with pytest.raises(DataError, match="did not keep the items of its rows; delete the folders measured and bundles"):
        compare_scored(ScoredRows.load(tmp_path), one)


def test_figures_that_no_user_has_are_null_in_json_and_a_dash_in_tables() -> None:
    scored = clicks(1.0)
    scored = replace(scored, users=np.arange(len(USERS), dtype=np.int32))  # no user has both labels
    quality = without_nan(scored.quality())
    assert quality["gauc"] is quality["ndcg@10"] is None and 0.5 < quality["auc"] < 1
    document = compare_scored(scored, scored).as_dict()
    json.dumps(document, allow_nan=False)
    assert document["figures"][1] == {"figure": "gauc", "before": None, "after": None, "loss": None, "loss_ci": None}
    measured = {"name": "x", "quality": quality, "interval": [0.5, 0.6]}
    line = table_rows({"task": {"kind": "implicit"}, "baselines": [measured], "variants": []})[1]
    assert line[2:5] == [f"{quality['auc']:.4f}", "–", "–"]
