"""Chance: the floor that every other criterion has to beat."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgerec.pruning.criteria.criterion import CRITERIA

if TYPE_CHECKING:
    from edgerec.pruning.units import UnitGroup
    from edgerec.training.objective import Objective


def random(groups: Sequence["UnitGroup"], objective: "Objective") -> dict[str, np.ndarray]:
    """Uniform random numbers, float64 [units], by group; the same in every run."""
    rng = np.random.default_rng(0)
    return {group.name: rng.random(group.units) for group in groups}


CRITERIA.register("random", random)
