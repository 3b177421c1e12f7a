"""``edgerec-device score``: the scores of given items, by a retrieval or a ranking model."""

import math
from collections.abc import Sequence
from pathlib import Path

import click

from device_runner.bundle import Bundle
from device_runner.cli.candidates import CONTEXT, features_of, read_candidates, values_of
from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.cli.user import USER, known_of_user, named_values
from device_runner.command import json_option, print_json
from device_runner.contract import Ranking
from device_runner.errors import EdgeRecError, one_line
from device_runner.features import ITEM
from device_runner.history import read_history, read_valued_history
from device_runner.ranker import Candidate, Ranker
from device_runner.recommender import Recommender

# Items of which each has a score, None for one that is not known; and the name of the runtime.
Scored = tuple[list[str], list[float | None], str]


@click.command(short_help="Score given items.")
@MODEL
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option(
    "--history",
    "history_path",
    type=click.Path(path_type=Path),
    help="The user's events, oldest first, as for recommend. A ranking model may do without, and reads a column value "
    "(or rating) if it has learned from values.",
)
@USER
@CONTEXT
@click.option(
    "--candidates",
    "candidates_path",
    type=click.Path(path_type=Path),
    help="CSV or JSON file with more items. For a ranking model it may have columns of item features, whose values "
    "replace those in the bundle; several categories stand between |.",
)
@BACKEND
@THREADS
@json_option
def score(
    model: Path,
    items: tuple[str, ...],
    history_path: Path | None,
    user: tuple[str, ...],
    context: tuple[str, ...],
    candidates_path: Path | None,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Score given items, in the order in which they are given.

    \b
    Examples:
      edgerec-device score model.tflite --history history.csv 1029743 995242
      edgerec-device score ranker.tflite --user age=31 --context hour=18 --candidates shelf.csv
    """
    if not items and candidates_path is None:
        raise click.UsageError("name items to score, or a file with --candidates")
    bundle = Bundle.read(model)
    if isinstance(bundle.contract, Ranking):
        shown, scores, runtime = _ranked(model, items, history_path, user, context, candidates_path, backend, threads)
    else:
        if history_path is None:
            raise click.UsageError("a retrieval model scores items after a history: give one with --history")
        if context:
            raise click.UsageError("a retrieval model reads nothing of the moment: leave out --context")
        shown, scores, runtime = _retrieved(model, items, history_path, user, candidates_path, backend, threads)
    if as_json:
        scored = [{"item": item, "score": value} for item, value in zip(shown, scores, strict=True)]
        print_json({"model": bundle.name, "backend": runtime, "scores": scored})
        return
    titles = dict(zip(bundle.items, bundle.titles, strict=True)) if bundle.titles else {}
    for item, value in zip(shown, scores, strict=True):
        if value is None:
            click.echo(f"{'':>8}  {one_line(item):<12}  not in the catalogue")
        else:
            click.echo(f"{value:>8.3f}  {one_line(item):<12}  {one_line(titles.get(item, ''))}".rstrip())


def _retrieved(
    model: Path,
    items: Sequence[str],
    history_path: Path,
    user: Sequence[str],
    candidates_path: Path | None,
    backend: str,
    threads: int,
) -> Scored:
    recommender = Recommender.load(model, backend, threads)
    bundle = recommender.bundle
    ids = [*items, *(read_history(candidates_path, bundle.item_column) if candidates_path else [])]
    history = read_history(history_path, bundle.item_column)
    scores = recommender.score(history, ids, known_of_user(user, bundle))
    return ids, [None if math.isnan(score) else score for score in scores], recommender.backend


def _ranked(
    model: Path,
    items: Sequence[str],
    history_path: Path | None,
    user: Sequence[str],
    context: Sequence[str],
    candidates_path: Path | None,
    backend: str,
    threads: int,
) -> Scored:
    ranker = Ranker.load(model, backend, threads)
    column = ranker.bundle.item_column
    known_user = values_of(named_values(user, "--user"), features_of(ranker, "user"), "--user")
    known_context = values_of(named_values(context, "--context"), features_of(ranker, "context"), "--context")
    candidates: list[Candidate] = list(items)
    if candidates_path is not None:
        candidates += read_candidates(candidates_path, features_of(ranker, "item", "retrieval"), column)
    history, values = ([], None) if history_path is None else read_valued_history(history_path, column)
    try:
        scores = ranker.score(known_user, candidates, known_context, history, values)
    except (TypeError, ValueError) as error:  # a value in a JSON file
        raise EdgeRecError(f"{candidates_path or model}: {error}") from None
    shown = [one if isinstance(one, str) else str(one.get(ITEM, "")) for one in candidates]
    finite = [score if math.isfinite(score) else None for score in scores]
    return shown, finite, ranker.backend
