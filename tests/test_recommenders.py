import numpy as np
import pytest
import tensorflow as tf

from edgerec.errors import EdgeRecError
from edgerec.recipe import Model
from edgerec.recommenders import ENCODERS, SequenceRecommender
from edgerec.recommenders.recommender import left_pad

ITEMS = 30


@pytest.fixture(params=[(name, heads) for name in ENCODERS for heads in (1, 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def recommender(request: pytest.FixtureRequest) -> SequenceRecommender:
    tf.keras.utils.set_random_seed(0)
    encoder, heads = request.param
    made = SequenceRecommender(Model(encoder=encoder, dim=8, blocks=2, heads=heads, max_history=6), ITEMS)
    # Far from initialisation, so that every layer matters.
    made.network.set_weights(
        [np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(made.network.get_weights())]
    )
    return made  # fmt: skip


HISTORIES = [np.array(h, np.int32) for h in ([5], [1, 2], [3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8, 1, 8])]


def test_the_serving_graph_gives_the_training_graphs_last_state(recommender: SequenceRecommender) -> None:
    ids = tf.constant(left_pad(HISTORIES, 6))
    trained = recommender.network(ids, training=False)[:, -1]
    np.testing.assert_allclose(recommender.serving(ids, training=False), trained, rtol=1e-4, atol=1e-5)


def test_scores_do_not_depend_on_padding_or_company(recommender: SequenceRecommender) -> None:
    together = recommender.score(HISTORIES)
    alone = np.concatenate([recommender.score([history]) for history in HISTORIES])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_only_the_last_events_are_read(recommender: SequenceRecommender) -> None:
    long = np.arange(1, 15, dtype=np.int32)
    np.testing.assert_array_equal(recommender.score([long]), recommender.score([long[-6:]]))


def test_no_state_sees_later_events(recommender: SequenceRecommender) -> None:
    first, other = np.array([[1, 2, 3, 4, 5, 6]]), np.array([[1, 2, 3, 9, 9, 9]])
    states = recommender.network(tf.constant(np.concatenate([first, other])), training=False)
    np.testing.assert_allclose(states[0, :3], states[1, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(states[0, 3] - states[1, 3]).max() > 1e-3


def test_order_matters_to_sasrec_only(recommender: SequenceRecommender) -> None:
    there, back = recommender.score([np.array([1, 2, 3]), np.array([3, 2, 1])])
    assert np.allclose(there, back, rtol=1e-4, atol=1e-4) == (recommender.config.encoder == "mean")


def test_what_is_saved_is_what_is_loaded(recommender: SequenceRecommender, tmp_path) -> None:
    recommender.save(tmp_path)
    np.testing.assert_array_equal(SequenceRecommender.load(tmp_path).score(HISTORIES), recommender.score(HISTORIES))


def test_a_folder_without_model_is_told(tmp_path) -> None:
    with pytest.raises(EdgeRecError, match="no model here"):
        SequenceRecommender.load(tmp_path)


def test_the_lookups_gradient_is_that_of_a_plain_gather() -> None:
    recommender = SequenceRecommender(Model(encoder="mean", dim=4, max_history=6), ITEMS)
    table, ids = recommender.item_table.embeddings, tf.constant([[0, 3, 3, 7]])
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(recommender.item_table(ids) ** 2)
        plain = tf.reduce_sum((tf.gather(table, ids) * 2.0) ** 2)
    np.testing.assert_allclose(tape.gradient(ours, table), tf.convert_to_tensor(tape.gradient(plain, table)), rtol=1e-6)
