"""The recurrences of the recurrent encoders: over a whole history, for its last state only, and for one step.

The training scans have gradients written by hand: the gradient that TensorFlow derives for a loop keeps every
intermediate of every step, and is several times slower on CPU. Vectors are float32, batch first; every scan begins with
a state of zeros.
"""

import tensorflow as tf


def gru_step(projected: tf.Tensor, state: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """One step of a gated recurrent unit (Cho et al. 2014; the reset gate after the product, as in cuDNN).

    Args:
        projected: input part of update gate, reset gate and candidate, [B, 3 H].
        state: [B, H].
        kernel: of the state, [H, 3 H].
        bias: of the state's part of the candidate, [H].
    """
    units = state.shape[-1]
    of_state = tf.matmul(state, kernel)
    update = tf.sigmoid(projected[:, :units] + of_state[:, :units])
    reset = tf.sigmoid(projected[:, units : 2 * units] + of_state[:, units : 2 * units])
    candidate = tf.tanh(projected[:, 2 * units :] + reset * (of_state[:, 2 * units :] + bias))
    return candidate + update * (state - candidate)


def gru_scan(projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The state after every event: [B, T, 3 H] -> [B, T, H]."""
    units = kernel.shape[0]

    @tf.custom_gradient
    def scan(projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, object]:
        steps = tf.shape(projected)[0]
        inputs = tf.TensorArray(tf.float32, steps).unstack(projected)

        def forward(t: tf.Tensor, state: tf.Tensor, *kept: tf.TensorArray) -> tuple[object, ...]:
            of_state, x = tf.matmul(state, kernel), inputs.read(t)
            gates = tf.sigmoid(x[:, : 2 * units] + of_state[:, : 2 * units])
            inner = of_state[:, 2 * units :] + bias
            candidate = tf.tanh(x[:, 2 * units :] + gates[:, units:] * inner)
            state = candidate + gates[:, :units] * (state - candidate)
            written = zip(kept, (state, gates, candidate, inner), strict=True)
            return t + 1, state, *(array.write(t, value) for array, value in written)

        # The batch is known in the serving graph, whose converter needs whole shapes.
        arrays = [
            tf.TensorArray(tf.float32, steps, element_shape=[projected.shape[1], n * units]) for n in (1, 2, 1, 1)
        ]
        zero = tf.zeros_like(projected[0, :, :units])
        looped = tf.while_loop(lambda t, *_: t < steps, forward, [0, zero, *arrays], parallel_iterations=1)
        states, gates, candidates, inners = (array.stack() for array in looped[2:])

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            before = tf.concat([tf.zeros_like(states[:1]), states[:-1]], 0)
            update, reset = gates[..., :units], gates[..., units:]
            # All but the recurrence itself is computed for all steps at once.
            to_update = (before - candidates) * update * (1 - update)
            to_candidate = (1 - update) * (1 - candidates * candidates)
            to_reset = inners * reset * (1 - reset)
            given = [
                tf.TensorArray(tf.float32, steps).unstack(values)
                for values in (upstream, update, reset, to_update, to_candidate, to_reset)
            ]
            back = tf.transpose(kernel)

            def backward(
                t: tf.Tensor, d_state: tf.Tensor, d_inner: tf.TensorArray, d_input: tf.TensorArray
            ) -> tuple[object, ...]:
                coming, update, reset, to_update, to_candidate, to_reset = (array.read(t) for array in given)
                d_state = d_state + coming
                d_candidate = d_state * to_candidate
                parts = tf.concat([d_state * to_update, d_candidate * to_reset, d_candidate * reset], 1)
                d_state = d_state * update + tf.matmul(parts, back)
                return t - 1, d_state, d_inner.write(t, parts), d_input.write(t, d_candidate)

            looped = tf.while_loop(
                lambda t, *_: t >= 0,
                backward,
                [
                    steps - 1,
                    tf.zeros_like(upstream[0]),
                    tf.TensorArray(tf.float32, steps, element_shape=[None, 3 * units]),
                    tf.TensorArray(tf.float32, steps, element_shape=[None, units]),
                ],
                parallel_iterations=1,
            )
            parts, d_candidate = looped[2].stack(), looped[3].stack()
            d_kernel = tf.matmul(tf.reshape(before, [-1, units]), tf.reshape(parts, [-1, 3 * units]), transpose_a=True)
            d_projected = tf.concat([parts[..., : 2 * units], d_candidate], -1)
            return d_projected, d_kernel, tf.reduce_sum(parts[..., 2 * units :], [0, 1])

        return states, gradient

    states = scan(tf.transpose(projected, [1, 0, 2]), tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))
    return tf.transpose(states, [1, 0, 2])


def gru_newest(projected: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The state after the newest event only: [B, T, 3 H] -> [B, H]; a loop over the events from ``start`` on."""
    by_time = tf.transpose(projected, [1, 0, 2])

    def step(t: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return t + 1, gru_step(tf.gather(by_time, t), state, kernel, bias)

    zero = tf.zeros_like(projected[:, 0, : kernel.shape[0]])
    return tf.while_loop(lambda t, _: t < tf.shape(by_time)[0], step, [start, zero])[1]


def linear_step(projected: tf.Tensor, state: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
    """``state * decay + projected`` with complex channels: [B, 2 C], [B, 2 C], [2 C] (real parts, then imaginary)."""
    return projected + _product(state, decay)


def linear_scan(projected: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
    """The state after every event: [B, T, 2 C], [2 C] -> [B, T, 2 C]."""
    channels = decay.shape[0] // 2

    @tf.custom_gradient
    def scan(inputs: tf.Tensor, decay: tf.Tensor) -> tuple[tf.Tensor, object]:
        states = _complex_scan(inputs, decay, reverse=False)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            d_inputs = _complex_scan(upstream, tf.math.conj(decay), reverse=True)
            before = tf.concat([tf.zeros_like(states[:1]), states[:-1]], 0)
            return d_inputs, tf.reduce_sum(d_inputs * tf.math.conj(before), [0, 1])

        return states, gradient

    inputs = tf.transpose(tf.complex(projected[..., :channels], projected[..., channels:]), [1, 0, 2])
    states = tf.transpose(scan(inputs, tf.complex(decay[:channels], decay[channels:])), [1, 0, 2])
    return tf.concat([tf.math.real(states), tf.math.imag(states)], -1)


def _complex_scan(inputs: tf.Tensor, decay: tf.Tensor, reverse: bool) -> tf.Tensor:
    steps = tf.shape(inputs)[0]
    first, stride = (steps - 1, -1) if reverse else (tf.constant(0), 1)
    given = tf.TensorArray(tf.complex64, steps).unstack(inputs)

    def step(t: tf.Tensor, state: tf.Tensor, states: tf.TensorArray) -> tuple[object, ...]:
        state = state * decay + given.read(t)
        return t + stride, state, states.write(t, state)

    array = tf.TensorArray(tf.complex64, steps, element_shape=[None, inputs.shape[-1]])
    looped = tf.while_loop(
        lambda t, *_: tf.logical_and(t >= 0, t < steps),
        step,
        [first, tf.zeros_like(inputs[0]), array],
        parallel_iterations=1,
    )
    return looped[2].stack()


def linear_scan_unrolled(projected: tf.Tensor, decay: tf.Tensor, length: int) -> tf.Tensor:
    """Like :func:`linear_scan`, in log2(T) rounds of real arithmetic (Hillis & Steele 1986), for the serving graph.

    Args:
        length: T, at most.
    """
    shift = 1
    while shift < length:
        earlier = tf.pad(projected, [[0, 0], [shift, 0], [0, 0]])[:, : tf.shape(projected)[1]]
        projected = projected + _product(earlier, decay)
        decay = _product(decay, decay)
        shift *= 2
    return projected


def linear_newest(projected: tf.Tensor, decay: tf.Tensor, length: int) -> tf.Tensor:
    """The state after the newest event only, [B, T, 2 C] -> [B, 2 C], by joining pairs of neighbours log2(T) times.

    Args:
        length: T, at most.
    """
    rounds = max(0, length - 1).bit_length()
    missing = 2**rounds - tf.shape(projected)[1]
    joined = tf.pad(projected, [[0, 0], [missing, 0], [0, 0]])
    for number in range(rounds):
        pairs = tf.reshape(joined, [-1, 2 ** (rounds - number - 1), 2, projected.shape[-1]])
        joined = pairs[:, :, 1] + _product(pairs[:, :, 0], decay)
        decay = _product(decay, decay)
    return joined[:, 0]


def _product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Product of complex channels, stored as real parts and then imaginary parts: [..., 2 C] x [2 C] -> [..., 2 C]."""
    channels = right.shape[-1] // 2
    (a, b), (c, d) = ((x[..., :channels], x[..., channels:]) for x in (left, right))
    return tf.concat([a * c - b * d, a * d + b * c], -1)
