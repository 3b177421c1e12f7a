"""Magnitude pruning: zeros anywhere, which make the compressed file smaller and nothing else."""

from edgerec.pruning.masks import masked
from edgerec.pruning.methods.method import METHODS, Pruning
from edgerec.rankers import RankingModel
from edgerec.recipe.prune import MagnitudePrune
from edgerec.recommenders import SequenceRecommender
from edgerec.training.objective import Objective


def magnitude(
    recommender: SequenceRecommender | RankingModel, settings: MagnitudePrune, objective: Objective
) -> Pruning:
    """The smallest weights become zero while fine-tuning."""
    return masked(recommender, settings, objective, settings.sparsity, settings.target)


METHODS.register("magnitude", magnitude)
