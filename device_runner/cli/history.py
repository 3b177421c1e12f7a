"""``edgerec-device history``: the user's events in a store on the device."""

import os
import sys
import tempfile
from pathlib import Path

import click

from device_runner.command import json_option, print_json
from device_runner.errors import one_line

DATABASE = click.argument("database", type=click.Path(path_type=Path))
MAX_EVENTS = click.option(
    "--max-events", type=click.IntRange(1, 10**9), help="Keep the last so many events, from now on. A new store: 10000."
)
MAX_DAYS = click.option(
    "--max-days",
    type=click.FloatRange(0, 3_650_000, min_open=True),
    help="Keep the events of the last so many days, from now on. A new store: no limit.",
)


@click.group(short_help="Keep the user's events in a store on the device.")
def history() -> None:
    """Keep the user's events in a store on the device: an SQLite file that only its owner can read."""


@history.command(short_help="Add events, oldest first.")
@DATABASE
@click.argument("items", nargs=-1, required=True)
@click.option("--type", "kind", default="", help='What happened, such as "purchase".')
@click.option("--time", "when", default="", metavar="TIME", help="Seconds from 1970, or ISO 8601. Default: now.")
@MAX_EVENTS
@MAX_DAYS
def add(
    database: Path, items: tuple[str, ...], kind: str, when: str, max_events: int | None, max_days: float | None
) -> None:
    """Add events with the item ids ITEMS, oldest first, to DATABASE, which is made if there is none.

    When the command ends with 0, they are on the disk.

    Example: edgerec-device history add user.db 1029743 995242 --type purchase
    """
    from device_runner.history import seconds
    from device_runner.history_store import Event, History

    try:
        time = seconds(when)
        events = [Event(item, time, kind) for item in items]
        store = History(database, max_events, max_days)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with store:
        kept, held = store.extend(events), len(store)
    if kept < len(events):
        click.echo(f"{len(events) - kept} of {len(events)} events are beyond the store's limits.", err=True)
    click.echo(f"{kept} added, {held:,} events in {database}")


@history.command("list", short_help="List the events, oldest first.")
@DATABASE
@click.option("--last", type=click.IntRange(1), help="Only so many of the newest events.")
@click.option("--type", "types", multiple=True, help="Only events of this type; may be repeated.")
@json_option
def show(database: Path, last: int | None, types: tuple[str, ...], as_json: bool) -> None:
    """List the events of DATABASE, oldest first."""
    from device_runner.history_store import History

    with History(database, create=False) as store:
        events, limits = store.events(last, types or None), store.limits
    if as_json:
        print_json({"limits": limits, "events": [event.to_json() for event in events]})
        return
    for event in events:
        fields = event.to_json()
        # An id may hold line feeds and codes that terminals obey.
        item, kind = one_line(fields["item_id"]), one_line(fields["type"])
        click.echo(f"{fields['time']:<27}  {item:<12}  {kind}".rstrip())


@history.command("import", short_help="Add the events of a file, all or none.")
@DATABASE
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--item-column", help="Name of the column with the item ids, if it is not item_id.")
@MAX_EVENTS
@MAX_DAYS
def import_(
    database: Path, file: Path, item_column: str | None, max_events: int | None, max_days: float | None
) -> None:
    """Add the events of FILE to DATABASE, all or none.

    FILE is CSV with a column item_id, or JSON, as recommend reads it; the columns time (seconds from 1970, or ISO 8601)
    and type are optional. What export wrote is read back unchanged.
    """
    from device_runner.history import read_events
    from device_runner.history_store import History

    events = read_events(file, item_column)
    try:
        store = History(database, max_events, max_days)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with store:
        kept = store.extend(events)
    click.echo(f"{kept:,} events added" + (f", {len(events) - kept:,} beyond the limits" * (kept < len(events))))


@history.command(short_help="Write the events as CSV or JSON.")
@DATABASE
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="Default: by the name of FILE, else csv.")
def export(database: Path, file: Path, form: str | None) -> None:
    """Write the events of DATABASE to FILE (CSV or JSON), which only its owner can read, or to standard output."""
    from device_runner.history_store import History

    with History(database, create=False) as store:
        text = store.export(form or ("json" if file.suffix.lower() == ".json" else "csv"))
    if str(file) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".tmp", dir=file.absolute().parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)


@history.command(short_help="Remove every event of an item.")
@DATABASE
@click.argument("item")
def remove(database: Path, item: str) -> None:
    """Remove every event of ITEM from DATABASE, and from what a model remembers of the user there."""
    from device_runner.history_store import History

    with History(database, create=False) as store:
        click.echo(f"events removed: {store.remove(item):,}")


@history.command(short_help="Erase all events.")
@DATABASE
@click.confirmation_option(prompt="Erase all events?", help="Erase without asking.")
def clear(database: Path) -> None:
    """Erase all events of DATABASE, and what a model remembers of the user there; the bytes are overwritten."""
    from device_runner.history_store import History

    with History(database, create=False) as store:
        events = len(store)
        store.clear()
    click.echo(f"{events:,} events erased")
