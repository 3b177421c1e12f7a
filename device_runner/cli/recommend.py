"""``edgerec-device recommend``: the best items for a history."""

from pathlib import Path

import click

from device_runner.cli.listing import allowed, caps, list_options, show_list
from device_runner.cli.options import BACKEND, HISTORY, MODEL, THREADS
from device_runner.cli.user import USER, known_of_user
from device_runner.command import json_option, print_json
from device_runner.history import read_history
from device_runner.recommender import Recommender


@click.command()
@MODEL
@HISTORY
@list_options
@USER
@click.option(
    "--keep-seen/--exclude-seen",
    default=None,
    help="Whether items of the history may be recommended again. Default: as the model was measured.",
)
@click.option("--explain", is_flag=True, help="Name the event of the history that contributed most to each item.")
@BACKEND
@THREADS
@json_option
def recommend(
    model: Path,
    history_path: Path,
    k: int,
    user: tuple[str, ...],
    exclude: tuple[str, ...],
    allow: tuple[str, ...],
    at_most: tuple[str, ...],
    keep_seen: bool | None,
    explain: bool,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Recommend items for the history in a file.

    Example: edgerec-device recommend model.tflite --history history.csv -k 5
    """
    recommender = Recommender.load(model, backend, threads)
    bundle = recommender.bundle
    history = read_history(history_path, bundle.item_column)
    known = known_of_user(user, bundle)
    exclude_history = None if keep_seen is None else not keep_seen
    found = recommender.recommend(
        history, k, exclude, exclude_history, known, explain, allowed(allow, bundle), caps(at_most, bundle)
    )
    if as_json:
        print_json(
            {
                "model": bundle.name,
                "backend": recommender.backend,
                "source": found.source,
                "events": len(history),
                "unknown": found.unknown,
                "recommendations": [vars(r) for r in found],
            }
        )
        return
    if found.unknown:
        click.echo(f"{found.unknown} of {len(history)} events are not in the catalogue and were skipped.", err=True)
    if found.source == "popularity":
        click.echo("No known event in the history: these are the most popular items.", err=True)
    show_list(found, bundle)
