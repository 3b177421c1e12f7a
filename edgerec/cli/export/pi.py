"""``edgerec export pi``: a folder that installs on a device without a network."""

from pathlib import Path

import click

from converters.targets.pi import ARCHITECTURES, LITERT_PYTHONS, export_pi
from device_runner.command import json_option, print_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--arch",
    type=click.Choice(list(ARCHITECTURES)),
    default="arm64",
    show_default=True,
    help="Architecture of the device; armv7l is a 32-bit Raspberry Pi OS.",
)
@click.option(
    "--python",
    type=click.Choice(LITERT_PYTHONS),
    default="3.11",
    show_default=True,
    help="Python of the device: 3.11 on Raspberry Pi OS 12, 3.13 on 13.",
)
@click.option(
    "--wheel",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The wheel of this edgerec. Default: it is built from the clone.",
)
@json_option
def pi(model: Path, out: Path, arch: str, python: str, wheel: Path | None, as_json: bool) -> None:
    """Write a folder for a Raspberry Pi or another Linux device to OUT: the bundle MODEL, all wheels, an installer that
    needs no network, and a systemd unit for a JSON endpoint.

    OUT must not exist, be empty, or be an earlier export, which is replaced. Its README says how to install it; edgerec
    push does it from here.

    Example: edgerec export pi models/grocery/model.tflite build/pi
    """
    made = export_pi(model, out, arch, python, wheel, lambda line: click.echo(line, err=True))
    if as_json:
        print_json(made)
    else:
        click.echo(
            f"{out}: {made['bytes'] / 1e6:.1f} MB; on the device run ./install.sh, or here: edgerec push HOST {out}"
        )
