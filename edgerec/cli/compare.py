"""``edgerec compare``."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json
from edgerec.cli.options import require_workstation


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare the files that finished runs of one data set ship; each RUN is a folder such as runs/NAME.

    Changes are relative differences of NDCG@10 against the first RUN, target by target, with 95 % intervals.

    Example: edgerec compare runs/gru runs/sasrec
    """
    require_workstation("compare")
    from edgerec.evaluation.words import change
    from edgerec.runs import compare_runs

    entries = compare_runs(runs)
    if as_json:
        print_json(entries)
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
