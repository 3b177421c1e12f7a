"""``[convert]``: what is exported."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from converters.schemes import SCHEMES
from edgerec.recipe.section import Section


class Convert(Section):
    """What is exported."""

    schemes: list[Annotated[str, AfterValidator(SCHEMES.check)]] = Field(
        ["float32", "float16", "int8"], description="one file each; the last one is the file that ships"
    )
    top_k: int = Field(50, ge=1, description="K, items returned by the graph")
    max_exclude: int | None = Field(None, ge=1, description="E, exclusions in the graph; default: 4 max_history")
    new_items: str | None = Field(
        None,
        description="table in the form of [data] items: items that came after training get a vector by their "
        "model.item_features, and rows behind the others",
    )

    @model_validator(mode="after")
    def _schemes_once(self) -> "Convert":
        if not self.schemes or len(set(self.schemes)) != len(self.schemes):
            raise ValueError("schemes must name at least one scheme, each once")
        return self
