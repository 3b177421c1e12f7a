"""The Python interface, for notebooks and scripts: the same stages and artifacts as the command."""

import io
from collections.abc import Iterable, Mapping, Sequence
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
    frames = {"interactions": interactions, "items": items, "users": users}
    given = {name: frame for name, frame in frames.items() if frame is not None}
    if not given:
        resolved = check_recipe(document, overrides, path)
        return Run(resolved, Path(out or Path("runs", resolved.data.name)), Progress())
    # Checked before any frame is written; where they are written follows from the name.
    name = check_recipe(_with_frames(document, given, Path("FRAMES")), overrides, path).data.name
    folder = Path(out or Path("runs", name))
    for table, frame in given.items():
        _write(frame, folder / "tables" / f"{table}.parquet")
    return Run(check_recipe(_with_frames(document, given, folder / "tables"), overrides, path), folder, Progress())


def _with_frames(document: Mapping[str, Any], given: Iterable[str], folder: Path) -> dict[str, Any]:
    """The document with the files of the frames in place of the tables that it names."""
    data = dict(document.get("data", {}))
    if "interactions" in given:
        for key in ("source", "url", "table", "query"):
            data.pop(key, None)
        data["path"] = str(folder / "interactions.parquet")
    for table, column in (("items", "item_id"), ("users", "user_id")):
        if table in given:
            settings = {
                key: value for key, value in data.get(table, {}).items() if key not in ("url", "table", "query")
            }
            data[table] = {"id": column, **settings, "path": str(folder / f"{table}.parquet")}
    return {**document, "data": data}


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet; a file that has it already is left alone, so that nothing is made from it again."""
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    if not path.is_file() or path.read_bytes() != content.getvalue():
        write_file(path, content.getvalue())
