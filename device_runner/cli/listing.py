"""Lists of items on the command line: the rules for them, and how they are shown."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from device_runner.bundle import Bundle
from device_runner.errors import EdgeRecError, one_line
from device_runner.history import read_history
from device_runner.recommendations import Recommendations
from device_runner.selection import caps_of

Function = TypeVar("Function", bound=Callable[..., Any])


def list_options(function: Function) -> Function:
    """Add ``-k``, ``--exclude``, ``--allow`` and ``--at-most``."""
    for option in (
        click.option(
            "--at-most",
            multiple=True,
            metavar="NAME=COUNT",
            help="At most so many items that share a value of an attribute, such as category=3 (inspect lists the "
            "attributes); may be repeated.",
        ),
        click.option(
            "--allow",
            multiple=True,
            metavar="FILE|ITEM",
            help="Return only this item id, or only those in this file (in the form of a history); may be repeated.",
        ),
        click.option("--exclude", multiple=True, metavar="ITEM", help="An item id never to return; may be repeated."),
        click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many items to list."),
    ):
        function = option(function)
    return function


def allowed(options: Sequence[str], bundle: Bundle) -> list[str] | None:
    """The ids that the options ``--allow`` name; ``None`` without any.

    Raises:
        HistoryError: a file cannot be read.
    """
    if not options:
        return None
    ids: list[str] = []
    for option in options:
        ids += read_history(option, bundle.item_column) if Path(option).is_file() else [option]
    known = sum(item in bundle.items for item in set(ids)) if len(ids) < 1000 else 1
    if not known:
        raise EdgeRecError(f"--allow: none of its {len(ids):,} ids is in the catalogue of {bundle.path}")
    return ids


def caps(options: Sequence[str], bundle: Bundle) -> dict[str, int] | None:
    """The options ``--at-most`` by name of the attribute; ``None`` without any."""
    counts = {}
    for option in options:
        name, equals, count = option.partition("=")
        if not equals or not count.isdecimal() or len(count) > 9:
            raise click.BadParameter(f"{option!r} is not NAME=COUNT", param_hint="--at-most")
        counts[name] = int(count)
    try:
        caps_of(counts, bundle.attributes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at-most") from None
    return counts or None


def show_list(found: Recommendations, bundle: Bundle) -> None:
    """One line for each item: place, score, id and title, and why where that is known."""
    for place, entry in enumerate(found, 1):
        line = f"{place:>3}  {entry.score:>8.3f}  {one_line(entry.item):<12}  {one_line(entry.title)}".rstrip()
        if entry.because is not None:
            line += f"  because of {called(entry.because, bundle)}"
        click.echo(line)


def called(item: str, bundle: Bundle) -> str:
    """The title of an item of the catalogue, or its id where it has none."""
    return one_line((bundle.titles[bundle.items.index(item)] if bundle.titles else "") or item)
