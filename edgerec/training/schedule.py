"""How long a fit takes and how fast it learns."""

from dataclasses import dataclass
from math import ceil

import tensorflow as tf
import tf_keras as keras

from edgerec.recipe import Cluster, Prune, Quantize, RankingQuantize, RankingTrain, Train

# Steps in which the learning rate rises to its peak.
WARM_UP = 200
# Default epochs: at least EPOCHS, and enough for STEPS steps.
EPOCHS = 14
STEPS = 1500


@dataclass(frozen=True)
class Schedule:
    """When a fit ends and how its learning rate runs.

    Attributes:
        epochs: at most.
        patience: epochs without a better validation figure before the fit stops.
        learning_rate: its peak.
        steady: share of the epochs before the learning rate falls.
        seed: of dropout and sampling.
        max_minutes: of the whole fit. The learning rate then falls within the epochs for which there is time.
    """

    epochs: int
    patience: int
    learning_rate: float
    steady: float
    seed: int
    max_minutes: float | None = None

    @classmethod
    def of_training(cls, train: Train | RankingTrain, steps_per_epoch: int) -> "Schedule":
        """What ``[train]`` asks for."""
        epochs = train.epochs or max(EPOCHS, ceil(STEPS / max(1, steps_per_epoch)))
        patience = train.patience or ceil(epochs / 3)
        return cls(epochs, patience, train.learning_rate, train.steady, train.seed, train.max_minutes)

    @classmethod
    def of_fine_tuning(
        cls, train: Train | RankingTrain, tuning: Prune | Quantize | Cluster | RankingQuantize
    ) -> "Schedule":
        """All epochs of ``tuning``, without a limit of time; the rest as in training."""
        return cls(tuning.epochs, tuning.epochs, tuning.learning_rate, train.steady, train.seed)

    def planned_epochs(self, done: int, seconds: float) -> int:
        """How many epochs fit into the time limit, after ``done`` of them took ``seconds``; at least ``done``."""
        if self.max_minutes is None or done == 0:
            return self.epochs
        fitting = int(60 * self.max_minutes / (seconds / done))
        return max(done, min(self.epochs, fitting))


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear from zero to ``peak`` in ``WARM_UP`` steps, steady, then linear to zero at ``steps``.

    Attributes:
        steps: float32 variable, so that the end can be planned anew.
    """

    def __init__(self, peak: float, steps: int, steady: float) -> None:
        super().__init__()
        self.peak, self.steady = peak, steady
        self.steps = tf.Variable(float(steps), trainable=False)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        done = tf.cast(step, tf.float32)
        falling = (self.steps - done) / tf.maximum(1.0, (1 - self.steady) * self.steps)
        return self.peak * tf.minimum((done + 1) / WARM_UP, tf.clip_by_value(falling, 0.0, 1.0))

    def get_config(self) -> dict[str, float]:
        return {"peak": self.peak, "steps": float(self.steps), "steady": self.steady}
