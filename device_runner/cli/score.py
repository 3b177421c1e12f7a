"""``edgerec-device score``: the scores of given items."""

import math
from pathlib import Path

import click

from device_runner.cli.listing import called
from device_runner.cli.options import BACKEND, HISTORY, MODEL, THREADS
from device_runner.cli.user import USER, known_of_user
from device_runner.command import json_option, print_json
from device_runner.history import read_history
from device_runner.recommender import Recommender


@click.command()
@MODEL
@HISTORY
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@USER
@BACKEND
@THREADS
@json_option
def score(
    model: Path,
    history_path: Path,
    items: tuple[str, ...],
    user: tuple[str, ...],
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Score given items after the history in a file, in the order in which they are given.

    Example: edgerec-device score model.tflite --history history.csv 1029743 995242
    """
    recommender = Recommender.load(model, backend, threads)
    bundle = recommender.bundle
    history = read_history(history_path, bundle.item_column)
    scores = recommender.score(history, items, known_of_user(user, bundle))
    known = [None if math.isnan(score) else score for score in scores]
    if as_json:
        scored = [{"item": item, "score": score} for item, score in zip(items, known, strict=True)]
        print_json({"model": bundle.name, "backend": recommender.backend, "scores": scored})
        return
    for item, value in zip(items, known, strict=True):
        if value is None:
            click.echo(f"{'':>8}  {item:<12}  not in the catalogue")
        else:
            title = called(item, bundle)
            click.echo(f"{value:>8.3f}  {item:<12}  {title if title != item else ''}".rstrip())
