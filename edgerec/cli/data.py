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
    """Show what is in the data set of RECIPE: what was read and left out, lengths, skew, ties, times, features.

    A data set that OUT already has is not changed: if RECIPE means another one, that is prepared in a temporary folder.
    """
    from edgerec.data.describe import describe, describe_lines

    with run.stages.prepared.preview() as dataset:
        document = describe(dataset)
    if as_json:
        print_json(document)
        return
    for line in describe_lines(document):
        click.echo(line)
