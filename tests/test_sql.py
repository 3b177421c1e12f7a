"""Databases: SQLite here, MariaDB and PostgreSQL as real servers."""

import csv
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from servers import PASSWORD, mariadb, postgresql  # noqa: F401  (fixtures)
from sqlalchemy.dialects import mysql

from edgerec.data.dataset import Dataset
from edgerec.data.prepare import prepare
from edgerec.data.sources import sql
from edgerec.data.sources.tables import source_fingerprint
from edgerec.errors import DataError, MissingExtraError
from edgerec.recipe import Recipe, dump_recipe, load_recipe, mask_url
from edgerec.recipe.data import SqlData

HARD_IDS = ["007", "12345678901234567890", "émoji🎬", 'quo"te', "a,b", "Ü", " x"]
DATABASES = ["sqlite", "mariadb", "postgresql"]
URL_PASSWORD = quote(PASSWORD, safe="")


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        (tmp_path / "shop.db").touch()
        url = sa.make_url(f"sqlite:///{tmp_path}/shop.db")
    else:
        url = request.getfixturevalue(request.param)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    yield engine
    everything = sa.MetaData()
    everything.reflect(engine)
    everything.drop_all(engine)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> sa.URL:
    return request.getfixturevalue("mariadb")


def text_of(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


def fill(engine: sa.Engine, name: str, columns: list[sa.Column], rows: list[dict[str, object]]) -> None:
    table = sa.Table(name, sa.MetaData(), *columns, mysql_charset="utf8mb4")
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)


def prepared(folder: Path, **data: object) -> Dataset:
    prepare(Recipe.model_validate({"data": {"min_user_events": 1, **data}}), folder, "key", lambda text: None)
    return Dataset.load(folder)


def same(one: Dataset, other: Dataset) -> bool:
    return (
        one.split_fingerprint == other.split_fingerprint
        and one.user_ids == other.user_ids
        and list(one.item_table["item_id"]) == list(other.item_table["item_id"])
    )


@pytest.mark.slow
def test_a_table_of_a_database_gives_the_dataset_of_the_csv_file(
    database: sa.Engine, purchases: Path, tmp_path: Path
) -> None:
    with (purchases / "purchases.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    as_datetime = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    read = [
        {
            "household": int(line["household"]),
            "product": line["product"],
            "when": datetime.fromisoformat(line["when"]),
            "quantity": int(float(line["quantity"])),
        }
        for line in lines
    ]
    fill(
        database,
        "purchases",
        [
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
            sa.Column("household", sa.BigInteger),
            sa.Column("product", sa.String(40)),
            sa.Column("when", as_datetime),
            sa.Column("quantity", sa.Integer),
        ],
        read,
    )
    settings = {"columns": {"user": "household", "item": "product", "time": "when"}, "min_item_users": 5}
    expected = prepared(tmp_path / "csv", path=str(purchases / "purchases.csv"), **settings)
    url = text_of(database.url)
    assert same(prepared(tmp_path / "t", source="sql", url=url, table="purchases", **settings), expected)
    query = "select * from purchases order by number;"
    assert same(prepared(tmp_path / "q", source="sql", url=url, query=query, **settings), expected)


def test_ids_of_a_database_stay_byte_for_byte(database: sa.Engine, tmp_path: Path) -> None:
    events = [
        {"n": n, "user_id": user, "item_id": item, "big": 12345678901234567890 + n % 2, "flag": True}
        for n, (user, item) in enumerate([(u, i) for u in ("00", "0") for i in [*HARD_IDS, "y", "z"]], 1)
    ]
    text = sa.String(60).with_variant(sa.String(60, collation="utf8mb4_bin"), "mysql", "mariadb")
    big = sa.Numeric(24, 0).with_variant(sa.Text, "sqlite")
    columns = [sa.Column("n", sa.Integer, primary_key=True), sa.Column("user_id", text), sa.Column("item_id", text),
               sa.Column("big", big), sa.Column("flag", sa.Boolean)]  # fmt: skip
    fill(database, "events", columns, [{**e, "big": str(e["big"])} for e in events])
    url = text_of(database.url)
    dataset = prepared(tmp_path / "d", source="sql", url=url, table="events")
    assert dataset.user_ids == ["0", "00"]
    assert set(dataset.item_table["item_id"]) == set(HARD_IDS)
    # The last two events of everyone are validation and test.
    ids = ["", *dataset.item_table["item_id"]]
    assert [ids[row] for row in dataset.events[:7]] == HARD_IDS
    dataset = prepared(tmp_path / "b", source="sql", url=url, table="events", columns={"item": "big"}, repeats="all")
    assert set(dataset.item_table["item_id"]) == {"12345678901234567890", "12345678901234567891"}


def test_item_and_user_tables_may_be_in_the_database(database: sa.Engine, tmp_path: Path) -> None:
    name = [sa.Column("sku", sa.String(20)), sa.Column("name", sa.String(60)), sa.Column("price", sa.Numeric(8, 2))]
    fill(
        database,
        "products",
        name,
        [{"sku": "01", "name": "Käse 🧀", "price": "3.50"}, {"sku": "2", "name": None, "price": None}],
    )
    fill(database, "people", [sa.Column("who", sa.Integer)], [{"who": 7}])
    columns = [sa.Column("n", sa.Integer), sa.Column("user_id", sa.Integer), sa.Column("item_id", sa.String(20))]
    fill(
        database, "sales", columns, [{"n": n, "user_id": 7, "item_id": i} for n, i in enumerate(["01", "2", "3", "4"])]
    )
    dataset = prepared(
        tmp_path / "d",
        source="sql",
        url=text_of(database.url),
        query="select user_id, item_id, n from sales order by n",
        columns={"time": "n"},
        items={"query": "select sku, name, price from products", "id": "sku", "title": "name"},
        users={"table": "people", "id": "who"},
    )
    assert list(dataset.item_table["title"]) == ["Käse 🧀", ""]
    assert dataset.item_table["price"][0] in ("3.50", "3.5")  # SQLite has no decimals


def test_a_table_comes_by_its_primary_key(database: sa.Engine, tmp_path: Path) -> None:
    columns = [sa.Column("user_id", sa.String(9)), sa.Column("item_id", sa.String(9)),
               sa.Column("n", sa.Integer, primary_key=True, autoincrement=False)]  # fmt: skip
    order = [3, 1, 4, 2, 0]
    fill(database, "events", columns, [{"user_id": "u", "item_id": f"i{n}", "n": n} for n in order])
    dataset = prepared(tmp_path / "d", source="sql", url=text_of(database.url), table="events")
    ids = ["", *dataset.item_table["item_id"]]
    assert [ids[row] for row in dataset.events[:3]] == ["i0", "i1", "i2"]


def test_a_query_may_hold_every_character(database: sa.Engine, tmp_path: Path) -> None:
    """Nothing in it is taken for a parameter."""
    columns = [sa.Column("user_id", sa.String(9)), sa.Column("item_id", sa.String(9)), sa.Column("n", sa.Integer)]
    fill(database, "events", columns, [{"user_id": "u", "item_id": f"i{n}", "n": n} for n in range(5)])
    query = "select user_id, item_id, n, ' :x %s 100% ?' as note from events where item_id like 'i%' order by n"
    assert prepared(tmp_path / "d", source="sql", url=text_of(database.url), query=query).info["interactions"] == 5


def test_times_do_not_depend_on_the_zone_of_the_server(database: sa.Engine, tmp_path: Path) -> None:
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite has no time zones")
    run = "create table moments (user_id varchar(9), item_id varchar(9), {})"
    kind = "at timestamp(6) null" if database.dialect.name == "mysql" else "at timestamptz"
    zone = "set time_zone = '+00:00'" if database.dialect.name == "mysql" else "set time zone 'UTC'"
    with database.begin() as connection:
        connection.exec_driver_sql(run.format(kind))
        connection.exec_driver_sql(zone)
        for item in "abcd":
            connection.exec_driver_sql(
                f"insert into moments values ('u', '{item}', '2020-03-29 02:30:00.00000{ord(item) - 96}')"
            )
    prepared(tmp_path / "d", source="sql", url=text_of(database.url), table="moments", columns={"time": "at"})
    times = pq.read_table(tmp_path / "d" / "interactions.parquet")["t"].to_pylist()
    assert times == [1585449000000001 + n for n in range(4)]


def test_more_rows_are_noticed(database: sa.Engine, tmp_path: Path) -> None:
    columns = [sa.Column("user_id", sa.String(9)), sa.Column("item_id", sa.String(9))]
    fill(database, "events", columns, [{"user_id": "u", "item_id": "i"}])
    data = SqlData(source="sql", url=text_of(database.url), table="events")
    before = source_fingerprint(data)
    assert source_fingerprint(data) == before
    with database.begin() as connection:
        connection.exec_driver_sql("insert into events values ('u', 'j')")
    assert source_fingerprint(data) != before
    assert PASSWORD not in json.dumps(before, ensure_ascii=False)
    assert URL_PASSWORD not in json.dumps(before)


def test_missing_tables_and_columns_and_wrong_queries_are_told(database: sa.Engine, tmp_path: Path) -> None:
    fill(database, "events", [sa.Column("user_id", sa.String(9)), sa.Column("thing", sa.String(9))], [])
    with database.begin() as connection:
        connection.exec_driver_sql("insert into events values ('u', 'i')")
    url = text_of(database.url)
    for settings, said in (
        ({"table": "evnts"}, "no table 'evnts'; it has events"),
        ({"table": "events"}, "events: no column 'item_id'; it has user_id, thing. Name yours with data.columns.item"),
        ({"query": "select a from nowhere"}, "nowhere"),
        ({"query": "select user_id, user_id from events"}, "user_id"),
    ):
        with pytest.raises(DataError) as caught:
            prepared(tmp_path / "d", source="sql", url=url, **settings)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
        assert URL_PASSWORD not in str(caught.value)


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_large_result_is_streamed(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows are here long before the server would have made the last."""
    monkeypatch.setattr(sql, "ROWS_AT_ONCE", 100)
    url = text_of(request.getfixturevalue(kind))
    numbers = (
        "select seq as n from seq_1_to_2000000000"
        if kind == "mariadb"
        else "select generate_series(1, 2000000000) as n"
    )
    rows = sql.SqlTable(sql.Relation(url, None, numbers), ["n"]).records(["n"], print)
    assert [next(rows) for _ in range(250)] == [(n, [str(n)], None) for n in range(1, 251)]
    rows.close()


@pytest.mark.parametrize("kind", ["mysql+pymysql", "postgresql"])
def test_a_server_that_is_not_there_is_told_in_one_line(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no connection: ") as caught:
        prepared(tmp_path / "d", source="sql", url=f"{kind}://reader:hush%40hush@127.0.0.1:1/shop", table="events")
    assert f"{kind.split('+')[0]}" in str(caught.value)
    assert "reader:***@127.0.0.1:1/shop" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_wrong_password_is_told_without_it(kind: str, request: pytest.FixtureRequest) -> None:
    url = text_of(request.getfixturevalue(kind).set(password="wrong-one"))
    with pytest.raises(DataError, match="no connection: ") as caught:
        sql.Relation(url, "events", None).open()
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("${NO_SUCH_VARIABLE}", "the environment variable NO_SUCH_VARIABLE is not set"),
        ("mysql://u:${NO_SUCH_VARIABLE}@h/d", "the environment variable NO_SUCH_VARIABLE is not set"),
        ("shop.db", "data.url: not the URL of a database"),
        ("paradox://u:hush@h/d", "paradox://u:***@h/d: SQLAlchemy knows no database 'paradox'"),
        ("sqlite:////nowhere/shop.db", "no such file: /nowhere/shop.db"),
        ("oracle+oracledb://u:hush@h/d", "its driver is not installed (no module oracledb)"),
    ],
)
def test_a_url_that_leads_nowhere_is_told(url: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        sql.Relation(url, "events", None).open()
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_what_a_driver_says_is_shown_without_secrets() -> None:
    url = sa.make_url("mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BUID%3Drd%3BPWD%3Dhu%2Fsh&authkey=quiet")
    secrets = sql._secrets(url, ["rd:env=value"])
    said = sql._scrubbed("login with hu/sh, hu%2Fsh, quiet, rd:env=value or env=value failed", secrets)
    assert said == "login with ***, ***, ***, *** or *** failed"


@pytest.mark.parametrize(("module", "url"), [("sqlalchemy", "sqlite://"), ("pymysql", "mysql://u@h/d"),
                                             ("psycopg", "postgres://u@h/d")])  # fmt: skip
def test_what_is_not_installed_is_named_with_its_extra(
    module: str, url: str, monkeypatch: pytest.MonkeyPatch, without_module: Callable[[str], None]
) -> None:
    without_module(module)
    with pytest.raises(MissingExtraError, match=rf"\[sql\] \(no module {module}\)\. .*\[sql\]'"):
        sql.Relation(url, "events", None).open()


@pytest.fixture
def without_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a module look as if it were not installed."""
    import builtins

    real = builtins.__import__

    def hide(name: str) -> None:
        def fake(wanted: str, *args: object, **more: object) -> object:
            if wanted.split(".")[0] == name:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return real(wanted, *args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(builtins, "__import__", fake)

    return hide


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+pymysql://user:hush@host/db", "mysql+pymysql://user:***@host/db"),
        ("mysql://user:hu@sh@host/db", "mysql://user:***@host/db"),
        ("mysql://user:hu/sh@host:3306/db", "mysql://user:***@host:3306/db"),
        ("mysql://user:${DB_PASSWORD}@host/db", "mysql://user:${DB_PASSWORD}@host/db"),
        ("mysql://user:hush${A}@host/db", "mysql://user:***@host/db"),
        ("postgresql://host/db?user=u&password=hush", "postgresql://host/db?user=u&password=***"),
        ("mysql://host:3306/db", "mysql://host:3306/db"),
        ("${DB_URL}", "${DB_URL}"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown
    recipe = Recipe.model_validate({"data": {"source": "sql", "url": url, "table": "t"}})
    assert json.loads(dump_recipe(recipe))["data"]["url"] == shown
    assert "hush" not in repr(recipe)


def test_a_recipe_with_a_wrong_url_does_not_show_the_password(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[data]\nsource = "sql"\nitems = "mysql://u:hush@h/d"\n')
    for overrides in ([], ["url=mysql://u:hush@h/d"]):
        with pytest.raises(Exception, match=r"\*\*\*") as caught:
            load_recipe(path, overrides)
        assert "hush" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("written_out", [True, False])
def test_a_run_leaves_no_password_anywhere(
    server: sa.URL,
    written_out: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither one that is written in the recipe nor one from the environment."""
    from edgerec.pipeline import Run
    from edgerec.progress import Progress

    caplog.set_level(logging.DEBUG)
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    columns = [sa.Column("n", sa.Integer, primary_key=True), sa.Column("u", sa.Integer), sa.Column("i", sa.Integer)]
    rows = [{"n": n + 1, "u": n % 40, "i": (n * n + n // 7) % 30} for n in range(800)]
    fill(engine, "events", columns, rows)
    try:
        url = text_of(server)
        if not written_out:
            monkeypatch.setenv("DB_PASSWORD", PASSWORD)
            url = f"mysql+pymysql://reader:${{DB_PASSWORD}}@127.0.0.1:{server.port}/shop"
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(
            f'[data]\nsource = "sql"\nurl = "{url}"\ntable = "events"\n'
            'columns = { user = "u", item = "i", time = "n" }\n'
            '[model]\nencoder = "mean"\ndim = 8\nmax_history = 8\n[train]\nepochs = 1\n[prune]\nenabled = false\n'
            '[convert]\nschemes = ["float32"]\ntop_k = 5\n[report]\nhistories = 10\n'
        )
        run = Run(load_recipe(recipe), tmp_path / "run", Progress())
        assert run.report
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("drop table events")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"recipe.json", "report.json", "report.html", "dataset.json"} <= {path.name for path in files}
    said = caplog.text + "".join(capfd.readouterr())
    for secret in (PASSWORD, URL_PASSWORD, json.dumps(PASSWORD)[1:-1]):
        assert secret not in said
        assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert os.environ.get("DB_PASSWORD") == (None if written_out else PASSWORD)
