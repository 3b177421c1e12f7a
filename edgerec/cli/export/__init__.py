"""``edgerec export``: a model as a part of an app or of a device, one file for each target."""

import click

from device_runner.command import CONTEXT, Group
from edgerec.cli.export.pi import pi


@click.group(cls=Group, context_settings=CONTEXT)
def export() -> None:
    """Write a module with the model inside, ready for an app or a device."""


for target in (pi,):
    export.add_command(target)
