"""The recipe: one TOML file, every field with a default. One section a file; what depends on a kind or method is
tagged by it.
"""

from edgerec.recipe.compress import Cluster, RankingQuantize
from edgerec.recipe.data import Columns, Data, FeatureTable, mask_url
from edgerec.recipe.distill import Distill
from edgerec.recipe.load import check_recipe, dump_recipe, load_recipe, read_document
from edgerec.recipe.model import Model
from edgerec.recipe.prune import Prune
from edgerec.recipe.quantize import Quantize
from edgerec.recipe.ranker import Ranker
from edgerec.recipe.ranking_recipe import RankingRecipe
from edgerec.recipe.ranking_train import RankingTrain
from edgerec.recipe.recipe import Recipe
from edgerec.recipe.split import Split
from edgerec.recipe.task import Task
from edgerec.recipe.train import Train

__all__ = [
    "Cluster",
    "Columns",
    "Data",
    "Distill",
    "FeatureTable",
    "Model",
    "Prune",
    "Quantize",
    "Ranker",
    "RankingQuantize",
    "RankingRecipe",
    "RankingTrain",
    "Recipe",
    "Split",
    "Task",
    "Train",
    "check_recipe",
    "dump_recipe",
    "load_recipe",
    "mask_url",
    "read_document",
]
