"""Tile pruning: zeros in whole squares of the kernels of a ranking model, which its files leave out (see
``edgerec.rankers.tiles``).
"""

from edgerec.pruning.masks import masked
from edgerec.pruning.methods.method import METHODS, Pruning
from edgerec.rankers import RankingModel
from edgerec.recipe.prune import TilePrune
from edgerec.training.objective import Objective


def tile(model: RankingModel, settings: TilePrune, objective: Objective) -> Pruning:
    """The smallest tiles become zero while fine-tuning."""
    size = (settings.side, settings.side)
    return masked(model, settings, objective, settings.sparsity, block_size=size)


METHODS.register("tile", tile)
