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


Split = Annotated[
    LeaveOneOut | LastBasket | Temporal, Field(discriminator="kind"), default_tag("kind", "leave-one-out")
]
