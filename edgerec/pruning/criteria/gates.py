"""Gates on units: what the loss would do if a unit gave a little less. No criterion itself; several use it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgerec.pruning.units import Slice, UnitGroup
    from edgerec.training.objective import Objective


class Gates:
    """One factor a unit on what it gives, 1.0 at first. The model's weights stay as they are between calls.

    A gate needs no layer of its own: it scales the weights that read the unit, and the gradient of the loss by the gate
    is the sum of gradient times weight over these.
    """

    def __init__(self, groups: Sequence["UnitGroup"], objective: "Objective") -> None:
        import tensorflow as tf  # not before it is needed: recipes import the criteria

        self._groups, self._objective = groups, objective
        self._variables = {part.variable.ref(): part.variable for group in groups for part in group.outputs}
        self._weights = {ref: variable.numpy() for ref, variable in self._variables.items()}
        variables = list(self._variables.values())
        tf.random.set_global_generator(tf.random.Generator.from_seed(0))  # of dropout: the same in every run

        @tf.function(input_signature=objective.signature)
        def gradients(*tensors: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = objective.loss(*tensors)
            return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]

        self._gradients = gradients

    def gradients(self, batches: int, values: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """For each of the first training batches the gradient of its loss by each gate, float64 [units] by group.

        Args:
            values: of the gates, [units] by group; they are read anew for each batch.
        """
        epoch = self._objective.batches(1)
        for number in range(batches):
            self._apply(values)
            try:
                found = self._gradients(*self._objective.tensors(epoch[number % len(epoch)]))
            finally:
                for ref, variable in self._variables.items():
                    variable.assign(self._weights[ref])
            gradients = {ref: gradient.numpy() for ref, gradient in zip(self._variables, found, strict=True)}
            yield {group.name: self._by_gate(group, gradients, values) for group in self._groups}

    def _by_gate(
        self, group: "UnitGroup", gradients: dict[object, np.ndarray], values: dict[str, np.ndarray]
    ) -> np.ndarray:
        def product(part: "Slice") -> np.ndarray:
            ref = part.variable.ref()
            others = [other for other in self._groups if other is not group]
            return np.asarray(gradients[ref] * self._gated(ref, others, values))

        return group.sums(product, group.outputs)

    def _apply(self, values: dict[str, np.ndarray]) -> None:
        for ref, variable in self._variables.items():
            variable.assign(self._gated(ref, self._groups, values))

    def _gated(self, ref: object, groups: Sequence["UnitGroup"], values: dict[str, np.ndarray]) -> np.ndarray:
        """The weight times all gates of the groups that it has."""
        weight = self._weights[ref]
        for group in groups:
            for part in group.outputs:
                if part.variable.ref() == ref and part.axis is not None:
                    weight = weight * group.spread(values[group.name], part)
                elif part.variable.ref() == ref:
                    weight = weight * values[group.name][part.unit]
        return np.asarray(weight, np.float32)
