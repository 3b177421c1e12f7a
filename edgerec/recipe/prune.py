"""``[prune]``: how the trained model is made sparse or smaller, tagged by ``method``."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edgerec.pruning.criteria import CRITERIA
from edgerec.recipe.section import Section, default_tag

Kind = Literal["dims", "state", "feed_forward", "heads", "blocks", "hidden"]


class PruneSection(Section):
    """What all methods share."""

    enabled: bool = True
    epochs: int = Field(4, ge=1, description="fine-tuning epochs")
    learning_rate: float = Field(3e-4, gt=0, description="peak of the fine-tuning")


class MagnitudePrune(PruneSection):
    """Zeros in the kernels: the smallest weights, while fine-tuning. The schedule ends after half of the epochs."""

    method: Literal["magnitude"] = "magnitude"
    sparsity: float = Field(0.5, ge=0, lt=1, description="final share of zeros in the pruned kernels")
    target: Literal["network", "item_table", "all"] = "network"


class BlockPrune(PruneSection):
    """Zeros in whole blocks of the kernels, by magnitude, while fine-tuning; int8-sparse does not store them. Kernels
    whose inputs are not a multiple of a block, and of at least two, are left alone.
    """

    method: Literal["block"]
    sparsity: float = Field(0.5, ge=0, lt=1, description="final share of zeros in the pruned kernels")
    block: Literal[4, 16] = Field(16, description="inputs of a unit that are zero together; int8-sparse needs 16")


class TilePrune(PruneSection):
    """Zeros in whole squares of a ranking model's kernels, by magnitude, while fine-tuning. Its files, of every scheme,
    have and compute only the squares that are left.
    """

    method: Literal["tile"]
    sparsity: float = Field(0.8, ge=0, lt=1, description="final share of zeros in the kernels that have room for tiles")
    side: Literal[32, 64, 128] = Field(64, description="inputs and units of a tile")


class TwoOfFourPrune(PruneSection):
    """Two zeros in every four inputs of a unit, by magnitude, for processors that skip just these."""

    method: Literal["2:4"]


class StructuredPrune(PruneSection):
    """Whole units removed, so that the shapes shrink; fine-tuning follows."""

    method: Literal["structured"]
    shares: dict[Kind, Annotated[float, Field(ge=0, lt=1)]] = Field(
        {"feed_forward": 0.25},
        min_length=1,
        description="share of the units that is removed, by their kind: dims of item vectors and residual stream, "
        "state of a recurrent encoder, feed_forward layers, attention heads, whole blocks; of a "
        "ranking model the hidden units of its dense layers",
    )
    after: Literal["fine-tune", "reinitialise"] = Field(
        "fine-tune", description="what the fine-tuning begins with: the weights that are left, or new ones"
    )
    criterion: Annotated[str, AfterValidator(CRITERIA.check)] = Field(
        "magnitude", description="how the importance of a unit is measured; the least important are removed"
    )


Prune = Annotated[
    MagnitudePrune | BlockPrune | TilePrune | TwoOfFourPrune | StructuredPrune,
    Field(discriminator="method"),
    default_tag("method", "magnitude"),
]
