"""``[data]``: where the tables are and how they are cleaned."""

import re
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, model_validator

from edgerec.recipe.section import Section, default_tag, refuse_idle

_DIALECTS = ("mysql", "mariadb", "postgresql", "postgres", "sqlite", "mssql", "oracle")
_PLACEHOLDER = re.compile(r"\$\{\w+\}")
_KEY = re.compile(r"\s*[\w.]+\s*=\s*['\"]?")
_URL = re.compile(r"([A-Za-z][\w+.-]*://)(.*)", re.DOTALL)
# Behind the credentials: host, port, path, and parameters.
_PLACE = re.compile(r"((?:\[[\w:.%]*\]|[^:/?#\[\]]*)(?::(?:\d*|\$\{\w+\}))?(?:/[^?#]*)?)(\?[^#]*)?", re.DOTALL)
# Parameters whose values may be shown; any other may be a secret.
_HARMLESS = {
    *("user", "host", "port", "database", "dbname", "driver", "charset", "client_encoding", "application_name"),
    *("sslmode", "ssl_mode", "ssl_ca", "sslrootcert", "timeout", "connect_timeout", "unix_socket", "mode", "uri"),
}


def mask_url(text: str) -> str:
    """A database URL, or ``key=URL``, as it may be shown and stored: without passwords and values of parameters that
    may be secret. Of something like a URL that cannot be taken apart, only the scheme is left; any other text stays.
    """
    key = match[0] if (match := _KEY.match(text)) else ""
    value = text[len(key) :]
    if _PLACEHOLDER.fullmatch(value):
        return text
    if match := _URL.match(value):
        return key + match[1] + (_masked_place(match[2]) or "***")
    if re.search("@|/.*:|[?&;][^=]*=", value):
        scheme = re.match(rf"({'|'.join(_DIALECTS)})(\+\w+)?:?", value)
        return f"{key}{scheme[0] if scheme else ''}***"
    return text


def _masked_place(text: str) -> str | None:
    """What stands behind ``scheme://``, ``None`` where it cannot be taken apart."""
    credentials, at, place = text.rpartition("@")
    user, colon, password = credentials.partition(":")
    match = _PLACE.fullmatch(place)
    if match is None or re.search("[/?#=&]", user):
        return None
    shown = password if _PLACEHOLDER.fullmatch(password) else "***"
    parameters = "&".join(map(_masked_parameter, match[2][1:].split("&"))) if match[2] else None
    return f"{user}{colon}{shown if colon else ''}{at}{match[1]}" + ("" if parameters is None else f"?{parameters}")


def _masked_parameter(parameter: str) -> str:
    key, equals, value = parameter.partition("=")
    if is_harmless(key) or _PLACEHOLDER.fullmatch(value):
        return parameter
    return f"{key}=***" if equals else "***"


def is_harmless(parameter: str) -> bool:
    """Whether the value of a URL's parameter may be shown."""
    return parameter.lower() in _HARMLESS


def is_uri(path: str) -> bool:
    """Whether a path is one that only Spark reads, such as ``hdfs://node/table`` or ``s3a://bucket/table.csv``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


# Passwords are masked wherever a recipe is written out.
DatabaseUrl = Annotated[str, PlainSerializer(mask_url)]
TablePath = Annotated[str, PlainSerializer(lambda path: mask_url(path) if is_uri(path) else path)]


class Columns(Section):
    """Names of the columns of the interaction table."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = Field(None, description="sortable; without it, the order of the file counts")
    value: str | None = Field(None, description="rating or quantity, for min_value")


class FeatureTable(Section):
    """An item or user table: a file, or a table or query of a database. Columns that have no other use are features."""

    path: str | None = Field(None, description="file, or folder of Parquet files")
    delimiter: str | None = Field(None, min_length=1, description="of a text file; default: by its suffix")
    url: DatabaseUrl | None = Field(None, description="database of table or query; default: [data] url", repr=False)
    table: str | None = None
    query: str | None = None
    id: str
    title: str | None = None
    multi: dict[str, str] = Field({}, description='multi-valued columns and their separator, { genres = "|" }')
    numeric: list[str] | None = Field(None, description="numeric columns; default: guessed from the values")
    missing: list[str] = Field(
        ["", "NA", "N/A", "n/a", "null", "NULL", "None", "nan"],
        description="values of feature columns that stand for none; ids and titles are never among them",
    )
    ignore: list[str] = Field([], description="columns that are not features")

    @model_validator(mode="after")
    def _one_place(self) -> "FeatureTable":
        if sum(place is not None for place in (self.path, self.table, self.query)) != 1:
            raise ValueError("say where the table is with one of path, table and query")
        if self.path is not None and self.url is not None:
            raise ValueError("a url goes with table or query, not with path")
        if self.path is None and self.delimiter is not None:
            raise ValueError("a delimiter goes with path")
        return self


def _require_urls(items: FeatureTable | None, users: FeatureTable | None) -> None:
    """Check that feature tables say in which database they are, where ``[data]`` itself names none."""
    for name, table in (("items", items), ("users", users)):
        if table is not None and table.path is None and table.url is None:
            raise ValueError(f"{name} is read from a database and needs a url")


class DataSection(Section):
    """What the sources share."""

    # It becomes part of file names.
    name: str = Field("dataset", pattern=r"^\w[\w .-]*$", description="name of the data set in reports")
    min_value: float | None = Field(None, description="keep interactions with at least this value")
    repeats: Literal["first", "last", "all"] = Field("first", description="which of a user's repeats are kept")
    min_user_events: int = Field(3, ge=1, description="iterative k-core, users")
    min_item_users: int = Field(1, ge=1, description="iterative k-core, items (interactions kept)")
    max_rejected: float = Field(0.01, ge=0, le=1, description="stop above this share of rejected rows")
    engine: Literal["duckdb", "spark"] = Field("duckdb", description="spark: for tables that outgrow one machine")
    spark_master: str | None = Field(None, description="such as local[2]; default: Spark's own configuration")

    @model_validator(mode="after")
    def _master_is_sparks(self) -> "DataSection":
        if self.engine != "spark":
            refuse_idle(self, ["spark_master"], 'without engine = "spark"')
        return self


class TableData(DataSection):
    """A table in a file."""

    source: Literal["table"] = "table"
    path: TablePath = Field(
        "", description=".csv, .tsv, .jsonl (also .gz), .parquet, a folder of .parquet; a URI with engine = spark"
    )
    delimiter: str | None = Field(None, min_length=1, description="of a text file; default: by its suffix")
    columns: Columns = Columns()
    items: FeatureTable | None = None
    users: FeatureTable | None = None

    @model_validator(mode="after")
    def _has_path(self) -> "TableData":
        if not self.path:
            raise ValueError('source = "table" needs a path: set [data] path, or --set data.path=FILE')
        if is_uri(self.path) and self.engine != "spark":
            raise ValueError('a path that is a URI is read by Spark: set engine = "spark"')
        _require_urls(self.items, self.users)
        return self


class SqlData(DataSection):
    """A table or query of a database."""

    source: Literal["sql"]
    url: DatabaseUrl = Field("", description="for SQLAlchemy; ${NAME} is read from the environment", repr=False)
    table: str | None = Field(None, description="read this table, by its primary key if it has one")
    query: str | None = Field(None, description="read this query's result, in its order")
    columns: Columns = Columns()
    items: FeatureTable | None = None
    users: FeatureTable | None = None

    @model_validator(mode="after")
    def _says_what_to_read(self) -> "SqlData":
        if not self.url:
            raise ValueError('source = "sql" needs a url, such as "postgresql://user:${DB_PASSWORD}@host/database"')
        if (self.table is None) == (self.query is None):
            raise ValueError('source = "sql" needs either a table or a query')
        return self


class MovieLensData(DataSection):
    """The unpacked folder of a MovieLens release, whose files and columns are known."""

    source: Literal["movielens"]
    path: str = Field("", description="the unpacked folder of a release")
    items: FeatureTable | None = Field(None, description="in place of the release's own movies")
    users: FeatureTable | None = Field(None, description="in place of the release's own users")

    @model_validator(mode="after")
    def _has_path(self) -> "MovieLensData":
        if not self.path:
            raise ValueError('source = "movielens" needs a path: the unpacked folder of a release')
        _require_urls(self.items, self.users)
        return self


class GroceryData(DataSection):
    """The built-in grocery purchases (extra ``data``)."""

    source: Literal["grocery"]


Data = Annotated[
    TableData | SqlData | MovieLensData | GroceryData, Field(discriminator="source"), default_tag("source", "table")
]
