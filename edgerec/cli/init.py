"""``edgerec init``: a first recipe for a table."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json
from edgerec.cli.options import require_workstation


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: recipe.toml in the current folder.",
)
@click.option("--force", is_flag=True, help="Overwrite a recipe that is there.")
@json_option
def init(table: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Write a recipe for TABLE, a file or folder of interactions; columns and thresholds are guessed and explained.

    Example: edgerec init orders.csv && edgerec run recipe.toml
    """
    require_workstation("init")
    from edgerec.artifact import write_file
    from edgerec.data.guess import guess_recipe
    from edgerec.errors import RecipeError

    path = out or Path("recipe.toml")
    if path.exists() and not force:
        raise RecipeError(f"{path}: exists already; name another file with --out, or overwrite it with --force")
    guessed = guess_recipe(table, path.resolve().parent)
    write_file(path, guessed.toml)
    if as_json:
        print_json({"recipe": str(path), "guesses": [{"what": what, "why": why} for what, why in guessed.guesses]})
        return
    for what, why in guessed.guesses:
        click.echo(f"{what}\n    {why}")
    click.echo(f"\n{path} is written; look at it, then: edgerec run {path}")
