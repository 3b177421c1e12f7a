"""Histories at the edges, beside what test_device.py and test_recommenders.py have of unknown, empty and long ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_recommenders import ITEMS, shaken
from tiny import architecture, tiny_dataset

from device_runner import Recommender
from edgerec.data.dataset import Dataset, Targets
from edgerec.evaluation.device import evaluate_bundle
from edgerec.evaluation.ranking import NEVER, evaluate
from edgerec.pipeline import Run
from edgerec.recommenders import ENCODERS, SequenceRecommender
from edgerec.training.batches import training_batches

LENGTH = 6
# Users 0, 2 and 3 are alike up to their test targets; 3's and 4's are cold; 4 has a cold item in its history; the last
# one's history is longer than L.
USERS = [
    [5, 9, 2, 7, 11], [1, 2, 3, 4, 30], [5, 9, 2, 7, 11], [5, 9, 2, 7, 0], [8, 6, 0, 0], [*range(10, 30), 4],
]  # fmt: skip


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> SequenceRecommender:
    return shaken(architecture(encoder=request.param, dim=8, blocks=2, max_history=LENGTH))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = tiny_dataset(tmp_path_factory.mktemp("edges"), USERS)
    assert (made.users, made.items) == (len(USERS), ITEMS)
    return made


def test_users_alike_are_evaluated_alike_and_each_counts(encoder: SequenceRecommender, dataset: Dataset) -> None:
    result = evaluate(encoder.score, dataset.targets("test"), dataset)
    assert len(result.ranks) == len(USERS)
    assert result.ranks[0] == result.ranks[2] < NEVER
    assert result.top[0].tolist() == result.top[2].tolist() == result.top[3].tolist()


def test_cold_targets_never_rank(encoder: SequenceRecommender, dataset: Dataset) -> None:
    result = evaluate(encoder.score, dataset.targets("test"), dataset)
    assert (result.ranks == NEVER).tolist() == [False, False, False, True, True, False]
    assert not result.ndcg(10)[3:5].any()
    assert not result.reciprocal_ranks()[3:5].any()


def test_cold_events_of_a_history_are_skipped(encoder: SequenceRecommender, dataset: Dataset) -> None:
    history = dataset.targets("test").histories[4]
    assert history.tolist() == [8, 6]
    np.testing.assert_array_equal(encoder.score([history]), encoder.score([np.array([8, 6])]))


def test_lists_are_the_same_alone_and_in_company(encoder: SequenceRecommender, dataset: Dataset) -> None:
    targets = dataset.targets("test")
    together = evaluate(encoder.score, targets, dataset)
    for n in range(len(targets)):
        alone = evaluate(
            encoder.score, Targets(targets.users[[n]], [targets.histories[n]], targets.items[[n]]), dataset
        )
        assert alone.ranks[0] == together.ranks[n]
        assert alone.top[0].tolist() == together.top[n].tolist()


@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_history_of_l_events_or_more_is_its_last_l(encoder: SequenceRecommender, more: int) -> None:
    last = np.array([3, 1, 4, 1, 5, 9], np.int32)
    longer = np.concatenate([np.full(more, 7, np.int32), last])
    np.testing.assert_array_equal(encoder.score([longer]), encoder.score([last]))


def test_users_alike_are_trained_on_each(dataset: Dataset) -> None:
    def targets(histories: list[np.ndarray]) -> int:
        return sum(np.count_nonzero(batch.targets) for batch in training_batches(histories, LENGTH, 4, 1, 1))

    histories = dataset.training_histories()
    assert [h.tolist() for h in (histories[0], histories[2])] == [[5, 9, 2]] * 2
    # A single event has nothing to be followed by.
    assert targets([histories[0], histories[2], np.array([3], np.int32), np.array([], np.int32)]) == 4


@pytest.fixture(scope="module")
def recommender(bundle: Path) -> Recommender:
    return Recommender.load(bundle)


def test_a_single_event_is_enough_for_the_model(recommender: Recommender) -> None:
    for item in recommender.bundle.items[1:6]:
        found = recommender.recommend([item], k=5)
        assert (found.source, found.unknown, len(found)) == ("model", 0, 5)
        assert item not in {entry.item for entry in found}
        assert np.isfinite([entry.score for entry in found]).all()


def test_the_same_history_gives_the_same_list_whatever_came_between(recommender: Recommender, bundle: Path) -> None:
    history, long = recommender.bundle.items[5:9], recommender.bundle.items[1:60]
    first = list(recommender.recommend(history, exclude=long[30:]))
    recommender.recommend(long)
    recommender.recommend([])
    assert list(recommender.recommend(history, exclude=long[30:])) == first
    assert list(Recommender.load(bundle).recommend(history, exclude=long[30:])) == first


def test_the_last_l_known_events_are_read_however_many_unknown_are_between(recommender: Recommender) -> None:
    length = recommender.bundle.contract.max_history
    known = recommender.bundle.items[1 : length + 11]
    unknown = [f"unknown {n}" for n in range(2 * length)]
    mixed = [*known[:15], *unknown, *known[15:], *unknown]
    found = recommender.recommend(mixed)
    assert (found.source, found.unknown) == ("model", 4 * length)
    assert list(found) == list(recommender.recommend(known[-length:], exclude=known))
    found = recommender.recommend(unknown)
    assert (found.source, found.unknown) == ("popularity", 2 * length)


def test_a_bundle_is_evaluated_on_users_alike_and_cold_targets_as_a_model_is(
    recommender: Recommender, small_run: Run
) -> None:
    sample = small_run.dataset.targets("test").sample(20, seed=0)
    warm = np.flatnonzero(sample.items > 0)
    once = Targets(sample.users[warm], [sample.histories[n] for n in warm], sample.items[warm])
    cold = replace(once, items=np.zeros_like(once.items))
    parts = (once, once, cold)
    thrice = Targets(
        np.concatenate([part.users for part in parts]),
        [history for part in parts for history in part.histories],
        np.concatenate([part.items for part in parts]),
    )
    ranks = evaluate_bundle(recommender, thrice, small_run.dataset).ranks.reshape(3, -1)
    assert ranks[0].tolist() == ranks[1].tolist()
    assert (ranks[0] < NEVER).all()
    assert (ranks[2] == NEVER).all()
