"""From a ``[data]`` section to the tables it means, and from a place to the table there."""

from pathlib import Path
from typing import Any

from edgerec.data.sources.delimited_text import DelimitedText
from edgerec.data.sources.grocery import grocery_tables
from edgerec.data.sources.json_lines import JsonLines
from edgerec.data.sources.movielens import movielens_tables, open_movielens_file
from edgerec.data.sources.parquet import ParquetTable
from edgerec.data.sources.places import File, Place, Tables, Uri, feature_source
from edgerec.data.sources.sql import Relation
from edgerec.data.sources.table import Table
from edgerec.data.sources.uri import UriTable
from edgerec.errors import DataError
from edgerec.recipe.data import Data, GroceryData, MovieLensData, SqlData, is_uri

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
KNOWN = ".csv, .tsv, .jsonl, .ndjson (also .gz), .parquet or a folder of .parquet files"


def resolve_tables(data: Data) -> Tables:
    """The tables that a ``[data]`` section means: where each is, and which columns count.

    Raises:
        DataError: the folder of a MovieLens release is absent or holds no ratings.
        MissingExtraError: the built-in data set is not installed.
    """
    if isinstance(data, GroceryData):
        return grocery_tables()
    if isinstance(data, MovieLensData):
        return movielens_tables(data)
    if isinstance(data, SqlData):
        relation = Relation(data.url, data.table, data.query)
        return Tables(
            relation, data.columns, feature_source(data.items, data.url), feature_source(data.users, data.url)
        )
    place: Place = File(Path(data.path), data.delimiter)
    if is_uri(data.path):
        place = Uri(data.path, data.delimiter, data.spark_master)
    return Tables(place, data.columns, feature_source(data.items), feature_source(data.users))


def open_table(place: Place) -> Table:
    """Look at the columns of a table: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson`` file (also ``.gz``), a
    ``.parquet`` file or a folder of them, a file of MovieLens (which has no header), or a table of a database.

    Raises:
        DataError: absent, empty, of another kind, or with a column named twice.
    """
    if isinstance(place, Relation):
        return place.open()
    if isinstance(place, Uri):
        return UriTable.open(place.uri, place.delimiter or DELIMITERS.get(_suffix(Path(place.uri))), place.master)
    return _open_file(place.path, place.delimiter)


def _open_file(path: Path, delimiter: str | None) -> Table:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    suffix = _suffix(path)
    if delimiter is not None and path.is_file():
        return DelimitedText.with_header(path, delimiter)
    if movielens := open_movielens_file(path):
        return movielens
    if path.is_dir() or suffix == ".parquet":
        return ParquetTable.open(path)
    if suffix in JSON_LINES:
        return JsonLines.open(path)
    if suffix not in DELIMITERS:
        raise DataError(f"{path}: unknown kind of table {suffix!r}; use {KNOWN}, or name the delimiter of a text file")
    return DelimitedText.with_header(path, DELIMITERS[suffix])


def _suffix(path: Path) -> str:
    """The suffix that tells the kind of a table."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def source_fingerprint(data: Data) -> list[Any]:
    """What tells that the tables of a recipe changed, ready for JSON; the same however its paths are spelled.

    Raises:
        DataError: a file is absent, or a database cannot be reached.
    """
    return [place.fingerprint() for place in resolve_tables(data).places().values()]
