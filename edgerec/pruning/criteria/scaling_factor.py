"""Learned factors (network slimming, Liu et al., ICCV 2017): a gate on each unit, drawn to zero by an L1 penalty."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgerec.pruning.criteria.criterion import CRITERIA
from edgerec.pruning.criteria.gates import Gates

if TYPE_CHECKING:
    from edgerec.pruning.units import UnitGroup
    from edgerec.training.objective import Objective

BATCHES = 100
PENALTY = 1e-3
RATE = 0.01
# Of Adam (Kingma & Ba, ICLR 2015).
MEAN, SQUARE, SMALL = 0.9, 0.999, 1e-8


def scaling_factor(groups: Sequence["UnitGroup"], objective: "Objective") -> dict[str, np.ndarray]:
    """Size of the learned gate of each unit, float64 [units], by group.

    Gates are trained by Adam on the objective plus ``PENALTY`` times their absolute values, from 1. Unlike in the
    paper, the weights of the trained model stand still meanwhile, and the gates are dropped before the cut.
    """
    gates = {group.name: np.ones(group.units) for group in groups}
    means = {name: np.zeros_like(gate) for name, gate in gates.items()}
    squares = {name: np.zeros_like(gate) for name, gate in gates.items()}
    for step, gradients in enumerate(Gates(groups, objective).gradients(BATCHES, gates), 1):
        for name, gate in gates.items():
            gradient = gradients[name] + PENALTY * np.sign(gate)
            means[name] = MEAN * means[name] + (1 - MEAN) * gradient
            squares[name] = SQUARE * squares[name] + (1 - SQUARE) * gradient**2
            root = np.sqrt(squares[name] / (1 - SQUARE**step)) + SMALL
            gate -= RATE * means[name] / (1 - MEAN**step) / root
    return {name: np.abs(gate) for name, gate in gates.items()}


CRITERIA.register("scaling-factor", scaling_factor)
