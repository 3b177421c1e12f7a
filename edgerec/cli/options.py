"""What commands of ``edgerec`` share: arguments, options, and the check that the workstation toolkit is installed."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from device_runner.backends import NativeLogSilenced
from device_runner.command import json_option
from edgerec.errors import MissingExtraError

DEFAULT_RECIPE = Path("models/grocery/recipe.toml")
DATASET = click.option(
    "--dataset",
    "dataset_folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Prepared data set to test on, such as runs/NAME/dataset.",
)


def recipe_options(command: Callable[..., None]) -> Callable[..., Any]:
    """RECIPE, --out, --set, --force and --json; the command gets a ``Run``, ``as_json``, and options of its own."""

    @click.argument("recipe", type=click.Path(path_type=Path), default=DEFAULT_RECIPE)
    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the run's artifacts. Default: runs/NAME, after the data set's name.",
    )
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe key; may be repeated."
    )
    @click.option(
        "--force", is_flag=True, help="Reuse the folder --out for RECIPE's data set, if it belongs to another one."
    )
    @json_option
    @wraps(command)
    def wrapped(
        recipe: Path, out: Path | None, overrides: tuple[str, ...], force: bool, as_json: bool, **more: Any
    ) -> None:
        name = str(click.get_current_context().info_name)
        require_workstation(name)
        from edgerec.pipeline import Run
        from edgerec.progress import Progress
        from edgerec.recipe import load_recipe
        from edgerec.training.cluster import check_may_run

        if (prior := more.pop("prior", None)) is not None:
            overrides += (f"convert.prior={json.dumps(prior)}",)  # quoted, as a name such as 2024 is a number
        resolved = load_recipe(recipe, overrides)
        if resolved.train.strategy == "multiworker":
            check_may_run(name)
        command(Run(resolved, out or Path("runs", resolved.data.name), Progress(), force), as_json, **more)

    wrapped.__doc__ = f"{wrapped.__doc__}\n\nRECIPE: a TOML file; default: {DEFAULT_RECIPE}."
    return wrapped


def require_workstation(command: str) -> None:
    """Import what the workstation commands need.

    Raises:
        MissingExtraError: a package is absent.
    """
    try:
        with NativeLogSilenced():
            import edgerec.pipeline  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"edgerec {command}", "train", error.name) from None
