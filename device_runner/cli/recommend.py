"""``edgerec-device recommend``: the best items for a history."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from device_runner.cli.candidates import CONTEXT, features_of, values_of
from device_runner.cli.listing import allowed, caps, list_options, show_list
from device_runner.cli.options import BACKEND, MODEL, RANKER, RETRIEVE, THREADS, only_with_ranker
from device_runner.cli.user import USER, known_of_user, named_values
from device_runner.command import json_option, print_json
from device_runner.errors import EdgeRecError
from device_runner.history import read_valued_history
from device_runner.recommendations import Recommendations
from device_runner.recommender import Recommender
from device_runner.two_stage import TwoStage


@click.command(short_help="Recommend items for a history of events.")
@MODEL
@click.option(
    "--history",
    "history_path",
    type=click.Path(path_type=Path),
    help="The user's events, oldest first: CSV with a column item_id (or as in the bundle's data set), or JSON. A "
    "ranker may also read a column value (or rating).",
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
@RANKER
@CONTEXT
@RETRIEVE
@click.option(
    "--runs", type=click.IntRange(1), default=1, show_default=True, help="With --ranker: calls that are timed."
)
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
    ranker: Path | None,
    context: tuple[str, ...],
    retrieve: int,
    runs: int,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Recommend items for the history in a file. With --ranker, a ranking model puts what MODEL retrieves in order, and
    the times of both stages are told.

    \b
    Examples:
      edgerec-device recommend model.tflite --history history.csv -k 5
      edgerec-device recommend model.tflite --ranker ranker.tflite --history history.csv --context hour=18
    """
    if (history_path is None) == (database is None):
        raise click.UsageError("give the history by --history FILE or by --history-db FILE")
    if ranker is None and context:
        raise click.UsageError("a retrieval model reads nothing of the moment: leave out --context, or give a --ranker")
    if ranker is None:
        only_with_ranker("retrieve", "runs")
    elif explain:
        raise click.UsageError("--explain is of one model: leave out --explain or --ranker")
    exclude_history = None if keep_seen is None else not keep_seen
    more: dict[str, Any] = {}
    if ranker is not None:
        both = TwoStage.load(model, ranker, retrieve, backend, threads)
        recommender, bundle = both.recommender, both.recommender.bundle
        known: Mapping[str, object] = _known_of_both(user, both)
        moment = values_of(named_values(context, "--context"), features_of(both.ranker, "context"), "--context")
        rules: dict[str, Any] = {"allow": allowed(allow, bundle), "at_most": caps(at_most, bundle)}
        history, values = _events(history_path, database, bundle.item_column)
        try:
            for _ in range(runs):
                found = both.recommend(history, k, exclude, exclude_history, known, moment, values, **rules)
        except (TypeError, ValueError) as error:  # a number that is too large for the model
            raise EdgeRecError(str(error)) from None
        more = {"ranker": both.ranker.bundle.name, "times": both.report}
    else:
        recommender = Recommender.load(model, backend, threads)
        bundle = recommender.bundle
        known = known_of_user(user, bundle)
        rules = {"allow": allowed(allow, bundle), "at_most": caps(at_most, bundle)}
        if database is None or explain or not recommender.contract.state:
            history, _ = _events(history_path, database, bundle.item_column)
            found = recommender.recommend(history, k, exclude, exclude_history, known, explain, **rules)
        else:
            # SQLite is loaded only where a store is used.
            from device_runner.history_store import History
            from device_runner.kept_state import recommend_stored

            with History(database, create=False) as store:
                history = store.items()
                found = recommend_stored(recommender, store, k, exclude, exclude_history, known, **rules)
    if as_json:
        print_json(
            {
                "model": bundle.name,
                "backend": recommender.backend,
                "source": found.source,
                "events": len(history),
                "unknown": found.unknown,
                "recommendations": [vars(r) for r in found],
                **more,
            }
        )
        return
    _show(found, len(history), recommender, more)


def _show(found: Recommendations, events: int, recommender: Recommender, more: dict[str, Any]) -> None:
    if found.unknown:
        click.echo(f"{found.unknown} of {events} events are not in the catalogue and were skipped.", err=True)
    if found.source == "popularity":
        click.echo("No known event in the history: these are the most popular items.", err=True)
    show_list(found, recommender.bundle)
    if more:
        times = more["times"]
        said = ", ".join(f"{part} {times[f'{part}_ms']['p50']:.3f} ms" for part in ("retrieve", "rank", "total"))
        calls = f"p50 of {times['calls']} calls" if times["calls"] > 1 else "one call"
        click.echo(f"{said} ({calls}, {times['candidates']} candidates, {recommender.backend})", err=True)


def _events(
    history_path: Path | None, database: Path | None, item_column: str | None
) -> tuple[list[str], list[float | None] | None]:
    """The events of a file, with their values if it has any, or of a store."""
    if history_path is not None:
        return read_valued_history(history_path, item_column)
    assert database is not None
    from device_runner.history_store import History

    with History(database, create=False) as store:
        return store.items(), None


def _known_of_both(options: Sequence[str], both: TwoStage) -> dict[str, object]:
    """The options ``--user`` as values: numbers and categories as the ranker reads them, else texts."""
    named, bundle = named_values(options, "--user"), both.recommender.bundle
    ours, theirs = {feature.name for feature in bundle.user_features}, features_of(both.ranker, "user")
    if strange := [name for name in named if name not in ours and name not in theirs]:
        known = ", ".join(sorted({*ours, *theirs})) or "none"
        message = f"neither model has a user feature {strange[0]!r}; they have: {known}"
        raise click.BadParameter(message, param_hint="--user")
    of_recommender = known_of_user([option for option in options if option.partition("=")[0] in ours], bundle)
    of_ranker = values_of({name: text for name, text in named.items() if name in theirs}, theirs, "--user")
    return {**of_recommender, **of_ranker}
