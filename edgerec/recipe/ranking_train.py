"""``[train]`` of a ranking recipe."""

from typing import Literal

from pydantic import Field

from edgerec.recipe.section import Section


class RankingTrain(Section):
    """How a ranking model is fitted."""

    seed: int = Field(1, ge=0, lt=2**32)
    epochs: int | None = Field(
        None, ge=1, description="at most; default: enough for 1,500 steps of the optimizer, but no less than 14"
    )
    patience: int | None = Field(
        None, ge=1, description="epochs without a better validation figure; default: a third of the epochs"
    )
    batch: int = Field(256, ge=1, description="interactions in a step; the negatives of each come on top")
    sample: int | None = Field(
        None, ge=1, description="random interactions of each epoch, others in each; default: all of them"
    )
    learning_rate: float = Field(
        2e-3, gt=0, description="peak; reached in 200 steps, and falls linearly to zero at the end"
    )
    steady: float = Field(0.5, ge=0, le=1, description="share of the epochs before the learning rate falls")
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the moving average of the weights that is kept; 0: no averaging"
    )
    l2: float = Field(1e-3, ge=0, description="weight of the squared vectors of what a row reads, added to the loss")
    refit: bool = Field(
        False, description="fit once more on training and validation rows together, for as many epochs as were best"
    )
    max_minutes: float | None = Field(None, gt=0, description="time limit of training, without pruning")
    strategy: Literal["single"] = Field("single", description="ranking models are trained by one process")
