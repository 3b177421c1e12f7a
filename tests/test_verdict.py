import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.errors import DataError
from edgerec.evaluation.ranking import NEVER, Evaluation
from edgerec.evaluation.verdict import verdict
from edgerec.evaluation.words import NOT_MEASURABLE, change, percent, signed_percent

USERS = 2000


def hitting(share: float, users: int = USERS, seed: int = 0) -> Evaluation:
    """Ranks first for ``share`` of the users, and not at all for the others."""
    hit = np.random.default_rng(seed).random(users) < share
    return Evaluation(np.where(hit, 1, NEVER).astype(np.int32), np.zeros((users, 10), np.int32), 100)


@pytest.mark.parametrize(
    ("share", "words", "sign"),
    [(0.5, "better than", 1), (0.1, "worse than", -1)],
)
def test_the_verdict_is_against_the_best_baseline_and_follows_its_interval(share: float, words: str, sign: int) -> None:
    found = verdict("int8", hitting(share), {"popularity": hitting(0.05), "markov": hitting(0.3), "none": hitting(0)})
    assert (found.baseline, found.verdict) == ("markov", words)
    assert found.gain is not None and found.gain_ci is not None
    assert found.gain_ci[0] < found.gain < found.gain_ci[1]
    assert all(sign * end > 0 for end in found.gain_ci)
    assert found.sentence.startswith(f"int8 is {words} markov, the best baseline: NDCG@10 {'+' if sign > 0 else '-'}")


def test_a_difference_that_may_be_chance_is_level() -> None:
    found = verdict("int8", hitting(0.3, seed=1), {"markov": hitting(0.3)})
    assert found.verdict == "level with"
    assert found.gain_ci is not None and found.gain_ci[0] < 0 < found.gain_ci[1]
    assert "may be chance" in found.sentence
    assert verdict("int8", hitting(0.3), {"markov": hitting(0.3)}).verdict == "level with"


@pytest.mark.parametrize(
    ("shipped", "baseline", "reason"),
    [(hitting(0.5), hitting(0), "no hit in its top 10"), (hitting(1, users=1), hitting(1, users=1), "too few")],
)
def test_where_no_difference_can_be_measured_the_sentence_says_why(
    shipped: Evaluation, baseline: Evaluation, reason: str
) -> None:
    found = verdict("int8", shipped, {"popularity": baseline})
    assert (found.verdict, found.gain, found.gain_ci) == ("not comparable with", None, None)
    assert found.sentence.startswith("int8 cannot be compared with popularity") and reason in found.sentence


def test_a_verdict_is_ready_for_json() -> None:
    document = json.loads(json.dumps(verdict("int8", hitting(0.5), {"markov": hitting(0.3)}).as_dict()))
    assert set(document) == {"model", "baseline", "gain", "gain_ci", "verdict", "sentence"}
    assert len(document["gain_ci"]) == 2


def test_no_baseline_and_other_targets_are_refused() -> None:
    with pytest.raises(DataError, match="no baseline"):
        verdict("int8", hitting(0.5), {})
    with pytest.raises(DataError, match="cannot be compared"):
        verdict("int8", hitting(0.5), {"markov": hitting(0.5, users=10)})


def test_a_loss_is_shown_as_a_change_with_its_sign() -> None:
    assert change(0.0123, [-0.001, 0.02]) == "-1.2 % [-2.0 %, +0.1 %]"
    assert change(-0.0123) == "+1.2 %"
    assert change(0.0, [0.0, 0.0]) == "0.0 % [0.0 %, 0.0 %]"
    assert (change(1e-6), change(1e-6, digits=2), percent(-1e-9)) == ("0.0 %", "0.00 %", "0.0 %")
    assert change(None, None) == NOT_MEASURABLE


@given(st.floats(-10, 10))
def test_a_sign_stands_before_every_change_that_does_not_round_to_zero(share: float) -> None:
    text = signed_percent(share)
    assert (text[0] in "+-") == (float(text.removesuffix(" %").replace(",", "")) != 0)
