import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgerec.cli.main import main
from edgerec.errors import DataError
from edgerec.evaluation.comparison import compare
from edgerec.evaluation.ranking import NEVER, Evaluation

TOP = np.zeros((4000, 10), np.int32)


def ranked(ranks: np.ndarray) -> Evaluation:
    return Evaluation(ranks.astype(np.int32), TOP[: len(ranks)], 100)


def some_ranks(targets: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 40, targets)


def worsened(ranks: np.ndarray, share: float) -> np.ndarray:
    """``share`` of the targets fall out of every list."""
    return np.where(np.random.default_rng(1).random(len(ranks)) < share, NEVER, ranks)


@pytest.mark.parametrize(
    ("share", "margin", "verdict"),
    [(0, 0.01, "non-inferior"), (0.002, 0.01, "non-inferior"), (0.01, 0.01, "undecided"), (0.05, 0.01, "inferior"),
     (0.05, 0.1, "non-inferior")],
)  # fmt: skip
def test_the_verdict_is_that_of_the_interval_against_the_margin(share: float, margin: float, verdict: str) -> None:
    ranks = some_ranks()
    found = compare(ranked(ranks), ranked(worsened(ranks, share)), margin)
    low, high = found.ndcg_drop_ci
    assert low <= found.ndcg_drop <= high
    assert (high < margin, low > margin) == (verdict == "non-inferior", verdict == "inferior")
    assert found.verdict == verdict


def test_a_gain_is_a_negative_drop_and_non_inferior() -> None:
    ranks = some_ranks()
    found = compare(ranked(worsened(ranks, 0.1)), ranked(ranks))
    assert found.ndcg_drop_ci[1] < 0
    assert found.verdict == "non-inferior"
    assert found.worse == 0 < found.better


@given(st.lists(st.integers(1, 15), min_size=2, max_size=20), st.randoms())
def test_better_and_worse_change_places_with_the_two_compared(ranks: list[int], random) -> None:
    first, second = np.array(ranks), np.array(random.sample(ranks, len(ranks)))
    there, back = compare(ranked(first), ranked(second)), compare(ranked(second), ranked(first))
    assert (there.better, there.same, there.worse) == (back.worse, back.same, back.better)
    assert there.better + there.same + there.worse == pytest.approx(1)


def test_nothing_is_decided_on_one_target_or_against_a_reference_without_hits() -> None:
    assert compare(ranked(np.array([1])), ranked(np.array([1]))).verdict == "undecided"
    never = ranked(np.array([NEVER] * 10))
    assert compare(never, never).verdict == "undecided"
    gained = compare(never, ranked(some_ranks(10)))
    assert gained.verdict == "undecided"
    assert gained.ndcg_drop is None and gained.ndcg_drop_ci is None
    assert json.loads(json.dumps(gained.as_dict()))["ndcg_drop_ci"] is None


def test_other_targets_and_no_targets_are_refused() -> None:
    with pytest.raises(DataError, match="10 targets among 100 items cannot be compared with 9 among 100"):
        compare(ranked(some_ranks(10)), ranked(some_ranks(9)))
    with pytest.raises(DataError, match="no targets"):
        compare(ranked(np.zeros(0)), ranked(np.zeros(0)))
    baskets = replace(ranked(some_ranks(10)), basket_ranks=some_ranks(10)[:, None])
    with pytest.raises(DataError, match="baskets"):
        compare(ranked(some_ranks(10)), baskets)
    assert compare(baskets, baskets).ndcg_drop == 0


def test_evaluate_against_a_reference_says_by_how_much_and_gives_a_verdict(small_run, bundle) -> None:
    dataset = str(small_run.folder / "dataset")
    asked = ["evaluate", str(bundle), "--against", str(small_run.pruned), "--dataset", dataset]
    result = CliRunner().invoke(main, [*asked, "--json"])
    document = json.loads(result.stdout)
    assert {"model", "dataset", "split_fingerprint", "targets", "quality", "slices", "comparison"} <= set(document)
    found = document["comparison"]
    report = json.loads((small_run.folder / "report.json").read_text())
    pruned = next(v for v in report["variants"] if v["name"] == "keras-pruned")
    assert document["against"]["quality"]["ndcg@10"] == pytest.approx(pruned["quality"]["ndcg@10"], rel=1e-6)
    loss = 1 - document["quality"]["ndcg@10"] / pruned["quality"]["ndcg@10"]
    assert found["ndcg_drop"] == pytest.approx(loss, abs=1e-6)
    assert found["margin"] == 0.05
    wide = CliRunner().invoke(main, [*asked, "--margin", "100"])
    assert wide.exit_code == 0
    assert "non-inferior at a margin of 10000.00%" in wide.stdout
    for slice_name in ("head", "<=20"):
        assert slice_name in wide.stdout


@pytest.mark.parametrize("name", ["popularity", "recent-popularity", "markov", "windowed-counts"])
def test_evaluate_takes_every_baseline_by_its_name_as_the_report_has_it(small_run, name: str) -> None:
    report = json.loads((small_run.folder / "report.json").read_text())
    result = CliRunner().invoke(main, ["evaluate", name, "--dataset", str(small_run.folder / "dataset"), "--json"])
    document = json.loads(result.stdout)
    (measured,) = [baseline for baseline in report["baselines"] if baseline["name"] == name]
    for part in ("quality", "lists", "slices"):
        assert document[part] == measured[part]
