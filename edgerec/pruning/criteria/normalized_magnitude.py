"""Layer-adaptive magnitude (LAMP, Lee et al., ICLR 2021), of units instead of single weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgerec.pruning.criteria.criterion import ACROSS_GROUPS, CRITERIA
from edgerec.pruning.criteria.magnitude import magnitude

if TYPE_CHECKING:
    from edgerec.pruning.units import UnitGroup
    from edgerec.training.objective import Objective


def normalized_magnitude(groups: Sequence["UnitGroup"], objective: "Objective") -> dict[str, np.ndarray]:
    """A unit's squared norm over the sum of those of its group that are not smaller, float64 [units], by group.

    It is 1 for the largest unit of every group, so groups can be compared: each gets a share of its own.
    """
    return {name: _normalized(norms**2) for name, norms in magnitude(groups, objective).items()}


def _normalized(squares: np.ndarray) -> np.ndarray:
    order = np.argsort(-squares, kind="stable")
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(np.cumsum(squares[order]), np.finfo(float).tiny)
    return scores


CRITERIA.register("normalized-magnitude", normalized_magnitude)
ACROSS_GROUPS.add("normalized-magnitude")
