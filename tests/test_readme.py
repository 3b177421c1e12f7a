"""Every command and every program of the README, run as they stand there on a small shop of real purchases."""

import re
import shlex
import shutil
from pathlib import Path

import click
import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from device_runner.cli import main as device
from edgerec.cli.main import main as workstation
from edgerec.data.sources.movielens import GENRES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# So little is learned that it takes seconds.
SHORT = "\n[train]\nepochs = 1\n[prune]\nepochs = 1\n[report]\nhistories = 20\n"
COMMANDS: dict[str, click.Command] = {"edgerec": workstation, "edgerec-device": device}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


@pytest.fixture(scope="module")
def shop(purchases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README speaks of."""
    folder = tmp_path_factory.mktemp("shop")
    source = f"(from read_csv('{purchases}/purchases.csv', all_varchar = true) where household::int <= 100)"
    orders = f'select household as customer, product as sku, "when" as ordered_at from {source}'
    duckdb.execute(f"copy ({orders}) to '{folder}/orders.csv' (header)")
    duckdb.execute(f"copy ({orders}) to '{folder}/orders.parquet' (format parquet)")
    products = f"read_csv('{purchases}/products.csv', all_varchar = true)"
    columns = "product_id as sku, product_type as name, brand"
    duckdb.execute(f"copy (select {columns} from {products}) to '{folder}/products.csv' (header)")
    duckdb.execute(f"copy (select {columns} from {products} limit 3) to '{folder}/new.csv' (header)")
    ages = f"select distinct household as customer, 18 + household::int % 60 as age from {source}"
    duckdb.execute(f"copy ({ages}) to '{folder}/customers.csv' (header)")
    as_movielens(folder / "ml-100k", source, products)
    for name in ("models", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("model.tflite", "new.tflite"):
        shutil.copy(ROOT / "models" / "grocery" / "model.tflite", folder / name)
    (recipe,) = [block for block in blocks("toml") if 'name = "shop"' in block]
    assert "max_ndcg_drop = 0.05" in recipe
    # After one epoch there may be no hit, and then no loss can be measured.
    (folder / "shop.toml").write_text(recipe.replace("max_ndcg_drop = 0.05", "max_bytes = 10_000_000") + SHORT)
    return folder


def as_movielens(folder: Path, purchases: str, products: str) -> None:
    """A folder like that of MovieLens-100K: households rate products by how many they buy, at most 5."""
    folder.mkdir()
    ratings = f'household, product, least(quantity::int, 5), epoch("when"::timestamp)::bigint from {purchases}'
    genres = ", ".join(str(int(place == 5)) for place in range(len(GENRES)))
    films = f"product_id, replace(product_type, '|', ' '), '01-Jan-1995', '', '', {genres} from {products}"
    people = f"distinct household, 18 + household::int % 60, 'F', 'other', '00000' from {purchases}"
    for name, columns, delimiter in (("u.data", ratings, "\t"), ("u.item", films, "|"), ("u.user", people, "|")):
        copy = f"copy (select {columns}) to '{folder / name}' (header false, quote '', delimiter '{delimiter}')"
        duckdb.execute(copy)


@pytest.mark.slow
def test_every_command_of_the_readme_works(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    ran = 0
    for name, *arguments in commands():
        if name == "make":
            (target,) = arguments
            assert f"\n{target}: " in (ROOT / "Makefile").read_text()
            continue
        result = CliRunner().invoke(COMMANDS[name], arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        assert result.stdout.strip(), arguments
        if arguments[0] == "init":
            Path("recipe.toml").write_text(Path("recipe.toml").read_text() + SHORT)
        ran += 1
    assert ran >= 12
    assert len(pd.read_csv(shop / "all.csv")) == 10 * len(pd.read_csv(shop / "customers.csv"))


@pytest.mark.slow
def test_every_program_of_the_readme_works(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    programs = blocks("python")
    assert len(programs) == 2
    for program in programs:
        # The last line of a notebook's cell is shown; here every bare expression is evaluated.
        exec(compile(program, "README.md", "exec"), {"orders": pd.read_parquet("orders.parquet")})


def test_every_recipe_of_the_readme_is_valid(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgerec.recipe import load_recipe

    monkeypatch.chdir(shop)
    for block in blocks("toml"):
        Path("readme.toml").write_text(block)
        assert load_recipe(Path("readme.toml")).data
