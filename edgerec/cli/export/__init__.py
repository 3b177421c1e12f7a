"""``edgerec export``: a model as a part of an app or of a device, one file for each target."""

import click

from device_runner.command import CONTEXT, Group
from edgerec.cli.export.android import android
from edgerec.cli.export.ios import ios
from edgerec.cli.export.pi import pi
from edgerec.cli.export.web import web


@click.group(cls=Group, context_settings=CONTEXT)
def export() -> None:
    """Write a module with the model inside, ready for an app or a device."""


for target in (android, ios, pi, web):
    export.add_command(target)
