"""``edgerec-device recommend``: the best items for a history."""

from pathlib import Path
from typing import Any

import click

from device_runner.cli.listing import allowed, caps, list_options, show_list
from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.cli.user import USER, known_of_user
from device_runner.command import json_option, print_json
from device_runner.history import read_history
from device_runner.recommender import Recommender


@click.command()
@MODEL
@click.option(
    "--history",
    "history_path",
    type=click.Path(path_type=Path),
    help="The user's events, oldest first: CSV with a column item_id (or as in the bundle's data set), or JSON.",
)
@click.option(
    "--history-db",
    "database",
    type=click.Path(path_type=Path),
    help="A store of the user's events instead (see history). The state of a recurrent model is kept in it, so that a "
    "new event costs one step.",
)
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
    history_path: Path | None,
    database: Path | None,
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
    if (history_path is None) == (database is None):
        raise click.UsageError("give the history by --history FILE or by --history-db FILE")
    recommender = Recommender.load(model, backend, threads)
    bundle = recommender.bundle
    known = known_of_user(user, bundle)
    exclude_history = None if keep_seen is None else not keep_seen
    rules: dict[str, Any] = {"allow": allowed(allow, bundle), "at_most": caps(at_most, bundle)}
    if history_path is not None:
        history = read_history(history_path, bundle.item_column)
        found = recommender.recommend(history, k, exclude, exclude_history, known, explain, **rules)
    else:
        assert database is not None
        from device_runner.history_store import History  # SQLite is loaded only where a store is used

        with History(database, create=False) as store:
            history = store.items()
            if recommender.contract.state and not explain:
                from device_runner.kept_state import recommend_stored

                found = recommend_stored(recommender, store, k, exclude, exclude_history, known, **rules)
            else:
                found = recommender.recommend(history, k, exclude, exclude_history, known, explain, **rules)
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
