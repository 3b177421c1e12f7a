"""Structured pruning: the least important units are cut out, so that the dense shapes shrink, and the smaller model is
fine-tuned (Li et al., ICLR 2017).
"""

import numpy as np

from edgerec.pruning.criteria import CRITERIA
from edgerec.pruning.methods.method import METHODS, Pruning
from edgerec.pruning.surgery import cut
from edgerec.pruning.units import unit_groups
from edgerec.recipe.prune import StructuredPrune
from edgerec.recommenders import SequenceRecommender
from edgerec.training.objective import Objective


def structured(recommender: SequenceRecommender, settings: StructuredPrune, objective: Objective) -> Pruning:
    """The recommender without ``settings.share`` of the units of each group, at least one of which is left."""
    groups = unit_groups(recommender, settings.units)
    importance = CRITERIA[settings.criterion](groups, objective)
    kept = {}
    for group in groups:
        left = max(1, round(group.units * (1 - settings.share)))
        # Stable, so that of equally important units the first are kept.
        kept[group.name] = np.sort(np.argsort(-importance[group.name], kind="stable")[:left])
    smaller = cut(recommender, groups, kept)
    return Pruning(smaller, smaller.network)


METHODS.register("structured", structured)
