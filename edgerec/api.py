"""The Python interface, for notebooks and scripts: the same stages and artifacts as the command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from edgerec.artifact import fingerprint, write_file
from edgerec.progress import Progress
from edgerec.recipe import Recipe, check_recipe, load_recipe

if TYPE_CHECKING:
    from edgerec.pipeline import Run


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    interactions: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> "Run":
    """A run of ``recipe``; what is asked of it is made when it is asked for.

    >>> run = edgerec.run({"data": {"columns": {"time": "when"}}}, interactions=frame)   # doctest: +SKIP
    >>> run.report["verdict"]["sentence"], run.variants, run.bundle                       # doctest: +SKIP

    Args:
        recipe: the path of a TOML file, or what one holds, as a dictionary.
        interactions: in place of ``data.path``: a table with the columns that ``data.columns`` names.
        items: in place of ``data.items.path``; its ids are in the column ``data.items.id`` (default ``item_id``).
        users: likewise (default ``user_id``).
        out: folder of the artifacts. Default: ``runs/NAME``, after the data set's name.
        overrides: further settings, ``"section.key=value"``, as the command's ``--set``.

    Raises:
        RecipeError: the recipe is wrong; says where.
    """
    from edgerec.pipeline import Run

    tables = {"interactions": interactions, "items": items, "users": users}
    given = {name: table for name, table in tables.items() if table is not None}
    document = recipe
    if not isinstance(recipe, Recipe) and given:
        document = load_document(recipe)
        folder = Path(out or Path("runs", document.get("data", {}).get("name", "dataset")))
        document = with_tables(document, given, folder / "tables")
    resolved = recipe if isinstance(recipe, Recipe) else resolve(document, overrides)
    return Run(resolved, Path(out or Path("runs", resolved.data.name)), Progress())
