"""``[model]``: the encoder and its widths, tagged by ``encoder``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgerec.recipe.section import Section, default_tag


class TransitionsSection(Section):
    """A sparse item-to-item table that is added to the network's scores."""

    neighbours: int = Field(
        20, ge=0, le=1000, description="entries an item, 3 bytes each (5 from 32,768 items on); 0: no transitions"
    )
    recent: int = Field(20, ge=1, le=1000, description="newest events that are looked up")


class ModelSection(Section):
    """What all encoders share."""

    dim: int = Field(32, ge=4, le=1024, description="width of item vectors")
    blocks: int = Field(1, ge=1, le=12)
    dropout: float = Field(0.15, ge=0, lt=1)
    max_history: int = Field(100, ge=1, le=4096, description="L, events that the model reads")
    item_features: list[str] = Field([], description="columns of the item table that are part of an item's vector")
    user_features: list[str] = Field(
        [], description="columns of the user table that an app may pass: categorical or numeric, all optional"
    )

    transitions: TransitionsSection = TransitionsSection()
    prior: bool = Field(
        True, description="add popularity, long-run or recent, to the scores where validation says that it helps"
    )

    @property
    def feed_forward(self) -> int:
        """Width of the feed-forward layer of each block."""
        return self.dim

    @property
    def mixer(self) -> int:
        """Width of the mixing layer of each block (see ``edgerec.recommenders.architecture.Block``)."""
        return self.dim

    @model_validator(mode="after")
    def _features_fit(self) -> "ModelSection":
        if len(self.user_features) >= self.max_history:
            raise ValueError(f"{len(self.user_features)} user features leave no place in max_history")
        for names in (self.item_features, self.user_features):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"a feature is named twice: {', '.join(twice)}")
        return self


class MeanModel(ModelSection):
    """Mean of the history's item vectors; blind to their order."""

    encoder: Literal["mean"]


class StackModel(ModelSection):
    """Encoders with a feed-forward layer of its own width in each block."""

    expansion: int = Field(2, ge=1, le=16, description="width of the feed-forward layers, in multiples of dim")

    @property
    def feed_forward(self) -> int:
        return self.expansion * self.dim


class CnnModel(StackModel):
    """Causal dilated convolutions."""

    encoder: Literal["cnn"]


class GruModel(StackModel):
    """Gated recurrent units."""

    encoder: Literal["gru"] = "gru"
    hidden: int | None = Field(None, ge=1, le=4096, description="width of the state; default: 3 dim")

    @property
    def mixer(self) -> int:
        return self.hidden or 3 * self.dim


class LruModel(StackModel):
    """Linear recurrent units."""

    encoder: Literal["lru"]
    hidden: int | None = Field(None, ge=1, le=4096, description="complex channels of the state; default: 2 dim")

    @property
    def mixer(self) -> int:
        return self.hidden or 2 * self.dim


class SasrecModel(StackModel):
    """Causal self-attention."""

    encoder: Literal["sasrec"]
    heads: int = Field(1, ge=1, le=16)

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> "SasrecModel":
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


Model = Annotated[
    MeanModel | CnnModel | GruModel | LruModel | SasrecModel,
    Field(discriminator="encoder"),
    default_tag("encoder", "gru"),
]
