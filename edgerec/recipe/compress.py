"""``[cluster]`` and ``[quantize]`` of a ranking recipe: fine-tuning for smaller files."""

from typing import Literal

from pydantic import Field, model_validator

from edgerec.recipe.section import Section, refuse_idle


class Cluster(Section):
    """Weight clustering: the kernels of the dense layers come to have few different values, so that the compressed file
    is smaller. What was pruned stays zero.
    """

    clusters: int | None = Field(
        None, ge=2, le=256, description="different values of each kernel at most; default: no clustering"
    )
    epochs: int = Field(4, ge=1, description="fine-tuning epochs")
    learning_rate: float = Field(3e-4, gt=0, description="peak of the fine-tuning")

    @model_validator(mode="after")
    def _has_a_number(self) -> "Cluster":
        if self.clusters is None:
            refuse_idle(self, ["epochs", "learning_rate"], "without cluster.clusters")
        return self


class RankingQuantize(Section):
    """Quantization-aware training of the dense layers. What was pruned stays zero, and clusters stay."""

    scheme: Literal["int8-full"] | None = Field(
        None,
        description="whose rounding is trained for; files by int8 have the same weights. Default: no such fine-tuning",
    )
    epochs: int = Field(4, ge=1, description="fine-tuning epochs")
    learning_rate: float = Field(3e-4, gt=0, description="peak of the fine-tuning")

    @model_validator(mode="after")
    def _has_a_scheme(self) -> "RankingQuantize":
        if self.scheme is None:
            refuse_idle(self, ["epochs", "learning_rate"], "without quantize.scheme")
        return self
