"""``[convert]`` of a ranking recipe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from converters.schemes import SCHEMES
from edgerec.recipe.section import Section


class RankingConvert(Section):
    """What is exported."""

    schemes: list[Annotated[str, AfterValidator(SCHEMES.check)]] = Field(
        ["float32", "float16", "int8"], min_length=1, description="one file each; the last one is the file that ships"
    )
    candidates: int = Field(100, ge=1, le=10_000, description="C, candidates that the graph scores at a time")
    titles: bool = Field(True, description="whether the files hold the items' titles")
    bits: dict[str, Literal[2, 4, 8]] = Field(
        {}, description="bits by layer name, in place of those of an integer scheme"
    )

    @model_validator(mode="after")
    def _each_once(self) -> "RankingConvert":
        if len(set(self.schemes)) != len(self.schemes):
            raise ValueError("schemes must name each only once")
        return self
