"""``edgerec export android``: a Gradle module in Kotlin."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ranker", type=click.Path(path_type=Path), help="A ranking bundle to put beside MODEL, for the class Ranker."
)
@click.option(
    "--runtime",
    type=click.Choice(["litert", "tensorflow-lite"]),
    default="litert",
    show_default=True,
    help="TFLite library of the module; tensorflow-lite runs fewer schemes and has no 16 KB pages.",
)
@json_option
def android(model: Path, out: Path, ranker: Path | None, runtime: str, as_json: bool) -> None:
    """Write a Gradle project to OUT: a library module in Kotlin with the bundle MODEL inside, and a sample app.

    OUT must not exist, or be empty. Its README says how to use the module in an app.

    Example: edgerec export android models/grocery/model.tflite build/android
    """
    from converters.targets.android import export_android

    files = export_android(model, out, ranker, runtime)
    if as_json:
        print_json({"folder": str(out), "files": files, "runtime": runtime})
    else:
        click.echo(f"{out}: {files} files; begin with {out / 'README.md'}")
