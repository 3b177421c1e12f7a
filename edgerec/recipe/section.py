"""What every section of a recipe shares."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A frozen section: unknown keys, and numbers that are not finite, are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def default_tag(key: str, default: str) -> BeforeValidator:
    """The tag ``key`` of a union of sections is ``default`` where the recipe leaves it out."""

    def fill(value: Any) -> Any:
        return {key: default, **value} if isinstance(value, dict) else value

    return BeforeValidator(fill)


def refuse_idle(section: Section, keys: Iterable[str], because: str) -> None:
    """Reject settings that would have no effect.

    Raises:
        ValueError: the recipe sets one of ``keys`` to something else than its default.
    """
    if idle := [key for key in keys if getattr(section, key) != type(section).model_fields[key].default]:
        raise ValueError(f"{', '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect {because}; remove it")
