"""``edgerec-device serve``: recommendations for other programs of the same device."""

import logging
from dataclasses import replace
from pathlib import Path

import click

from device_runner.cli.options import BACKEND, MODEL, RANKER, RETRIEVE, THREADS, only_with_ranker
from device_runner.serve import Address, Limits, Source
from device_runner.serve import serve as run
from device_runner.serve.server import PORT


@click.command(short_help="Serve a model as JSON to programs of this device.")
@MODEL
@RANKER
@RETRIEVE
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
    ranker: Path | None,
    retrieve: int,
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

    If MODEL is a ranking model, POST /score takes the arguments of Ranker.score: {"user": {"age": 31}, "candidates":
    ["995242"]}. With --ranker, POST /recommend has the items in the order of RANKER, takes "context" and
    "history_values" too, and POST /score is RANKER's.

    SIGHUP loads the file again, after it gave the right answers in a process of its own; SIGTERM ends the server when
    open requests are answered.

    Example: edgerec-device serve model.tflite --port 8377
    """
    if ranker is None:
        only_with_ranker("retrieve")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    address = Address(host, port, unix)
    limits = Limits(k=max_k, connections=connections)

    def ready(server: object) -> None:
        taken = getattr(server, "server_port", port)
        files = " and ".join(map(str, source.files))
        click.echo(f"serving {files} on {replace(address, port=taken)}", err=True)

    source = Source(model, ranker, retrieve, backend, threads)
    run(source, address, limits, ready)
