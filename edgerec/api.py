"""The Python interface, for notebooks and scripts: the same stages and artifacts as the command."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from edgerec.artifact import write_file
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import check_recipe, read_document


def run(
    recipe: str | Path | Mapping[str, Any],
    interactions: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Run:
    """A run of ``recipe``. What is asked of it is made when it is asked for, and kept in its folder.

    >>> run = edgerec.run({"data": {"columns": {"time": "when"}}}, interactions=frame)   # doctest: +SKIP
    >>> run.report["verdict"]["sentence"], run.variants, run.bundle                       # doctest: +SKIP

    Args:
        recipe: the path of a TOML file, or what one holds, as a dictionary.
        interactions: in place of ``data.path``: a table with the columns that ``data.columns`` names.
        items: in place of ``data.items.path``; its ids are in the column ``data.items.id`` (default ``item_id``).
        users: likewise, in place of ``data.users.path`` (default ``user_id``).
        out: folder of the artifacts. Default: ``runs/NAME``, after the data set's name.
        overrides: further settings, ``"section.key=value"``, like ``--set`` of the command.

    Raises:
        RecipeError: the recipe is wrong; the message says where.
    """
    path = Path(recipe) if isinstance(recipe, str | Path) else None
    document = dict(recipe) if isinstance(recipe, Mapping) else read_document(Path(recipe))
    data = dict(document.get("data", {}))
    folder = Path(out) if out is not None else Path("runs", str(data.get("name", "dataset")))
    if interactions is not None:
        data |= {"path": _written(interactions, folder / "tables" / "interactions.parquet")}
    for name, table, column in (("items", items, "item_id"), ("users", users, "user_id")):
        if table is not None:
            data[name] = {
                "id": column,
                **data.get(name, {}),
                "path": _written(table, folder / "tables" / f"{name}.parquet"),
            }
    return Run(check_recipe({**document, "data": data}, overrides, path), folder, Progress())


def _written(table: pd.DataFrame, path: Path) -> str:
    """Write a table; one that is there and the same is left alone, so that nothing is made from it again."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    if not path.is_file() or path.read_bytes() != content.getvalue():
        write_file(path, content.getvalue())
    return str(path)
