"""Arguments and options that several commands share."""

from pathlib import Path

import click

from device_runner.backends import BACKENDS

MODEL = click.argument("model", type=click.Path(path_type=Path))
BACKEND = click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default="auto",
    show_default=True,
    help="TFLite runtime; auto takes the first installed one that the file was verified on.",
)
THREADS = click.option(
    "--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Interpreter threads."
)
HISTORY = click.option(
    "--history",
    "history_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The user's events, oldest first: CSV with a column item_id (or as in the bundle's data set), or JSON.",
)
