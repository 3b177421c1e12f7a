"""Tables and queries of a database that SQLAlchemy can reach, streamed. Needs the extra ``sql``.

Passwords stay here: ``${NAME}`` in a URL is replaced when connecting, and what is raised names the URL without them.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from edgerec.artifact import fingerprint
from edgerec.data.sources.cells import as_text
from edgerec.data.sources.table import Record, Say, printable, require_distinct, shown_names
from edgerec.errors import DataError, MissingExtraError
from edgerec.recipe.data import is_harmless, mask_url

if TYPE_CHECKING:
    import sqlalchemy

# What a URL without a driver means: the ones that the extra installs.
DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
ROWS_AT_ONCE = 50_000
OF_THE_EXTRA = {"sqlalchemy", "pymysql", "psycopg"}
SHOWN_TABLES = 20
# A password within a parameter, as in odbc_connect.
_IN_CONNECTION_STRING = re.compile(r"(?:pwd|password|secret|token|key)\s*=\s*\{?([^;}&]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Relation:
    """A table or a query of a database; exactly one of both.

    Attributes:
        url: of the database, as the recipe writes it.
        table: its name, with the schema before a dot if it is not the default one.
    """

    url: str = field(repr=False)
    table: str | None
    query: str | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.table or "query"

    def open(self) -> "SqlTable":
        """Find the columns.

        Raises:
            DataError: no connection, no such table, a wrong query, a column named twice.
        """
        with _connected(self.url) as connection:
            if self.table is not None:
                names = [str(column["name"]) for column in self.inspected(connection).columns]
            else:
                names = list(_execute(connection, f"select * from ({self.bare_query}) q where 1 = 0").keys())
        require_distinct(names, self.name)
        return SqlTable(self, names)

    def fingerprint(self) -> list[Any]:
        """What tells that the table changed: where it is and how many rows it has.

        A cheap look: rows that changed in place are not noticed (remove the run's folder then).
        """
        with _connected(self.url) as connection:
            source = self.bare_query if self.table is None else self.inspected(connection).select(["*"])
            count = _execute(connection, f"select count(*) from ({source}) q").scalar_one()
            where = connection.engine.url
            place = fingerprint([where.get_backend_name(), where.host, where.port, where.database])
            return [mask_url(self.url), place, self.table, self.query, int(count)]

    def described(self) -> dict[str, str | None]:
        """Which table it is, for ``dataset.json``: without passwords."""
        return {"url": mask_url(self.url), "table": self.table, "query": self.query}

    @property
    def bare_query(self) -> str:
        return str(self.query).strip().rstrip(";")

    def inspected(self, connection: "sqlalchemy.Connection") -> "_Inspected":
        """The table as it is in the database.

        Raises:
            DataError: there is none of this name.
        """
        return _inspected(connection, str(self.table), mask_url(self.url))


@dataclass(frozen=True)
class SqlTable:
    """A relation whose columns are known. Its rows are numbered from 1 in the order in which they come."""

    relation: Relation
    columns: list[str] = field(repr=False)

    @property
    def name(self) -> str:
        return self.relation.name

    def place(self, line: int) -> tuple[str, int | None]:
        return self.name, line

    def records(self, names: Sequence[str], say: Say) -> Iterator[Record]:
        """See :meth:`edgerec.data.sources.table.Table.records`. A server-side cursor keeps memory flat.

        The order of the result stands for what is file order elsewhere: a table comes by its primary key; a query
        decides itself, and without ``order by`` the database is free to give another order every time.
        """
        relation = self.relation
        with _connected(relation.url) as connection:
            if relation.table is None:
                statement = relation.bare_query
            else:
                statement = relation.inspected(connection).select(names, ordered=True)
            with _stream(connection, statement) as result:
                keys = list(result.keys())
                places = [keys.index(name) for name in names]
                rows = chain.from_iterable(result.partitions(ROWS_AT_ONCE))
                for number, row in enumerate(rows, 1):
                    yield number, [_text(row[place], keys[place], self.name) for place in places], None


@dataclass(frozen=True)
class _Inspected:
    """A table that is there: its columns, and SQL that reads it, quoted as its database wants."""

    name: str
    columns: list[Any]
    key: list[str]
    quoted: Callable[[str], str]

    def select(self, names: Sequence[str], ordered: bool = False) -> str:
        chosen = ", ".join(name if name == "*" else self.quoted(name) for name in names)
        order = f" order by {', '.join(map(self.quoted, self.key))}" if ordered and self.key else ""
        return f"select {chosen} from {self.name}{order}"


def _inspected(connection: "sqlalchemy.Connection", wanted: str, where: str) -> _Inspected:
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    schema, _, bare = wanted.rpartition(".")
    for name, place in ((wanted, None), (bare, schema)):
        if (place is None or place) and inspector.has_table(name, schema=place):
            quoted = connection.dialect.identifier_preparer.quote_identifier
            return _Inspected(
                ".".join(map(quoted, filter(None, (place, name)))),
                list(inspector.get_columns(name, schema=place)),
                list(inspector.get_pk_constraint(name, schema=place)["constrained_columns"]),
                quoted,
            )
    names = sorted([*inspector.get_table_names(), *inspector.get_view_names()])
    known = shown_names(names[:SHOWN_TABLES]) + (", ..." if len(names) > SHOWN_TABLES else "")
    raise DataError(f"{where}: no table {wanted!r}; " + (f"it has {known}" if names else "it has none"))


def _execute(connection: "sqlalchemy.Connection", statement: str, **options: Any) -> "sqlalchemy.CursorResult[Any]":
    """Run SQL as it is: no character in it stands for a parameter."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True, **options})


@contextmanager
def _stream(connection: "sqlalchemy.Connection", statement: str) -> "Iterator[sqlalchemy.CursorResult[Any]]":
    """The result of SQL through a server-side cursor."""
    mysql = connection.dialect.name in ("mysql", "mariadb")
    number = _execute(connection, "select connection_id()").scalar_one() if mysql else None
    result = _execute(connection, statement, stream_results=True, max_row_buffer=ROWS_AT_ONCE)
    try:
        yield result
    except BaseException:
        if mysql:
            # Whoever stops early would wait: the driver reads what the server sends to its end, wanted or not.
            with suppress(Exception), connection.engine.connect() as other:
                _execute(other, f"kill query {number}")
            with suppress(Exception):
                result.close()
        raise


@contextmanager
def _connected(url: str) -> "Iterator[sqlalchemy.Connection]":
    """A connection whose errors are one line without a password, and whose times are UTC."""
    try:
        import sqlalchemy
    except ModuleNotFoundError as error:
        raise MissingExtraError('source = "sql"', "sql", error.name) from None
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    text, values = _expanded(url)
    try:
        parsed = sqlalchemy.make_url(text)
    except (ArgumentError, ValueError):
        raise DataError(
            "data.url: not the URL of a database; write it as dialect://user:${PASSWORD}@host/database"
        ) from None
    parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
    where = mask_url(url)
    secrets = _secrets(parsed, values)
    file = parsed.database
    if parsed.get_backend_name() == "sqlite" and file and not file.startswith("file:") and not Path(file).exists():
        raise DataError(f"{where}: no such file: {_scrubbed(file, secrets)}")  # SQLite would make an empty one

    def one_line(error: Exception) -> str:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        arguments = [argument for argument in cause.args if isinstance(argument, str) and argument.strip()]
        said = (arguments[0] if arguments else str(cause)).strip() or type(cause).__name__
        return _scrubbed(printable(said.splitlines()[0]), secrets)

    try:
        engine = sqlalchemy.create_engine(parsed, poolclass=NullPool, hide_parameters=True)
        connection = engine.connect()
    except NoSuchModuleError:
        raise DataError(f"{where}: SQLAlchemy knows no database {parsed.drivername!r}") from None
    except ModuleNotFoundError as error:
        if error.name in OF_THE_EXTRA:
            raise MissingExtraError(f"reading from {parsed.get_backend_name()}", "sql", error.name) from None
        raise DataError(f"{where}: its driver is not installed (no module {error.name})") from None
    except Exception as error:  # drivers raise what they like, such as TypeError for an unknown parameter
        raise DataError(f"{where}: no connection: {one_line(error)}") from None
    try:
        with connection:
            if connection.dialect.name in ("mysql", "mariadb"):
                # A TIMESTAMP is shown in the session's zone, by default that of the machine the server is on.
                connection.exec_driver_sql("set time_zone = '+00:00'")
            yield connection
    except SQLAlchemyError as error:
        raise DataError(f"{where}: {one_line(error)}") from None


def _expanded(url: str) -> tuple[str, list[str]]:
    """``url`` with ``${NAME}`` replaced from the environment, and the values that replaced it. A value that is a part
    of the URL, such as a password, is set in the environment as it is, not percent-encoded.

    Raises:
        DataError: a variable is not set.
    """
    values: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise DataError(
                f"data.url: the environment variable {match[1]} is not set; set it to what ${{...}} stands for"
            )
        text = os.environ[match[1]]
        values.append(text)
        a_part = match.start() > 0 and ("@" in url[match.end() :] or "?" in url[: match.start()])
        return quote(text, safe="") if a_part else text

    return re.sub(r"\$\{(\w+)\}", value, url), values


def _secrets(url: "sqlalchemy.URL", values: Sequence[str]) -> list[str]:
    """What must not be read in any message: passwords, parameters that may be secret, values of the environment and
    their parts, each as it is and as a URL writes it; the longest first.
    """
    secrets = [url.render_as_string(hide_password=False), *values, str(url.password or "")]
    for key, value in url.query.items():
        if not is_harmless(key):
            several = [value] if isinstance(value, str) else value
            secrets += [*several, *(part for one in several for part in _IN_CONNECTION_STRING.findall(one))]
    secrets += [part for value in values for part in value.split(":", 1) if ":" in value and "/" not in value]
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    return sorted(forms - {""}, key=len, reverse=True)


def _scrubbed(text: str, secrets: Sequence[str]) -> str:
    """What a driver says, without what must not be read: some repeat the whole URL."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _text(value: Any, column: str, relation: str) -> str | None:
    try:
        return as_text(value)
    except UnicodeDecodeError:
        raise DataError(
            f"{relation}: column {column!r} holds bytes that are not text; select a text instead, such as hex({column})"
        ) from None
