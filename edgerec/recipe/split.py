"""``[split]``: what is trained on, validated on and tested on."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgerec.recipe.section import Section, default_tag


class LeaveOneOut(Section):
    """Each user's last event is the test, the one before it validation."""

    kind: Literal["leave-one-out"] = "leave-one-out"


class LastBasket(Section):
    """All of a user's events at their last time are the test, those at the time before it validation; users with fewer
    than three different times only train.
    """

    kind: Literal["last-basket"]


class Temporal(Section):
    """All events from a time on are the test, and from an earlier time on validation. What is kept of the training
    events (repeats, thresholds) is decided by them alone.
    """

    kind: Literal["temporal"]
    validation: float = Field(0.1, gt=0, lt=1, description="share of interactions, before the test's")
    test: float = Field(0.1, gt=0, lt=1, description="share of interactions, the newest")

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "Temporal":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class RandomRows(Section):
    """Interactions drawn by chance: of a random order of all of them, the test is the part number ``fold`` of its
    share, and validation the first of the others. With ``test = 0.2``, the folds 0 to 4 are those of a 5-fold
    cross-validation.
    """

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0, lt=2**32)
    test: float = Field(0.2, gt=0, lt=1, description="share of the interactions")
    validation: float = Field(0.1, gt=0, lt=1, description="share of the other interactions")
    fold: int = Field(0, ge=0, description="which of the parts of the random order is the test")

    @model_validator(mode="after")
    def _fold_is_there(self) -> "RandomRows":
        if self.fold >= self.folds:
            raise ValueError(f"with test = {self.test:g} there are the folds 0 to {self.folds - 1}, not {self.fold}")
        return self

    @property
    def folds(self) -> int:
        """How many tests of this share there are without a common interaction."""
        return int(1 / self.test + 1e-9)


RankingSplit = Annotated[
    RandomRows | LeaveOneOut | Temporal, Field(discriminator="kind"), default_tag("kind", "random")
]

Split = Annotated[
    LeaveOneOut | LastBasket | Temporal, Field(discriminator="kind"), default_tag("kind", "leave-one-out")
]
