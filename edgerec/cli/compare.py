"""``edgerec compare``."""

from pathlib import Path
from typing import Any

import click

from device_runner.command import json_option, print_json
from edgerec.cli.options import require_workstation


@click.command(short_help="Compare the files that finished runs ship.")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare the files that finished runs of one data set ship; each RUN is a folder such as runs/NAME.

    Changes are relative differences of NDCG@10 against the first RUN, target by target, with 95 % intervals; of ranking
    runs, changes of every figure, by user.

    Example: edgerec compare runs/gru runs/sasrec
    """
    require_workstation("compare")
    from edgerec.evaluation.words import change
    from edgerec.runs import compare_runs

    entries = compare_runs(runs)
    if as_json:
        print_json(entries)
        return
    if entries[0]["kind"] == "ranking":
        _show_ranking(entries)
        return
    width = max(len(entry["run"]) for entry in entries)
    click.echo(f"{'':<{width}}{'kB':>10}{'NDCG@10':>10}{'HR@10':>9}{'p50 ms':>9}  change")
    for entry in entries:
        found = entry["comparison"]
        shown = change(found["ndcg_drop"], found["ndcg_drop_ci"]) if found else ""
        click.echo(
            f"{entry['run']:<{width}}{entry['bytes'] / 1000:>10,.1f}{entry['quality']['ndcg@10']:>10.4f}"
            f"{entry['quality']['hr@10']:>9.4f}{entry['latency_ms']['p50']:>9.3f}  {shown}".rstrip()
        )


def _show_ranking(entries: list[dict[str, Any]]) -> None:
    from edgerec.evaluation.words import change, figure

    width, names = max(len(entry["run"]) for entry in entries), list(entries[0]["quality"])
    click.echo(f"{'':<{width}}{'kB':>10}" + "".join(f"{name:>10}" for name in names) + f"{'p50 ms':>9}")
    for entry in entries:
        figures = "".join(f"{figure(entry['quality'][name]):>10}" for name in names)
        p50 = entry["latency_ms"]["p50"]
        click.echo(f"{entry['run']:<{width}}{entry['bytes'] / 1000:>10,.1f}{figures}{p50:>9.3f}")
    for entry in entries[1:]:
        click.echo(f"\n{entry['run']} against {entries[0]['run']} (a loss has a minus sign):")
        for found in entry["comparison"]["figures"]:
            click.echo(f"  {found['figure']:<10}{change(found['loss'], found['loss_ci'], 2)}")
        click.echo(f"  {entry['comparison']['verdict']} at a margin of {entry['comparison']['margin']:.2%}")
