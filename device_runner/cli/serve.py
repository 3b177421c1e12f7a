"""``edgerec-device serve``: recommendations for other programs of the same device."""

import logging
from dataclasses import replace
from pathlib import Path

import click

from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.serve import Address, Limits
from device_runner.serve import serve as run
from device_runner.serve.server import PORT


@click.command()
@MODEL
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on; others are refused."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--socket",
    "unix",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Listen on a Unix socket instead, which the owner and the group may use.",
)
@click.option(
    "--max-k",
    type=click.IntRange(1),
    default=Limits.k,
    show_default=True,
    help="The longest list that may be asked for.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=Limits.connections,
    show_default=True,
    help="Connections at the same time; a further one is told to try again.",
)
@BACKEND
@THREADS
def serve(
    model: Path,
    host: str,
    port: int,
    unix: Path | None,
    max_k: int,
    connections: int,
    backend: str,
    threads: int,
) -> None:
    """Serve a bundle as JSON to programs of this device: a loopback address or a Unix socket.

    POST /recommend takes the arguments of Recommender.recommend: {"history": ["1029743"], "k": 5}. POST /score takes
    "history" and "candidates", POST /similar "item" and "k". GET /health and GET /model say what is in service.

    SIGHUP loads the file again, after it gave the right answers in a process of its own; SIGTERM ends the server when
    open requests are answered.

    Example: edgerec-device serve model.tflite --port 8377
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    address = Address(host, port, unix)
    limits = Limits(k=max_k, connections=connections)

    def ready(server: object) -> None:
        taken = getattr(server, "server_port", port)
        click.echo(f"serving {model} on {replace(address, port=taken)}", err=True)

    run(model, address, backend, threads, limits, ready)
