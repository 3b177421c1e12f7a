"""The steps from the float model to the file that ships: what each takes away, and what it costs."""

import math
from collections.abc import Sequence
from typing import Any

from device_runner.user_features import rows_of
from edgerec.evaluation.ranking import Evaluation, drop_figures
from edgerec.recommenders import SequenceRecommender

FLOAT_BYTES = 4


def float_bytes(recommender: SequenceRecommender, parts: Sequence[str]) -> dict[str, int]:
    """Bytes of what would ship of a Keras model if its weights stayed float32, by part.

    Item features are folded into the item table, as in a file. Transitions and prior count as they are stored: they
    are integers from the start.

    Args:
        parts: of the score, as ``convert.parts`` names them.
    """
    sizes: dict[str, int] = {}
    own = recommender.parts
    if "network" in parts:
        rows = recommender.items + 1 + rows_of(recommender.user_features)
        layers = (layer for layer in recommender.network.layers if layer is not recommender.item_table)
        weights = sum(math.prod(weight.shape) for layer in layers for weight in layer.weights)
        sizes["item_table"] = FLOAT_BYTES * rows * recommender.architecture.dim
        sizes["network"] = FLOAT_BYTES * weights
    if "transitions" in parts and own.transitions:
        sizes["transitions"] = own.transitions.stored_bytes
    if "prior" in parts and own.prior:
        sizes["prior"] = own.prior.codes.nbytes
    return sizes


def step(name: str, sizes: dict[str, int], evaluation: Evaluation, before: Evaluation | None) -> dict[str, Any]:
    """A step as ``report.json`` has it: its ``bytes`` by part and in ``total``, ``ndcg@10``, and the loss against the
    step before it, user by user (``None`` for the first).
    """
    change = {"ndcg_drop": None, "ndcg_drop_ci": None} if before is None else drop_figures(before, evaluation)
    return {
        "name": name,
        "bytes": {"total": sum(sizes.values()), **sizes},
        "ndcg@10": float(evaluation.ndcg(10).mean()),
        **change,
    }
