"""What the loss would lose with a unit, to the first order (Molchanov et al., CVPR 2019: gates after the units)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgerec.pruning.criteria.criterion import CRITERIA
from edgerec.pruning.criteria.gates import Gates

if TYPE_CHECKING:
    from edgerec.pruning.units import UnitGroup
    from edgerec.training.objective import Objective

BATCHES = 50


def taylor(groups: Sequence["UnitGroup"], objective: "Objective") -> dict[str, np.ndarray]:
    """Mean over training batches of (sum of gradient times weight)², float64 [units], by group.

    The sum is over the weights that read the unit, so that it is the change of the loss without the unit, which those
    that write it would only count once more.
    """
    open_gates = {group.name: np.ones(group.units) for group in groups}
    importance = {group.name: np.zeros(group.units) for group in groups}
    for gradients in Gates(groups, objective).gradients(BATCHES, open_gates):
        for name, gradient in gradients.items():
            importance[name] += gradient**2 / BATCHES
    return importance


CRITERIA.register("taylor", taylor)
