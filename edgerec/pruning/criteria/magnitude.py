"""The size of a unit's weights (Li et al., ICLR 2017: filters by their norm)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgerec.pruning.criteria.criterion import CRITERIA

if TYPE_CHECKING:
    from edgerec.pruning.units import UnitGroup
    from edgerec.training.objective import Objective


def magnitude(groups: Sequence["UnitGroup"], objective: "Objective") -> dict[str, np.ndarray]:
    """Euclidean norm of all weights that belong to a unit, float64 [units], by group."""
    return {group.name: np.sqrt(group.sums(lambda part: part.variable.numpy() ** 2, group.sized)) for group in groups}


CRITERIA.register("magnitude", magnitude)
