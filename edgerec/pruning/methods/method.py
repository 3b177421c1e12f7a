"""What a pruning method is. Each has a file of its own in this package, which registers it, and a section of its own
in ``edgerec/recipe/prune.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tf_keras as keras

from converters.registry import Registry
from edgerec.rankers import RankingModel
from edgerec.recommenders import SequenceRecommender
from edgerec.training.hooks import Hook
from edgerec.training.objective import Objective

# What can be pruned.
Prunable = SequenceRecommender | RankingModel


@dataclass(frozen=True)
class Pruning:
    """The result of a pruning method: what to fine-tune.

    Attributes:
        recommender: the pruned model, of the kind of the trained one, which is kept.
        network: the graph to fine-tune: the recommender's own, or one with masks over the same layers.
        hooks: what the method does while fine-tuning.
        averaged: whether an average of the fine-tuned weights is kept, as in training.
    """

    recommender: Any
    network: keras.Model
    hooks: Sequence[Hook] = ()
    averaged: bool = True


# The trained recommender, the recipe's section, and the objective that it was trained on -> what to fine-tune.
Method = Callable[[Any, Any, Objective], Pruning]

METHODS: Registry[Method] = Registry("pruning method")
