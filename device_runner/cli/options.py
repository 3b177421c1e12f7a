"""Arguments and options that several commands share."""

from pathlib import Path

import click
from click.core import ParameterSource

from device_runner.backends import BACKENDS

MODEL = click.argument("model", type=click.Path(path_type=Path))
BACKEND = click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default="auto",
    show_default=True,
    help="TFLite runtime; auto takes the first installed one that the file was verified on.",
)
RANKER = click.option(
    "--ranker",
    type=click.Path(path_type=Path),
    metavar="RANKER",
    help="A ranking bundle that puts what MODEL retrieves in order.",
)
RETRIEVE = click.option(
    "--retrieve",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="With --ranker: how many items are retrieved for it.",
)
THREADS = click.option(
    "--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Interpreter threads."
)


def only_with_ranker(*names: str) -> None:
    """Refuse options of two stages, by the names of their parameters, that were given to one model.

    Raises:
        click.UsageError: one was given.
    """
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is for two stages: leave it out, or give a --ranker")
