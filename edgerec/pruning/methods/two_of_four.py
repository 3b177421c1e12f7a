"""2:4 pruning: two zeros in every four inputs of a unit (Mishra et al. 2021). No TFLite kernel skips them; the
compressed file is smaller.
"""

from edgerec.pruning.masks import masked
from edgerec.pruning.methods.method import METHODS, Pruning
from edgerec.rankers import RankingModel
from edgerec.recipe.prune import TwoOfFourPrune
from edgerec.recommenders import SequenceRecommender
from edgerec.training.objective import Objective


def two_of_four(
    recommender: SequenceRecommender | RankingModel, settings: TwoOfFourPrune, objective: Objective
) -> Pruning:
    """The smaller two of every four inputs become zero while fine-tuning."""
    return masked(recommender, settings, objective, 0.5, sparsity_m_by_n=(2, 4))


METHODS.register("2:4", two_of_four)
