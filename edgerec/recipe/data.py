"""``[data]``: where the tables are and how they are cleaned."""

import re
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, model_validator

from edgerec.recipe.section import Section, default_tag, refuse_idle

# A password that is written out; ${NAME} stands for one and is none.
_PASSWORD = re.compile(r"(://[^:/@]*:)(?!\$\{\w+\}@)(.+)@")
_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)(?!\$\{\w+\}(?:&|$))[^&]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """A database URL as it may be shown and stored: without passwords."""
    return _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


# However a recipe is written out, passwords are not.
DatabaseUrl = Annotated[str, PlainSerializer(mask_url)]


class Columns(Section):
    """Names of the columns of the interaction table."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = Field(None, description="sortable; without it, the order of the file counts")
    value: str | None = Field(None, description="rating or quantity, for min_value")


class FeatureTable(Section):
    """An item or user table: a file, or a table or query of a database. Columns that have no other use are features."""

    path: str | None = Field(None, description="file, or folder of Parquet files")
    url: DatabaseUrl | None = Field(None, description="database of table or query; default: [data] url", repr=False)
    table: str | None = None
    query: str | None = None
    id: str
    title: str | None = None
    multi: dict[str, str] = Field({}, description='multi-valued columns and their separator, { genres = "|" }')
    numeric: list[str] | None = Field(None, description="numeric columns; default: guessed from the values")
    ignore: list[str] = Field([], description="columns that are not features")

    @model_validator(mode="after")
    def _one_place(self) -> "FeatureTable":
        if sum(place is not None for place in (self.path, self.table, self.query)) != 1:
            raise ValueError("say where the table is with one of path, table and query")
        if self.path is not None and self.url is not None:
            raise ValueError("a url goes with table or query, not with path")
        return self


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
    path: str = Field("", description=".csv, .tsv, .jsonl (also .gz), .parquet or a folder of .parquet")
    columns: Columns = Columns()
    items: FeatureTable | None = None
    users: FeatureTable | None = None

    @model_validator(mode="after")
    def _has_path(self) -> "TableData":
        if not self.path:
            raise ValueError('source = "table" needs a path: set [data] path, or --set data.path=FILE')
        for name, table in (("items", self.items), ("users", self.users)):
            if table is not None and table.path is None and table.url is None:
                raise ValueError(f"{name} is read from a database and needs a url")
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
        return self


class GroceryData(DataSection):
    """The built-in grocery purchases (extra ``data``)."""

    source: Literal["grocery"]


Data = Annotated[
    TableData | SqlData | MovieLensData | GroceryData, Field(discriminator="source"), default_tag("source", "table")
]
