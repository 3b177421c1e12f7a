"""``[quantize]``: fine-tuning for the quantization to come."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from converters.schemes import SCHEMES
from edgerec.recipe.section import Section, refuse_idle


def _with_storage(name: str) -> str:
    SCHEMES.check(name)
    if SCHEMES[name].storage is None:
        known = ", ".join(name for name, scheme in SCHEMES.items() if scheme.storage)
        raise ValueError(f"training cannot be aware of the scheme {name!r}; of these it can: {known}")
    return name


class Quantize(Section):
    """Incremental quantization: step by step, the weights become those that the file will have, and the others make up
    for the error.
    """

    scheme: Annotated[str, AfterValidator(_with_storage)] | None = Field(
        None, description="whose weights are trained for; default: no such fine-tuning"
    )
    epochs: int = Field(7, ge=6, description="fine-tuning epochs; in all but the first 5 no weight is left to round")
    learning_rate: float = Field(7e-4, gt=0, description="peak of the fine-tuning")

    @model_validator(mode="after")
    def _has_a_scheme(self) -> "Quantize":
        if self.scheme is None:
            refuse_idle(self, ["epochs", "learning_rate"], "without quantize.scheme")
        return self
