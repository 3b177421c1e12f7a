"""Distillation: what the teacher predicts for each event, and the losses against it."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_recipe
from test_losses import RNG, gradients, normal
from test_parts import some_prior, some_transitions
from test_recommenders import shaken
from tiny import architecture, tiny_dataset

from device_runner import EdgeRecError
from edgerec.data.dataset import Dataset
from edgerec.errors import RecipeError
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import Distill, Train, check_recipe, load_recipe
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.ensemble import Ensemble
from edgerec.recommenders.parts import Parts
from edgerec.training import losses
from edgerec.training.batches import training_batches
from edgerec.training.distillation import Distillation, SoftTargets, soft_targets


def soft_labels(positions: int, kept: int, items: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Different items int32 [P, K] and shares float32 [P, K] that sum to 1."""
    rows = np.stack([1 + RNG.permutation(items - 1)[:kept] for _ in range(positions)]).astype(np.int32)
    shares = RNG.dirichlet(np.ones(kept), positions).astype(np.float32)
    return tf.constant(rows), tf.constant(shares)


@pytest.mark.parametrize("positions", [1, 256, 300])
def test_soft_cross_entropy_is_the_usual_one(positions: int) -> None:
    hidden, table = normal(positions, 8), normal(50, 8)
    items, shares = soft_labels(positions, 5, 50)
    labels = np.zeros((positions, 50), np.float32)
    np.put_along_axis(labels, items.numpy(), shares.numpy(), 1)

    def usual(hidden: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(hidden, table, transpose_b=True)
        return tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(labels, scores))

    expected, expected_gradients = gradients(usual, hidden, table)
    loss = losses.soft_cross_entropy("float32")
    ours, our_gradients = gradients(lambda h, t: loss(h, t, items, shares), hidden, table)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    for one, other in zip(our_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    half = losses.soft_cross_entropy("bfloat16")(hidden, table, items, shares)
    np.testing.assert_allclose(half, expected, rtol=0.02)


def test_an_item_that_stands_twice_has_the_sum_of_its_shares() -> None:
    hidden, table = normal(3, 8), normal(20, 8)
    twice = tf.constant([[4, 4, 2]] * 3), tf.constant([[0.25, 0.5, 0.25]] * 3)
    once = tf.constant([[4, 2]] * 3), tf.constant([[0.75, 0.25]] * 3)
    loss = losses.soft_cross_entropy("float32")
    np.testing.assert_allclose(loss(hidden, table, *twice), loss(hidden, table, *once), rtol=1e-6)


def test_the_sampled_loss_comes_near_the_full_one_with_many_negatives() -> None:
    hidden, table = normal(200, 8), normal(50, 8)
    items, shares = soft_labels(200, 4, 50)
    items = tf.concat([items[:, 1:2], items], 1)  # the event itself is among the teacher's items
    shares = tf.concat([tf.fill([200, 1], 0.3), 0.7 * shares], 1)
    table = tf.concat([tf.fill([1, 8], -0.0), table[1:]], 0)
    scores = tf.matmul(hidden, table, transpose_b=True)
    masked = tf.concat([tf.fill([200, 1], -1e9), scores[:, 1:]], 1)  # row 0 is padding, and never drawn
    wanted = tf.reduce_sum(shares * tf.gather(scores, items, batch_dims=1), 1)
    expected = tf.reduce_sum(tf.reduce_logsumexp(masked, 1) - wanted)
    tf.random.set_global_generator(tf.random.Generator.from_seed(1))
    found = losses.soft_sampled_softmax(20_000, 49)(hidden, table, items, shares)
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(3)
    return tiny_dataset(tmp_path / "data", [rng.integers(1, 31, length).tolist() for length in (3, 9, 30, 24, 4)])


def teacher_of(encoder: str, length: int = 8, parts: Parts | None = None) -> SequenceRecommender:
    teacher = shaken(architecture(encoder=encoder, dim=8, blocks=1, max_history=length), 30)
    teacher.parts = parts or Parts()
    return teacher


def predicted(teacher: SequenceRecommender | Ensemble, history: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    scores = tf.nn.log_softmax(teacher.score([history])[0, 1:]).numpy()
    best = np.argsort(-scores, kind="stable")[:kept]
    return best + 1, tf.nn.softmax(scores[best] / 2.0).numpy()


@pytest.mark.parametrize("encoder", ["gru", "lru"])  # those whose states do not depend on where a window ends
def test_soft_targets_are_what_the_teacher_predicts_from_the_events_before(encoder: str, dataset: Dataset) -> None:
    parts = Parts(some_transitions(30), some_prior(30))
    teacher = Ensemble([teacher_of(encoder, 50, parts), teacher_of("gru", 50)])
    taught = soft_targets(teacher, dataset, Distill(teacher="trained", temperature=2.0, candidates=4))
    assert taught.items.shape == (1 + sum(map(len, dataset.training_histories())), 4)
    position = 1
    for history in dataset.training_histories():
        assert not taught.shares[position].any()  # nothing leads to the first event
        for place in range(1, len(history)):
            items, shares = predicted(teacher, history[:place], 4)
            np.testing.assert_array_equal(taught.items[position + place], items)
            np.testing.assert_allclose(taught.shares[position + place], shares, atol=2e-3)
        position += len(history)


def test_long_histories_are_predicted_from_half_a_window_or_more(dataset: Dataset) -> None:
    teacher = teacher_of("mean", 8)
    taught = soft_targets(teacher, dataset, Distill(teacher="trained", temperature=2.0, candidates=3))
    histories = dataset.training_histories()
    first = 1 + sum(map(len, histories[:2]))
    long = histories[2]
    assert len(long) > 16
    for place in range(1, len(long)):
        contexts = [long[start:place] for start in range(max(0, place - 8), max(0, place - 4) + 1)]
        assert any(
            np.array_equal(taught.items[first + place], predicted(teacher, context, 3)[0]) for context in contexts
        )


def test_positions_of_a_batch_are_those_of_its_targets(dataset: Dataset) -> None:
    histories = dataset.training_histories()
    events = np.concatenate(histories)
    features = [np.array([31 + user % 2], np.int32) for user in range(len(histories))]
    for given in (None, features):
        for batch in training_batches(histories, 8, 2, 1, 1, given):
            real = batch.targets > 0
            assert ((batch.positions > 0) == real).all()
            np.testing.assert_array_equal(events[batch.positions[real] - 1], batch.targets[real])


def test_a_distilled_step_is_that_of_the_mixture(dataset: Dataset) -> None:
    student = shaken(architecture(encoder="gru", dim=8, blocks=1, max_history=8, dropout=0), 30)
    taught = soft_targets(teacher_of("gru"), dataset, Distill(teacher="trained", candidates=5))
    objective = Distillation(student, dataset, Train(precision="float32"), taught, 0.6)
    batch = objective.batches(1)[0]
    hidden = student.network(batch.inputs).numpy()
    scores = tf.nn.log_softmax(hidden @ student.item_vectors().numpy().T).numpy()
    total = 0.0
    for line, place in zip(*np.nonzero(batch.targets), strict=True):
        position, target = batch.positions[line, place], batch.targets[line, place]
        shares = 0.6 * taught.shares[position].astype(np.float32)
        total -= (1 - shares.sum()) * scores[line, place, target]
        total -= (shares * scores[line, place, taught.items[position]]).sum()
    expected = total / np.count_nonzero(batch.targets)
    assert float(objective.loss(*objective.tensors(batch))) == pytest.approx(expected, rel=1e-3)


def test_soft_targets_are_read_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = SoftTargets(rng.integers(0, 9, (5, 2)).astype(np.uint16), rng.random((5, 2)).astype(np.float16))
    written.save(tmp_path)
    read = SoftTargets.load(tmp_path)
    np.testing.assert_array_equal(read.items, written.items)
    np.testing.assert_array_equal(read.shares, written.shares)


def test_settings_without_a_teacher_are_refused() -> None:
    document = {"data": {"name": "x", "path": "x.csv"}, "distill": {"weight": 0.5}}
    with pytest.raises(RecipeError, match=r"weight has no effect without distill\.teacher"):
        check_recipe(document)


def test_the_folder_of_a_teacher_is_relative_to_the_recipe(tmp_path: Path) -> None:
    for given, meant in (("models/big", str(tmp_path / "models" / "big")), ("trained", "trained")):
        (tmp_path / "recipe.toml").write_text(f'[data]\nname = "x"\npath = "x.csv"\n[distill]\nteacher = "{given}"\n')
        assert load_recipe(tmp_path / "recipe.toml").distill.teacher == meant


def test_a_teacher_that_is_not_there_is_one_line(small_run: Run, purchases: Path, run_copy: Path) -> None:
    recipe = small_recipe(purchases, distill={"teacher": str(run_copy / "nothing")})
    with pytest.raises(EdgeRecError, match="nothing: no model here"):
        assert Run(recipe, run_copy, Progress()).trained
