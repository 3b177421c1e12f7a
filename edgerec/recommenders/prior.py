"""The prior: one number an item, added to its score whatever the history."""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Prior:
    """Popularity as a part of the score: ``strength * log(count + 1)``, in 8 bits.

    Attributes:
        codes: uint8 [N + 1]; an item's number is ``step * code``.
        step: of the codes.
        strength: of the logarithm of the counts.
        half_life: days after which an interaction counts half; ``None``: all count alike.
        from_file: whether the counts came from ``convert.prior`` instead of the training interactions.
    """

    codes: np.ndarray
    step: float
    strength: float
    half_life: float | None
    from_file: bool = False

    @classmethod
    def of_counts(
        cls, counts: np.ndarray, strength: float, half_life: float | None, from_file: bool = False
    ) -> "Prior":
        """From counts float [N + 1] by row."""
        values = strength * np.log1p(counts)
        values[0] = 0
        step = float(values.max()) / 255 or 1.0
        return cls(np.round(values / step).astype(np.uint8), step, strength, half_life, from_file)

    def extended(self, rows: int) -> "Prior":
        """The same with new items behind the others, without interactions, so that there are ``rows`` numbers."""
        return replace(self, codes=np.pad(self.codes, (0, rows - len(self.codes))))

    def scores(self, anchor: tf.Tensor) -> tf.Tensor:
        """Scores float32 [1, N + 1].

        Args:
            anchor: any int32 input of the graph without negative values. The codes are looked up at a place that
                depends on it (and is always 0), as the converter would store a constant that is cast in float32.
        """
        place = tf.minimum(tf.reshape(anchor, [-1])[:1], 0)
        return tf.cast(tf.gather(tf.constant(self.codes[None]), place), tf.float32) * self.step
