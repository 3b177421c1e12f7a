"""``[prune]``: how the trained model is made sparse or smaller, tagged by ``method``."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edgerec.pruning.criteria import CRITERIA
from edgerec.recipe.section import Section, default_tag

Kind = Literal["dims", "state", "feed_forward", "heads", "blocks"]


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


class StructuredPrune(PruneSection):
    """Whole units removed, so that the shapes shrink; fine-tuning follows."""

    method: Literal["structured"]
    shares: dict[Kind, Annotated[float, Field(ge=0, lt=1)]] = Field(
        {"feed_forward": 0.25},
        min_length=1,
        description="share of the units that is removed, by their kind: dims of item vectors and residual stream, "
        "state of a recurrent encoder, feed_forward layers, attention heads, whole blocks",
    )
    criterion: Annotated[str, AfterValidator(CRITERIA.check)] = Field(
        "magnitude", description="how the importance of a unit is measured; the least important are removed"
    )


Prune = Annotated[MagnitudePrune | StructuredPrune, Field(discriminator="method"), default_tag("method", "magnitude")]
