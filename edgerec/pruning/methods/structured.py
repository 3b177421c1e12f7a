"""Structured pruning: the least important units are cut out, so that the dense shapes shrink, and the smaller model is
fine-tuned (Li et al., ICLR 2017).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from edgerec.pruning.criteria import CRITERIA
from edgerec.pruning.criteria.criterion import ACROSS_GROUPS
from edgerec.pruning.dense_units import cut_dense, dense_groups
from edgerec.pruning.methods.method import METHODS, Prunable, Pruning
from edgerec.pruning.surgery import cut
from edgerec.pruning.units import Slice, UnitGroup, unit_groups
from edgerec.rankers import RankingModel
from edgerec.recipe.prune import StructuredPrune
from edgerec.training.objective import Objective


def structured(recommender: Prunable, settings: StructuredPrune, objective: Objective) -> Pruning:
    """The model without ``settings.shares`` of the units of each group, at least one of which is left."""
    shares: dict[str, float] = {str(kind): share for kind, share in settings.shares.items()}
    if isinstance(recommender, RankingModel):
        groups = dense_groups(recommender, list(shares))
    else:
        groups = unit_groups(recommender, list(shares))
    importance = CRITERIA[settings.criterion](groups, objective)
    left = {group.name: max(1, round(group.units * (1 - shares[group.kind]))) for group in groups}
    if settings.criterion in ACROSS_GROUPS:
        left = _left_across(groups, importance, left)
    # Stable, so that of equally important units the first are kept.
    kept = {name: np.sort(np.argsort(-importance[name], kind="stable")[:count]) for name, count in left.items()}
    return _cut(recommender, groups, kept, settings.after == "reinitialise")


def _cut(model: Prunable, groups: Sequence[UnitGroup], kept: Mapping[str, np.ndarray], reinitialise: bool) -> Pruning:
    """The model with the units that are kept, and with their weights or new ones."""
    smaller: Prunable
    if isinstance(model, RankingModel):
        smaller_ranker = cut_dense(model, groups, kept)
        smaller = model.reshaped(smaller_ranker.architecture) if reinitialise else smaller_ranker
    else:
        smaller_recommender = cut(model, groups, kept)
        smaller = model.reshaped(smaller_recommender.architecture) if reinitialise else smaller_recommender
    return Pruning(smaller, smaller.network)


def _left_across(
    groups: Sequence[UnitGroup], importance: Mapping[str, np.ndarray], equal: Mapping[str, int]
) -> dict[str, int]:
    """How many units of each group are left when all are ranked together, with as many parameters as ``equal`` leaves.

    The most important unit of each group stays.
    """
    names = np.concatenate([np.full(group.units - 1, number) for number, group in enumerate(groups)])
    scores = np.concatenate([np.sort(importance[group.name])[:-1] for group in groups])
    removed = names[np.argsort(scores, kind="stable")]
    budget = _parameters(groups, equal)
    left = {group.name: group.units for group in groups}
    for number in removed:
        if _parameters(groups, left) <= budget:
            break
        left[groups[number].name] -= 1
    return left


def _parameters(groups: Sequence[UnitGroup], left: Mapping[str, int]) -> float:
    """Parameters of the weights that the groups have a share in; of blocks, which are not alike, in the mean."""
    weights: dict[object, list[tuple[UnitGroup, Slice]]] = {}
    for group in groups:
        for part in group.slices:
            weights.setdefault((part.layer, part.place), []).append((group, part))
    total = 0.0
    for shares in weights.values():
        size = float(np.prod(shares[0][1].variable.shape))
        for group, _ in shares:
            size *= left[group.name] / group.units
        total += size
    return total


METHODS.register("structured", structured)
