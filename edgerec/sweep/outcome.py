"""What a sweep found: the Pareto set as data, table and plot, and the recipe of the chosen point."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edgerec.artifact import write_file
from edgerec.errors import GateError
from edgerec.evaluation.words import change
from edgerec.recipe import Recipe
from edgerec.recipe.load import map_paths
from edgerec.report.plots import sizes_tried, standalone
from edgerec.sweep.points import Limits, Point, choose, pareto
from edgerec.sweep.space import words


def outcome(points: Sequence[Point], limits: Limits, reference: float) -> dict[str, Any]:
    """All that was found, ready for JSON.

    Args:
        reference: NDCG@10 of the trained float model on the same validation targets.
    """
    best = choose(points, limits)
    return {
        "schema": 1,
        "limits": asdict(limits),
        "reference_ndcg@10": reference,
        "pareto": [point.number for point in pareto(points)],
        "chosen": best and best.number,
        "points": [{**point.as_dict(), "words": words(point.drawn)} for point in points],
    }


def write_outcome(found: dict[str, Any], folder: Path) -> None:
    """Write ``sweep.json`` and ``pareto.svg``."""
    write_file(folder / "pareto.svg", standalone(sizes_tried(found)))
    write_file(folder / "sweep.json", json.dumps(found, indent=2) + "\n")


def require_chosen(found: dict[str, Any]) -> None:
    """Stop if no point keeps the limits.

    Raises:
        GateError: names the nearest point.
    """
    if found["chosen"] is not None:
        return
    if not found["points"]:
        raise GateError("no file could be made; the lines above say why")
    limits = Limits(**found["limits"])
    smallest = min(found["points"], key=lambda entry: entry["measured"]["bytes"])
    raise GateError(
        f"none of {len(found['points'])} files keeps the limits; the smallest, {smallest['words']}, has "
        f"{smallest['measured']['bytes'] / 1000:,.1f} kB (limit {limits.max_bytes / 1000:,.1f}), with a change of "
        f"NDCG@10 of {change(smallest['measured']['drop'])}: run again with more --trials, or with other limits"
    )


def print_outcome(found: dict[str, Any]) -> None:
    """Print the Pareto set on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # into a file or a log: do not squeeze the table into 80 columns
    timed = any(entry["measured"]["ms"] is not None for entry in found["points"])
    table = Table("", box=None, header_style="bold", pad_edge=False)
    for heading in ("kB of the model", "vocabulary kB", "NDCG@10", "change [95 %]", *(["p50 ms"] if timed else [])):
        table.add_column(heading, justify="right")
    table.add_column("")
    entries = {entry["number"]: entry for entry in found["points"]}
    shown = list(dict.fromkeys([*found["pareto"], *([] if found["chosen"] is None else [found["chosen"]])]))
    for number in sorted(shown, key=lambda number: entries[number]["measured"]["bytes"]):
        measured = entries[number]["measured"]
        table.add_row(
            "chosen" if number == found["chosen"] else "",
            f"{measured['bytes'] / 1000:,.1f}",
            f"{measured['vocabulary'] / 1000:,.1f}",
            f"{measured['ndcg']:.4f}",
            change(measured["drop"], measured["drop_ci"]),
            *([f"{measured['ms']:.3f}"] if timed else []),
            entries[number]["words"],
        )
    console.print(table)
    console.print(
        f"on validation; the change is against the trained float model, NDCG@10 {found['reference_ndcg@10']:.4f}",
        markup=False,
    )


def write_recipe(recipe: Recipe, path: Path, remark: str) -> None:
    """Write a recipe that ``edgerec run`` takes; its paths become relative to the file's folder.

    Args:
        remark: the comment above it.
    """
    document = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    folder = path.parent.resolve()
    map_paths(document, lambda name: os.path.relpath(Path(name).resolve(), folder))
    lines = [f"# {line}" for line in remark.splitlines()]
    lines += [f"{key} = {_toml(value)}" for key, value in document.items() if not isinstance(value, dict)]
    for section, values in document.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{_key(key)} = {_toml(value)}" for key, value in values.items())]
    write_file(path, "\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON writes text, numbers and truth values as TOML does, but for one character of text.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
