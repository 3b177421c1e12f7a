"""``[distill]``: which teacher the network learns from beside the events themselves."""

from pydantic import Field, model_validator

from edgerec.recipe.section import Section, refuse_idle

# In place of a folder: the model that the run itself trains.
OWN = "trained"


class Distill(Section):
    """Knowledge distillation (Hinton et al. 2015): the target of each event is a mixture of the event itself and the
    teacher's distribution over the catalogue.
    """

    teacher: str | None = Field(
        None,
        description='folder of a trained model or ensemble of the same data set; or "trained", the model of this run, '
        "for the fine-tuning after it. Default: no distillation",
    )
    parts: bool = Field(
        False,
        description="whether the transitions and the prior of the teacher teach as well, not its network alone. "
        "Transitions were counted on the very events that they then predict, so they mislead where items are rare",
    )
    weight: float = Field(0.7, gt=0, le=1, description="share of the teacher's distribution in the targets")
    temperature: float = Field(1.0, gt=0, description="of the teacher's distribution; above 1 it is softer")
    candidates: int = Field(
        64, ge=1, le=1000, description="likeliest items of the teacher that are kept for each event"
    )

    @model_validator(mode="after")
    def _has_a_teacher(self) -> "Distill":
        if self.teacher is None:
            refuse_idle(self, ["parts", "weight", "temperature", "candidates"], "without distill.teacher")
        return self
