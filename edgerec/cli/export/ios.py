"""``edgerec export ios``: a Swift package."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ranker", type=click.Path(path_type=Path), help="A ranking bundle to put beside MODEL, for the class Ranker."
)
@json_option
def ios(model: Path, out: Path, ranker: Path | None, as_json: bool) -> None:
    """Write a Swift package to OUT, with the bundle MODEL inside, and a sample app in SwiftUI.

    OUT must not exist, be empty, or be an earlier export, which is replaced. Its README says how to use the package in
    an app.

    Example: edgerec export ios models/grocery/model.tflite build/ios
    """
    from converters.targets.ios import export_ios

    export_ios(model, out, ranker)
    if as_json:
        print_json({"folder": str(out), "files": sum(path.is_file() for path in out.rglob("*"))})
    else:
        click.echo(f"{out}: begin with {out / 'README.md'}")
