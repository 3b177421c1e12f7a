import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import architecture, tiny_dataset

from edgerec.data.feature_encoding import encode_features, fit_feature
from edgerec.errors import EdgeRecError
from edgerec.recipe.model import MeanModel
from edgerec.recommenders import ENCODERS, SequenceRecommender
from edgerec.recommenders.architecture import Architecture
from edgerec.recommenders.recommender import left_pad

ITEMS = 30


VARIANTS = [
    *({"encoder": name} for name in ENCODERS),
    {"encoder": "sasrec", "heads": 2},
    {"encoder": "gru", "hidden": 12, "blocks": 1},
    {"encoder": "lru", "hidden": 5},
    {"encoder": "cnn", "blocks": 3},
]


def shaken(shape: Architecture, items: int = ITEMS, **given: object) -> SequenceRecommender:
    """A recommender far from initialisation, so that every layer matters."""
    tf.keras.utils.set_random_seed(0)
    made = SequenceRecommender(shape, items, **given)
    rng = np.random.default_rng(0)
    made.network.set_weights([w + rng.normal(0, 0.3, size=w.shape) for w in made.network.get_weights()])
    return made


@pytest.fixture(params=VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def recommender(request: pytest.FixtureRequest) -> SequenceRecommender:
    return shaken(architecture(**{"dim": 8, "blocks": 2, "max_history": 6, **request.param}))


HISTORIES = [np.array(h, np.int32) for h in ([5], [1, 2], [3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8, 1, 8])]


def test_the_serving_graph_gives_the_training_graphs_last_state(recommender: SequenceRecommender) -> None:
    ids = tf.constant(left_pad(HISTORIES, 6))
    trained = recommender.network(ids, training=False)[:, -1]
    np.testing.assert_allclose(recommender.serving(ids, training=False), trained, rtol=1e-4, atol=1e-5)


def test_scores_do_not_depend_on_padding_or_company(recommender: SequenceRecommender) -> None:
    together = recommender.score(HISTORIES)
    alone = np.concatenate([recommender.score([history]) for history in HISTORIES])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_users_with_identical_histories_get_identical_scores(recommender: SequenceRecommender) -> None:
    scores = recommender.score([np.array([3, 1, 4]), np.array([2, 7, 1, 8, 2]), np.array([3, 1, 4])])
    np.testing.assert_allclose(scores[0], scores[2], rtol=1e-4, atol=1e-5)  # products sum in another order


def test_a_single_event_and_no_event_have_scores(recommender: SequenceRecommender) -> None:
    scores = recommender.score([np.array([7]), np.array([], np.int32)])
    assert np.isfinite(scores).all()
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_only_the_last_events_are_read(recommender: SequenceRecommender) -> None:
    long = np.arange(1, 15, dtype=np.int32)
    np.testing.assert_array_equal(recommender.score([long]), recommender.score([long[-6:]]))


def test_no_state_sees_later_events(recommender: SequenceRecommender) -> None:
    first, other = np.array([[1, 2, 3, 4, 5, 6]]), np.array([[1, 2, 3, 9, 9, 9]])
    states = recommender.network(tf.constant(np.concatenate([first, other])), training=False)
    np.testing.assert_allclose(states[0, :3], states[1, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(states[0, 3] - states[1, 3]).max() > 1e-3


def test_order_matters_to_all_but_the_mean(recommender: SequenceRecommender) -> None:
    there, back = recommender.score([np.array([1, 2, 3]), np.array([3, 2, 1])])
    assert np.allclose(there, back, rtol=1e-4, atol=1e-4) == (recommender.architecture.encoder == "mean")


def test_what_is_saved_is_what_is_loaded(recommender: SequenceRecommender, tmp_path) -> None:
    recommender.save(tmp_path)
    np.testing.assert_array_equal(SequenceRecommender.load(tmp_path).score(HISTORIES), recommender.score(HISTORIES))


def test_one_step_from_a_kept_state_is_the_whole_pass(recommender: SequenceRecommender) -> None:
    if recommender.state_size is None:
        assert recommender.architecture.encoder not in ("gru", "lru")
        return
    history = [3, 1, 4, 1, 5, 9]
    state, no_events = tf.zeros([1, recommender.state_size]), tf.zeros([1, 1], tf.int32)
    for n, row in enumerate(history, 1):
        state = recommender.advance(state, tf.constant([row]))
        whole = recommender.score([np.array(history[:n], np.int32)])
        np.testing.assert_allclose(
            recommender.scores_from_state(state, no_events, no_events), whole, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_array_equal(recommender.advance(state, tf.constant([0])), state)


FEATURES = pd.DataFrame(
    {
        "genres": ["Action|War" if n % 3 else "Drama" for n in range(ITEMS)],
        "year": [str(1990 + n) for n in range(ITEMS)],
        "brand": ["own" if n % 2 else None for n in range(ITEMS)],
    }
)


def test_features_are_part_of_an_items_vector_and_fold_into_the_table(tmp_path) -> None:
    kinds = {"genres": "multi", "year": "numeric", "brand": "categorical"}
    features = [fit_feature(name, kind, FEATURES[name]) for name, kind in kinds.items()]
    encoded = encode_features(features, FEATURES).with_padding()
    shape = architecture(encoder="gru", dim=8, blocks=1, max_history=6)
    recommender = shaken(shape, item_features=features, encoded=encoded)
    own = recommender.item_table.embeddings.numpy()
    apart = recommender.item_table.vectors().numpy() - own
    assert np.abs(apart[1:]).min(1).max() > 0.01
    np.testing.assert_array_equal(apart[0], 0)
    folded = recommender.folded()
    assert len(folded.network.weights) == len(recommender.network.weights) - 2
    np.testing.assert_allclose(folded.score(HISTORIES), recommender.score(HISTORIES), rtol=1e-4, atol=1e-5)
    # A new item has the vector of its features; unknown values and columns in another order do no harm.
    new = FEATURES.iloc[[4, 5]].assign(brand="never seen")[["brand", "year", "genres"]]
    recommender.save(tmp_path)
    vectors = SequenceRecommender.load(tmp_path).new_item_vectors(new)
    plain = recommender.new_item_vectors(FEATURES.iloc[[4, 5]].assign(brand=None))
    np.testing.assert_array_equal(vectors, plain)
    np.testing.assert_allclose(plain[0], apart[5], rtol=1e-5)  # the fifth item has no brand


def test_features_that_are_not_there_are_told(tmp_path) -> None:
    with pytest.raises(EdgeRecError, match=r"no feature 'colour'; it has: none"):
        SequenceRecommender.of_dataset(
            MeanModel(encoder="mean", item_features=["colour"]), tiny_dataset(tmp_path, [[1, 2, 3]])
        )
    with pytest.raises(EdgeRecError, match="no item features"):
        shaken(architecture(encoder="mean", dim=8)).new_item_vectors(FEATURES)
    feature = fit_feature("brand", "categorical", FEATURES["brand"])
    with pytest.raises(EdgeRecError, match="lacks the feature brand; it has: genres, year"):
        encode_features([feature], FEATURES[["genres", "year"]])


def test_a_folder_without_model_is_told(tmp_path) -> None:
    with pytest.raises(EdgeRecError, match="no model here"):
        SequenceRecommender.load(tmp_path)


def test_the_lookups_gradient_is_that_of_a_plain_gather() -> None:
    recommender = SequenceRecommender(architecture(encoder="mean", dim=4, max_history=6), ITEMS)
    table, ids = recommender.item_table.embeddings, tf.constant([[0, 3, 3, 7]])
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(recommender.item_table(ids) ** 2)
        plain = tf.reduce_sum((tf.gather(table, ids) * 2.0) ** 2)
    np.testing.assert_allclose(tape.gradient(ours, table), tf.convert_to_tensor(tape.gradient(plain, table)), rtol=1e-6)
