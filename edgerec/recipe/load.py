"""Recipes from TOML files: read, overridden, checked whole before any work starts, with errors that say where."""

import copy
import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pydantic
from pydantic import BaseModel

from edgerec.errors import RecipeError
from edgerec.recipe.data import is_uri, mask_url
from edgerec.recipe.distill import OWN
from edgerec.recipe.ranking_recipe import RankingRecipe
from edgerec.recipe.recipe import Recipe

# By the key ``kind`` of the document.
RECIPES: dict[str, type[Recipe] | type[RankingRecipe]] = {"retrieval": Recipe, "ranking": RankingRecipe}


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe | RankingRecipe:
    """Read, override and check a recipe.

    Relative paths in the recipe are relative to the recipe's folder; paths in ``overrides``
    (``"section.key=value"``) to the current one. Where an override chooses another encoder, method or source, settings
    of the file that only go with the former one are dropped.

    Raises:
        RecipeError: absent file, not TOML, unknown key, wrong type or combination; names file and key.
    """
    return check_recipe(read_document(path), overrides, path)


def read_document(path: Path) -> dict[str, Any]:
    """The contents of a recipe file, unchecked, with its relative paths resolved.

    Raises:
        RecipeError: absent file, or not TOML.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{path}: not a recipe: its values are nested too deeply") from None
    map_paths(document, lambda name: str(path.parent / name))
    return document


def check_recipe(
    document: dict[str, Any], overrides: Sequence[str] = (), path: Path | None = None
) -> Recipe | RankingRecipe:
    """The recipe that a document means, with ``overrides`` applied (see :func:`load_recipe`).

    Args:
        path: the file that the document is from, if any, for the line in messages.

    Raises:
        RecipeError: unknown key, wrong type or combination; names file and key.
    """
    document = copy.deepcopy(document)
    root = _root_of(document, path)
    for keys, value in sorted(map(_parse_override, overrides), key=lambda override: not _is_tag(root, override[0])):
        _override(root, document, keys, value)
    try:
        return root.model_validate(document)
    except pydantic.ValidationError as error:
        raise RecipeError("\n".join(_explain(root, e, path) for e in error.errors())) from None


def _root_of(document: dict[str, Any], path: Path | None) -> type[Recipe] | type[RankingRecipe]:
    """The recipe that the ``kind`` of a document asks for."""
    kind = document.get("kind", "retrieval")
    if not isinstance(kind, str) or kind not in RECIPES:
        where = f"{path}{_line_of(path, ['kind'])}" if path else "recipe"
        raise RecipeError(f"{where}: kind: {kind!r} is unknown; {_nearest(str(kind), list(RECIPES))}")
    return RECIPES[kind]


def dump_recipe(recipe: Recipe | RankingRecipe) -> str:
    """The resolved recipe as JSON text, stable for fingerprints."""
    return recipe.model_dump_json(indent=2)


def map_paths(document: dict[str, Any], change: Callable[[str], str]) -> None:
    """Replace every path of a document, in place."""
    data = document.get("data")
    tables = (data, data.get("items"), data.get("users")) if isinstance(data, dict) else ()
    files = [(document.get("convert"), key) for key in ("new_items", "prior")]
    files.append((document.get("model"), "retrieval"))
    places = [*((table, "path") for table in tables), *files]
    distill = document.get("distill")
    if isinstance(distill, dict) and distill.get("teacher") != OWN:
        places.append((distill, "teacher"))
    for table, key in places:
        if isinstance(table, dict) and isinstance(table.get(key), str) and not is_uri(table[key]):
            table[key] = change(table[key])


def _parse_override(override: str) -> tuple[list[str], Any]:
    """The key path and the value of ``"section.key=value"``."""
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise RecipeError(f"--set {mask_url(override)}: write it as section.key=value")
    try:
        return keys, tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return keys, text  # a bare word or path


def _is_tag(root: type[BaseModel], keys: Sequence[str]) -> bool:
    """Whether a key path decides which form a section has, such as ``model.encoder``."""
    return any(keys[-1] == tag for section in _sections_at(root, keys[:-1]) for tag, _ in _tag_of(section))


def _override(root: type[BaseModel], document: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a key. With another encoder, method or source, settings that only go with the former one are dropped."""
    table = document
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {'.'.join(keys)}: {key} is not a section")
    if _is_tag(root, keys) and table.get(keys[-1]) != value:
        forms = _sections_at(root, keys[:-1])
        kept = {name for form in forms if (keys[-1], value) in _tag_of(form) for name in form.model_fields}
        others = {name for form in forms for name in form.model_fields} - kept
        for name in others & set(table) if kept else ():
            del table[name]
    table[keys[-1]] = value


def _explain(root: type[BaseModel], error: Any, path: Path | None) -> str:
    location = _without_tags(root, [str(part) for part in error["loc"]])
    if error["type"].startswith("union_tag"):  # the tag is what is wrong, not its section
        location.append(error["ctx"]["discriminator"].strip("'"))
    key = ".".join(location)
    file = f"{path}{_line_of(path, location)}" if path else "recipe"
    where = f"{file}: {key}" if key else file
    if error["type"] == "extra_forbidden":
        return f"{where}: {_unknown(root, location[:-1], location[-1])}"
    if error["type"] == "union_tag_invalid":
        known = [tag.strip(" '") for tag in error["ctx"]["expected_tags"].split(",")]
        return f"{where}: {error['ctx']['tag']!r} is unknown; {_nearest(error['ctx']['tag'], known)}"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    given = mask_url(given) if isinstance(given, str) else given
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and repr(given) not in message else ""
    return f"{where}: {message}{shown}"


def _unknown(root: type[BaseModel], location: Sequence[str], key: str) -> str:
    """What to say of a key that a section does not have."""
    sections = [section for section in _sections_at(root, location) if key in section.model_fields]
    if sections:  # a key of another encoder, method or source
        tags = [f'{tag} = "{name}"' for section in sections for tag, name in _tag_of(section)]
        return f"unknown key; it goes with {' or '.join(tags)}"
    names = list(dict.fromkeys(name for section in _sections_at(root, location) for name in section.model_fields))
    return f"unknown key; {_nearest(key, names)}"


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _sections_at(root: type[BaseModel], location: Sequence[str]) -> list[type[BaseModel]]:
    """The section at a key path, or all of them where a tag decides."""
    sections: list[type[BaseModel]] = [root]
    for part in location:
        fields = [section.model_fields[part].annotation for section in sections if part in section.model_fields]
        sections = list(dict.fromkeys(section for annotation in fields for section in _section_types(annotation)))
    return sections


def _section_types(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _section_types(argument)


def _tag_of(section: type[BaseModel]) -> list[tuple[str, str]]:
    """The key that tells a section from its siblings, and its value there."""
    tags = ("encoder", "ranker", "method", "source", "kind")
    return [(tag, get_args(section.model_fields[tag].annotation)[0]) for tag in tags if tag in section.model_fields]


def _without_tags(root: type[BaseModel], location: list[str]) -> list[str]:
    """A key path as the recipe writes it: pydantic puts the tag behind the name of a section that has several forms."""
    path: list[str] = []
    parts = iter(location)
    for part in parts:
        path.append(part)
        if len(_sections_at(root, path)) > 1:
            next(parts, None)
    return path


def _line_of(path: Path, location: list[str]) -> str:
    """``":LINE"`` of the key in the file, or ``""`` when it came from --set or a default."""
    section = ""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if header := re.match(r"\s*\[([\w.\-]+)\]", line):
            section = header[1]
            if section == ".".join(location):
                return f":{number}"
        elif (assignment := re.match(r"\s*([\w.\-]+)\s*=", line)) and (
            ".".join(filter(None, (section, assignment[1]))) == ".".join(location)
        ):
            return f":{number}"
    return ""
