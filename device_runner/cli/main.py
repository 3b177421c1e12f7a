"""The group of all commands."""

import click

from device_runner.cli.bench import bench
from device_runner.cli.inspect import inspect
from device_runner.cli.recommend import recommend
from device_runner.cli.score import score
from device_runner.cli.similar import similar
from device_runner.command import CONTEXT, Group
from device_runner.version import __version__


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="edgerec-device")
def main() -> None:
    """Score a local user history with an edgerec bundle."""


for command in (recommend, score, similar, bench, inspect):
    main.add_command(command)
