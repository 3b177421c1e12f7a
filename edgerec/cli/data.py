"""``edgerec data prepare`` and ``edgerec data describe``."""

from typing import TYPE_CHECKING

import click

from device_runner.command import print_json
from edgerec.cli.options import recipe_options

if TYPE_CHECKING:
    from edgerec.pipeline import Run


@click.group()
def data() -> None:
    """Prepare and describe data sets."""


@data.command("prepare")
@recipe_options
def data_prepare(run: "Run", as_json: bool) -> None:
    """Read, clean and split the tables of RECIPE into OUT/dataset."""
    dataset = run.dataset
    if as_json:
        print_json(dataset.info)
    else:
        click.echo(
            f"{dataset.folder}: {dataset.users:,} users, {dataset.items:,} items, split {dataset.split_fingerprint}"
        )


@data.command("describe")
@recipe_options
def data_describe(run: "Run", as_json: bool) -> None:
    """Show what is in the data set of RECIPE, preparing it first if need be."""
    from edgerec.data.describe import describe

    document = describe(run.dataset)
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        if isinstance(value, dict) and name != "features":
            value = ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in value.items())
        if name != "features":
            click.echo(f"{name:<20}{value}")
    for of, features in document["features"].items():
        for name, facts in features.items():
            shown = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items())
            click.echo(f"{of}: {name:<20}{shown}")
