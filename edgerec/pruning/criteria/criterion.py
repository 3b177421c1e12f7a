"""What a pruning criterion is. Each has a file of its own in this package, which registers it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from converters.registry import Registry

if TYPE_CHECKING:
    from edgerec.pruning.units import UnitGroup
    from edgerec.training.objective import Objective

# Groups of units, and the objective that the model is trained on (its network, batches and loss, for criteria that look
# at gradients or activations) -> the importance of each group's units, float64 [units], by the group's name. Units of
# the lowest importance are removed first.
Criterion = Callable[[Sequence["UnitGroup"], "Objective"], dict[str, np.ndarray]]

CRITERIA: Registry[Criterion] = Registry("criterion")
# Names of the criteria whose importance can be compared between groups. Their units are ranked together, and as many
# removed as leave the parameters that equal cuts of each group would.
ACROSS_GROUPS: set[str] = set()
