"""``edgerec-device similar``: the items nearest to one, by the model."""

from pathlib import Path

import click

from device_runner.cli.listing import allowed, called, caps, list_options, show_list
from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.command import json_option, print_json
from device_runner.errors import EdgeRecError
from device_runner.recommender import Recommender


@click.command(short_help="List the items nearest to one.")
@MODEL
@click.argument("item")
@list_options
@BACKEND
@THREADS
@json_option
def similar(
    model: Path,
    item: str,
    k: int,
    exclude: tuple[str, ...],
    allow: tuple[str, ...],
    at_most: tuple[str, ...],
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """List the items that the model expects after ITEM so much more than after an average item.

    Example: edgerec-device similar model.tflite 1029743 -k 5
    """
    recommender = Recommender.load(model, backend, threads)
    bundle = recommender.bundle
    if not recommender.rows([item]):
        raise EdgeRecError(f"{item!r} is not in the catalogue of {model}; edgerec-device inspect shows what is")
    found = recommender.similar(item, k, exclude, allowed(allow, bundle), caps(at_most, bundle))
    if as_json:
        similar_items = [{"item": entry.item, "score": entry.score, "title": entry.title} for entry in found]
        print_json({"model": bundle.name, "backend": recommender.backend, "item": item, "similar": similar_items})
        return
    click.echo(f"Similar to {called(item, bundle)}:", err=True)
    show_list(found, bundle)
