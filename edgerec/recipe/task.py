"""``[task]``: what a ranking model predicts, tagged by ``kind``."""

from typing import Annotated, Literal

from pydantic import Field

from edgerec.recipe.section import Section, default_tag

# How many items are retrieved, from which hard negatives are drawn and which are put in order.
CANDIDATES = 100


class RatingTask(Section):
    """The number in ``data.columns.value``, such as a rating: regression by mean squared error."""

    kind: Literal["rating"] = "rating"


class BinaryTask(Section):
    """Whether the number in ``data.columns.value`` is high enough, such as a click: binary cross-entropy."""

    kind: Literal["binary"]
    positive_from: float = Field(1.0, description="values from this on are positive, the others negative")


class ImplicitTask(Section):
    """Whether an interaction happens at all, such as a purchase: each interaction is positive, and items that the user
    had no interaction with are drawn as negatives. Binary cross-entropy.
    """

    kind: Literal["implicit"]
    negatives: int = Field(4, ge=1, le=100, description="negatives drawn for each interaction in training")
    hard_negatives: int | None = Field(
        None,
        ge=0,
        le=CANDIDATES // 2,  # the user's own items may be among them, too
        description=f"with model.retrieval: negatives among the {CANDIDATES} items that it ranks highest, for each "
        f"interaction with one of them, in all parts; default: twice as many as negatives, at most {CANDIDATES // 2}",
    )
    test_negatives: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="the same in validation and test; default: as in training, since calibration means little with "
        "other shares of positive rows",
    )
    popularity: float = Field(
        0.75, ge=0, le=1, description="items are drawn by their training interactions to this power; 0: all alike"
    )

    @property
    def hard(self) -> int:
        """Hard negatives of each interaction, beside a retrieval model."""
        return min(2 * self.negatives, CANDIDATES // 2) if self.hard_negatives is None else self.hard_negatives


Task = Annotated[RatingTask | BinaryTask | ImplicitTask, Field(discriminator="kind"), default_tag("kind", "rating")]
