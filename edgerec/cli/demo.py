"""``edgerec demo``: the page of a web export, on this machine."""

import threading
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path), default=Path("models/grocery/model.tflite"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0: any free one.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def demo(model: Path, port: int, open_browser: bool) -> None:
    """Serve a page that recommends with MODEL in the browser, on the loopback only, until Ctrl-C.

    MODEL: a bundle, or a folder that edgerec export web wrote. Default: models/grocery/model.tflite.

    Example: edgerec demo models/grocery/model.tflite
    """
    from converters.targets.web.demo import served

    with served(model, port) as url:
        click.echo(f"{url} serves {model}; end it with Ctrl-C")
        if open_browser:
            click.launch(url)
        threading.Event().wait()
