"""Training hooks: averages of the weights, pruning masks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf


class Hook:
    """Takes part in a fit. The methods do nothing unless a subclass says otherwise."""

    def variables(self) -> list[tf.Variable]:
        """What a checkpoint has to keep."""
        return []

    def after_step(self, step: tf.Tensor) -> None:
        """Called in the graph after each of the optimizer's steps; ``step`` counts them from 1."""

    def after_epoch(self) -> None:
        """Called after the last step of each epoch, before validation."""

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Inside, the model has the weights that would be kept: those that are validated and saved."""
        yield

    def counts(self, epoch: int) -> bool:
        """Whether the weights after this epoch may be kept."""
        return True


class AverageWeights(Hook):
    """A moving average of the weights is validated and kept in place of the weights themselves.

    Args:
        weights: of the model.
        decay: of the average, once it has run for a while; it is smaller at first, so that the starting values are soon
            forgotten.
    """

    def __init__(self, weights: Sequence[tf.Variable], decay: float) -> None:
        self._weights = list(weights)
        self._decay = decay
        self._means = [tf.Variable(weight, trainable=False) for weight in weights]

    def variables(self) -> list[tf.Variable]:
        return self._means

    def after_step(self, step: tf.Tensor) -> None:
        steps = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1 + steps) / (10 + steps))
        for mean, weight in zip(self._means, self._weights, strict=True):
            mean.assign_add((1 - decay) * (weight - mean))

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        trained = [weight.numpy() for weight in self._weights]
        for weight, mean in zip(self._weights, self._means, strict=True):
            weight.assign(mean)
        try:
            yield
        finally:
            for weight, value in zip(self._weights, trained, strict=True):
                weight.assign(value)
