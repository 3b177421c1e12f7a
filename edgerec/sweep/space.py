"""What a sweep may change in a recipe. A new choice is a line in :func:`choices` and, if its key is not that of the
recipe, one in :func:`settings`.
"""

from collections.abc import Mapping
from typing import Any

from converters.schemes import SCHEMES
from edgerec.recipe import Recipe
from edgerec.recipe.distill import OWN

# One choice for each name.
Drawn = dict[str, Any]
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
SHARE = "prune.shares."
# Of the recipe's neighbours.
NEIGHBOURS = (0, 0.25, 0.5, 1, 2)


def choices(recipe: Recipe) -> dict[str, list[Any]]:
    """The options of each choice, by name; they follow from what the sections of the recipe offer.

    All are lists of few options, so that a trial that comes again need not be measured again.
    """
    model = recipe.model
    found: dict[str, list[Any]] = {"scheme": schemes()}
    pruned = recipe.prune.enabled
    if model.encoder != "mean":  # which has no units to remove
        pruned = True
        found |= {f"{SHARE}{kind}": list(SHARES) for kind in _kinds(model.encoder)}
    if pruned and (most := model.transitions.neighbours):
        # They are counted and weighted after fine-tuning, so that the trained network serves all of them.
        found["model.transitions.neighbours"] = sorted({min(1000, round(most * share)) for share in NEIGHBOURS})
    if any(_is_grid(name) for name in found["scheme"]):
        found["aware"] = [False, True]
    if recipe.distill.teacher == OWN:
        found["distill.weight"] = [0.5, 0.7, 0.9]
        found["distill.temperature"] = [1.0, 2.0]
    return {name: options for name, options in found.items() if len(options) > 1 or name == "scheme"}


def schemes() -> list[str]:
    """The schemes that store weights as integers."""
    return [name for name in SCHEMES if name == "int8" or _is_grid(name)]


def settings(drawn: Drawn) -> dict[str, Any]:
    """Keys of the recipe with their values, for one option of each choice."""
    found = {name: value for name, value in drawn.items() if name not in ("scheme", "aware")}
    found["convert.schemes"] = [drawn["scheme"]]
    if any(name.startswith(SHARE) for name in drawn):
        found |= {"prune.enabled": True, "prune.method": "structured"}
    if drawn.get("aware") and _is_grid(drawn["scheme"]):
        found["quantize.scheme"] = drawn["scheme"]
    return found


def plain(recipe: Recipe) -> list[Drawn]:
    """Where a search begins: nothing removed, by each scheme."""
    first = {name: options[0] for name, options in choices(recipe).items()}
    if "model.transitions.neighbours" in first:
        first["model.transitions.neighbours"] = recipe.model.transitions.neighbours
    return [{**first, "scheme": scheme} for scheme in schemes()]


def words(drawn: Mapping[str, Any]) -> str:
    """The choices in a line, for people."""
    named = [drawn["scheme"]]
    named += [
        f"{share:.1%} of {name.removeprefix(SHARE)} removed"
        for name, share in drawn.items()
        if name.startswith(SHARE) and share
    ]
    if (neighbours := drawn.get("model.transitions.neighbours")) is not None:
        named.append(f"{neighbours} neighbours")
    if drawn.get("aware"):
        named.append("quantization-aware")
    if (weight := drawn.get("distill.weight")) is not None:
        named.append(f"teacher {weight:g} at temperature {drawn['distill.temperature']:g}")
    return ", ".join(named)


def _kinds(encoder: str) -> list[str]:
    """The kinds of units that are removed."""
    return ["dims", "feed_forward", *(["state"] if encoder in ("gru", "lru") else [])]


def _is_grid(scheme: str) -> bool:
    return SCHEMES[scheme].storage is not None
