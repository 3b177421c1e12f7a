"""Do the three tables of MovieLens-100K in a MariaDB database give the figures of the files?

``MOVIELENS_100K=FOLDER pytest tests/bench_movielens_sql.py`` loads the release into a database of its own, trains the
recipe of the zoo on the database and on the files, and compares data sets, scores and figures. Takes about ten minutes
(``EPOCHS=2`` is faster).
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from servers import mariadb  # noqa: F401  (fixture)

from edgerec.data.sources.movielens import LAYOUTS, tidied
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import load_recipe

RECIPE = Path(__file__).parents[1] / "models" / "movielens-100k" / "recipe.toml"
TABLES = {"ratings": "u.data", "films": "u.item", "people": "u.user"}


def fill(engine: sa.Engine, folder: Path) -> None:
    """Three tables with primary keys: the interactions in the order of the file, films and people by their ids."""
    with engine.connect() as connection:
        for name, file in TABLES.items():
            layout = LAYOUTS[file]
            table = pd.read_csv(
                folder / file, sep=layout.delimiter, names=layout.columns, dtype=str, encoding="latin-1",
                keep_default_na=False,
            )  # fmt: skip
            table = tidied(folder / file, table)
            key = table.columns[0] if name != "ratings" else "number"
            if key == "number":
                table.insert(0, key, range(1, len(table) + 1))
            types = {column: sa.Integer() if column == "number" else sa.String(200) for column in table}
            columns = [sa.Column(column, types[column], primary_key=column == key) for column in table]
            made = sa.Table(name, sa.MetaData(), *columns, mysql_charset="utf8mb4")
            made.create(connection)
            rows = table.astype(object).where(table.notna() & (table != ""), None)
            connection.execute(made.insert(), rows.to_dict("records"))
        connection.commit()


def of_the_database(url: sa.URL) -> list[str]:
    """What the recipe is given to read the tables."""
    return [
        'data.source="sql"',
        f'data.url="{url.render_as_string(hide_password=False)}"',
        'data.table="ratings"',
        'data.columns={ user = "userId", item = "movieId", time = "timestamp", value = "rating" }',
        'data.items={ table = "films", id = "movieId", title = "title", multi = { genres = "|" } }',
        'data.users={ table = "people", id = "userId" }',
    ]


def test_a_database_gives_the_figures_of_the_files(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "MOVIELENS_100K" not in os.environ:
        pytest.skip("MOVIELENS_100K is not set: the unpacked folder of the release")
    folder = Path(os.environ["MOVIELENS_100K"])
    url: sa.URL = request.getfixturevalue("mariadb")
    fill(sa.create_engine(url), folder)
    short = [f"train.epochs={os.environ['EPOCHS']}"] if "EPOCHS" in os.environ else []
    runs: dict[str, Any] = {}
    for name, overrides in (("files", [f'data.path="{folder}"']), ("database", of_the_database(url))):
        runs[name] = Run(load_recipe(RECIPE, [*overrides, *short]), tmp_path / name, Progress())
    files, database = runs["files"], runs["database"]
    assert files.dataset.split_fingerprint == database.dataset.split_fingerprint
    assert files.dataset.features("items") == database.dataset.features("items")
    assert files.dataset.features("users") == database.dataset.features("users")
    quality = [[variant["quality"] for variant in run.report["variants"]] for run in (files, database)]
    print(files.dataset.split_fingerprint, quality[0][-1])
    assert quality[0] == quality[1]
