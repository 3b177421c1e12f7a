"""``edgerec export web``: a page and an ES module."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--litert",
    "tarballs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with the packages of LiteRT.js, as npm pack writes them. Default: npm fetches them once (12 MB).",
)
@json_option
def web(model: Path, out: Path, tarballs: Path | None, as_json: bool) -> None:
    """Write a folder for any web server to OUT: the bundle MODEL, an ES module that recommends with it in the browser,
    and a page to try it.

    OUT must not exist, be empty, or be an earlier export, which is replaced. Its README says how to use the module.

    Example: edgerec export web models/grocery/model.tflite build/web
    """
    from converters.targets.web.export import export_web

    export_web(model, out, tarballs)
    if as_json:
        print_json({"folder": str(out), "files": sum(path.is_file() for path in out.rglob("*"))})
    else:
        click.echo(f"{out}: try it with: edgerec demo {out}; its README.md says how to use it in a page of your own")
