"""``edgerec-device recommend``: the best items for a history."""

from collections.abc import Sequence
from pathlib import Path

import click

from device_runner.bundle import Bundle
from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.command import json_option, print_json
from device_runner.history import read_history
from device_runner.recommender import Recommender
from device_runner.user_features import user_rows


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
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many items to recommend.")
@click.option(
    "--user",
    multiple=True,
    metavar="NAME=VALUE",
    help="What is known of the user, for a model with user features (inspect lists them); may be repeated.",
)
@click.option("--exclude", multiple=True, metavar="ITEM", help="An item id never to return; may be repeated.")
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
    keep_seen: bool | None,
    explain: bool,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Recommend items for the history in a file or a store.

    Example: edgerec-device recommend model.tflite --history history.csv -k 5
    """
    if (history_path is None) == (database is None):
        raise click.UsageError("give the history by --history FILE or by --history-db FILE")
    recommender = Recommender.load(model, backend, threads)
    known = _known(user, recommender.bundle)
    exclude_history = None if keep_seen is None else not keep_seen
    if history_path is not None:
        history = read_history(history_path, recommender.bundle.item_column)
        found = recommender.recommend(history, k, exclude, exclude_history, known, explain)
    else:
        assert database is not None
        from device_runner.history_store import History  # SQLite is loaded only where a store is used

        with History(database, create=False) as store:
            history = store.items()
            if recommender.contract.state and not explain:
                from device_runner.kept_state import recommend_stored

                found = recommend_stored(recommender, store, k, exclude, exclude_history, known)
            else:
                found = recommender.recommend(history, k, exclude, exclude_history, known, explain)
    if as_json:
        print_json(
            {
                "model": recommender.bundle.name,
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
    for place, entry in enumerate(found, 1):
        line = f"{place:>3}  {entry.score:>8.3f}  {entry.item:<12}  {entry.title}".rstrip()
        if entry.because is not None:
            line += f"  because of {_called(entry.because, recommender.bundle)}"
        click.echo(line)


def _called(item: str, bundle: Bundle) -> str:
    """The title of an item of the catalogue, or its id where it has none."""
    return (bundle.titles[bundle.items.index(item)] if bundle.titles else "") or item


def _known(options: Sequence[str], bundle: Bundle) -> dict[str, str]:
    """The options ``--user`` as names and values; a value that the model does not know gets a warning."""
    known = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise click.BadParameter(f"{option!r} is not NAME=VALUE", param_hint="--user")
        known[name] = value
    try:
        user_rows(bundle.user_features, known)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--user") from None
    for feature in bundle.user_features:
        if feature.name in known and feature.row_of(known[feature.name]) is None:
            shown = f"{feature.name}={known[feature.name]}"
            click.echo(f"{shown} is not known to the model and was skipped; it knows {feature.describe()}.", err=True)
    return known
