"""``edgerec data prepare`` and ``edgerec data describe``."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

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
    from edgerec.data.describe import describe

    with run.stages.prepared.preview() as dataset:
        document = describe(dataset)
    if as_json:
        print_json(document)
        return
    features = document.pop("features")
    for name, value in _lines(document):
        click.echo(f"{name:<34}{value}")
    for of, columns in features.items():
        for name, facts in columns.items():
            click.echo(f"{f'{of}: {name}':<34}{', '.join(f'{key} {_shown(value)}' for key, value in facts.items())}")


def _lines(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The document's values with their names, those of sections as ``section name``."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{above}{name} ")
        elif value is not None:
            yield f"{above}{name}", _shown(value)


def _shown(value: Any) -> str:
    """Numbers as people read them: ``1,234``, ``0.0123``; lists with commas between."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() or abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)
