import numpy as np
import pytest
import tensorflow as tf

from edgerec.recommenders.scans import gru_scan, gru_step, linear_newest, linear_scan, linear_scan_unrolled, linear_step
from edgerec.training import losses

RNG = np.random.default_rng(0)


def normal(*shape: int) -> tf.Tensor:
    return tf.constant(RNG.normal(size=shape).astype(np.float32))


def gradients(function, *arguments: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return value, [tf.convert_to_tensor(g) for g in tape.gradient(value, arguments)]


@pytest.mark.parametrize("positions", [1, 255, 256, 700])
def test_cross_entropy_by_chunks_is_the_usual_one(positions: int) -> None:
    hidden, table = normal(positions, 8), normal(50, 8) * 3
    targets = tf.constant(RNG.integers(1, 50, positions), tf.int32)

    def usual(hidden: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(hidden, table, transpose_b=True)
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, scores))

    expected, expected_gradients = gradients(usual, hidden, table)
    ours, our_gradients = gradients(lambda h, t: losses.cross_entropy("float32")(h, t, targets), hidden, table)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    for one, other in zip(our_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    half = losses.cross_entropy("bfloat16")(hidden, table, targets)
    np.testing.assert_allclose(half, expected, rtol=0.02)


def test_cross_entropy_stays_finite_with_scores_beyond_exp() -> None:
    hidden, table = normal(4, 8) * 100, normal(50, 8) * 100
    loss, parts = gradients(
        lambda h, t: losses.cross_entropy("float32")(h, t, tf.constant([1, 2, 3, 4])), hidden, table
    )
    assert all(np.isfinite(values).all() for values in (loss, *parts))


def test_the_sampled_softmax_comes_near_the_full_one_with_many_negatives() -> None:
    hidden, table, targets = normal(300, 8), normal(50, 8), tf.constant(RNG.integers(1, 50, 300), tf.int32)
    # Row 0 is padding, and never drawn.
    masked = tf.concat([tf.fill([300, 1], -1e9), tf.matmul(hidden, table, transpose_b=True)[:, 1:]], 1)
    expected = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, masked))
    tf.random.set_seed(1)
    np.testing.assert_allclose(losses.sampled_softmax(20_000, 49)(hidden, table, targets), expected, rtol=0.02)


def test_the_gated_scan_has_the_gradients_of_its_steps() -> None:
    inputs, kernel, bias, weight = normal(3, 7, 12), normal(4, 12), normal(4), normal(3, 7, 4)

    def by_steps(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        state, states = tf.zeros([3, 4]), []
        for t in range(7):
            state = gru_step(inputs[:, t], state, kernel, bias)
            states.append(state)
        return tf.reduce_sum(tf.stack(states, 1) * weight)

    expected, expected_gradients = gradients(by_steps, inputs, kernel, bias)
    ours, our_gradients = gradients(lambda *a: tf.reduce_sum(gru_scan(*a) * weight), inputs, kernel, bias)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    for one, other in zip(our_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9])
def test_all_linear_scans_are_their_steps(length: int) -> None:
    inputs, weight = normal(3, length, 10), normal(3, length, 10)
    angle = np.linspace(0, 3, 5)
    decay = tf.constant(np.concatenate([0.9 * np.cos(angle), 0.9 * np.sin(angle)]).astype(np.float32))

    def by_steps(inputs: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
        state, states = tf.zeros([3, 10]), []
        for t in range(length):
            state = linear_step(inputs[:, t], state, decay)
            states.append(state)
        return tf.stack(states, 1)

    expected, expected_gradients = gradients(lambda *a: tf.reduce_sum(by_steps(*a) * weight), inputs, decay)
    ours, our_gradients = gradients(lambda *a: tf.reduce_sum(linear_scan(*a) * weight), inputs, decay)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    for one, other in zip(our_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    states = by_steps(inputs, decay)
    np.testing.assert_allclose(linear_scan_unrolled(inputs, decay, 9), states, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(linear_newest(inputs, decay, 9), states[:, -1], rtol=1e-4, atol=1e-5)
