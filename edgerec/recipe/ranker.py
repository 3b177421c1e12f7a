"""``[model]`` of a ranking recipe: what the network reads and how it combines that, tagged by ``ranker``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgerec.recipe.section import Section, default_tag, refuse_idle

Context = Literal["hour", "weekday", "month", "recency"]


class RankerSection(Section):
    """What all rankers share."""

    dim: int = Field(8, ge=1, le=512, description="width of the vectors of items, categories and numbers")
    hidden: list[Annotated[int, Field(ge=1, le=8192)]] = Field(
        [32, 16], description="widths of the dense layers before the last, which has one unit"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="behind each of the dense layers while training")
    item_ids: bool = Field(True, description="whether each item has a vector of its own beside its features")
    item_features: list[str] = Field([], description="columns of the item table that are read")
    user_features: list[str] = Field([], description="columns of the user table that an app passes, all optional")
    context: list[Context] | None = Field(
        None,
        description="of the moment: hour, weekday and month of the interaction's time, recency: days since the last "
        "event of an earlier time; default: hour and weekday where the table has times",
    )
    buckets: dict[str, Annotated[int, Field(ge=2, le=64)]] = Field(
        {}, description="numeric features that are cut into so many ranges, each with a vector: { age = 8 }"
    )
    crosses: list[tuple[str, str]] = Field(
        [], description='pairs of categorical features with a vector for each pair of values: [["gender", "genres"]]'
    )
    history: Literal["none", "summary", "mean", "attention"] = Field(
        "mean",
        description="what is read of the user's earlier interactions: summary: their number and mean value; mean: also "
        "the mean of their items' vectors, weighted by value; attention: also weighted by likeness to the candidate",
    )
    retrieval: str | None = Field(
        None,
        description="file of a retrieval bundle of the same split; its score is added to the ranker's, which puts in "
        "order what it finds",
    )
    max_history: int = Field(200, ge=1, le=4096, description="L, the newest interactions that are read")

    def moments(self, timed: bool) -> list[Context]:
        """``context``, or its default for a data set with or without times."""
        if self.context is not None:
            return self.context
        return ["hour", "weekday"] if timed else []

    @model_validator(mode="after")
    def _each_once(self) -> "RankerSection":
        for name in ("item_features", "user_features", "context"):
            listed = getattr(self, name) or []
            if twice := sorted({one for one in listed if listed.count(one) > 1}):
                raise ValueError(f"{name} names twice: {', '.join(twice)}")
        if self.history == "none":
            refuse_idle(self, ["max_history"], 'with history = "none"')
        known = {*self.item_features, *self.user_features, *self.moments(timed=True)}
        for key, names in (("buckets", set(self.buckets)), ("crosses", {one for pair in self.crosses for one in pair})):
            if strange := sorted(names - known):
                raise ValueError(f"{key}: {', '.join(strange)} is not among item_features, user_features and context")
        if not (self.item_ids or self.item_features):
            raise ValueError("without item_ids, the model needs item_features: all candidates would have one score")
        return self


class MlpRanker(RankerSection):
    """Dense layers over everything that is read: by default 32, 16 and 1 units."""

    ranker: Literal["mlp"] = "mlp"


class DeepFmRanker(RankerSection):
    """A factorization machine beside the dense layers (Guo et al., IJCAI 2017)."""

    ranker: Literal["deepfm"]


class DcnRanker(RankerSection):
    """A cross network beside the dense layers (DCN v2, Wang et al., WWW 2021)."""

    ranker: Literal["dcn"]
    cross_layers: int = Field(2, ge=1, le=8)


Ranker = Annotated[MlpRanker | DeepFmRanker | DcnRanker, Field(discriminator="ranker"), default_tag("ranker", "mlp")]
