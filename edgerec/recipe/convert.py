"""``[convert]``: what is exported."""

from typing import Annotated, Literal

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
    parts: list[Literal["network", "transitions", "prior"]] = Field(
        ["network", "transitions", "prior"], description="parts of the score that the files have, if the model has them"
    )
    titles: bool = Field(True, description="whether the files hold the items' titles, often half of their vocabulary")
    attributes: list[str] = Field(
        [],
        description='columns of the item table that the files hold, such as ["category"], so that an app can ask for '
        "at most so many items of a value in a list",
    )
    state: bool = Field(
        True,
        description="signatures by which an app keeps the state of a recurrent model, so that an event costs one step; "
        "about 4 kB",
    )
    prior: str | None = Field(
        None,
        description="CSV file with an item id and a count in each row, such as the sales of the last weeks, whose "
        "logarithm replaces the popularity in the prior",
    )
    new_items: str | None = Field(
        None,
        description="table in the form of [data] items: items that came after training get a vector by their "
        "model.item_features, and rows behind the others",
    )

    bits: dict[str, Literal[2, 4, 8]] = Field(
        {}, description="bits by layer name, such as item_table or recurrence_0, in place of those of an integer scheme"
    )

    @model_validator(mode="after")
    def _each_once(self) -> "Convert":
        for name, listed in (("schemes", self.schemes), ("parts", self.parts)):
            if not listed or len(set(listed)) != len(listed):
                raise ValueError(f"{name} must name at least one of them, each once")
        if len(set(self.attributes)) != len(self.attributes):
            raise ValueError("attributes must name each column once")
        return self
