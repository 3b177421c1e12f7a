"""Block pruning: zeros in whole blocks of a unit's inputs, which the scheme int8-sparse does not store."""

from edgerec.pruning.masks import masked
from edgerec.pruning.methods.method import METHODS, Pruning
from edgerec.rankers import RankingModel
from edgerec.recipe.prune import BlockPrune
from edgerec.recommenders import SequenceRecommender
from edgerec.training.objective import Objective


def block(recommender: SequenceRecommender | RankingModel, settings: BlockPrune, objective: Objective) -> Pruning:
    """The smallest blocks become zero while fine-tuning."""
    return masked(recommender, settings, objective, settings.sparsity, block_size=(settings.block, 1))


METHODS.register("block", block)
