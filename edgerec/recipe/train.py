"""``[train]``: how the model is fitted."""

from typing import Literal

from pydantic import Field, model_validator

from edgerec.recipe.section import Section, refuse_idle


class Train(Section):
    """How the model is fitted."""

    seed: int = Field(1, ge=0, lt=2**32)
    epochs: int | None = Field(
        None, ge=1, description="at most; default: enough for 1,500 steps of the optimizer, but no less than 14"
    )
    patience: int | None = Field(
        None, ge=1, description="epochs without a better validation NDCG@10; default: a third of the epochs"
    )
    batch: int = Field(32, ge=1)
    learning_rate: float = Field(
        2e-3, gt=0, description="peak; reached in 200 steps, and falls linearly to zero at the end"
    )
    steady: float = Field(0.5, ge=0, le=1, description="share of the epochs before the learning rate falls")
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the moving average of the weights that is kept; 0: no averaging"
    )
    loss: Literal["auto", "cross-entropy", "sampled-softmax"] = Field(
        "auto", description="auto: cross-entropy up to 20,000 items"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the item scores in cross-entropy; auto: bfloat16 where the CPU multiplies it"
    )
    negatives: int = Field(512, ge=1, description="shared negatives of sampled-softmax")
    max_minutes: float | None = Field(
        None, gt=0, description="time limit of training, without pruning; the schedule is shortened to fit"
    )
    strategy: Literal["single", "multiworker"] = Field(
        "single", description="multiworker: each batch is shared by the workers of TF_CONFIG, with the same result"
    )

    @model_validator(mode="after")
    def _settings_go_with_the_loss(self) -> "Train":
        if self.loss == "cross-entropy":
            refuse_idle(self, ["negatives"], 'with loss = "cross-entropy"')
        if self.loss == "sampled-softmax":
            refuse_idle(self, ["precision"], 'with loss = "sampled-softmax"')
        return self
