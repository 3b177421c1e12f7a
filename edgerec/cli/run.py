"""``edgerec run`` and ``edgerec report``."""

from typing import TYPE_CHECKING, Any

import click

from device_runner.command import print_json
from edgerec.cli.options import recipe_options

if TYPE_CHECKING:
    from edgerec.pipeline import Run


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be made, and why.")
@recipe_options
def run(run: "Run", as_json: bool, dry_run: bool) -> None:
    """Run the whole pipeline of RECIPE; what is up to date is not done again.

    Example: edgerec run models/grocery/recipe.toml --set train.seed=2
    """
    if dry_run:
        _show_plan(run, as_json)
    else:
        _show_report(run, run.report, as_json)


def _show_plan(run: "Run", as_json: bool) -> None:
    plan = run.plan()
    if as_json:
        print_json([{"stage": name, "made": bool(reason), "reason": reason} for name, reason in plan])
        return
    for name, reason in plan:
        click.echo(f"{name:<28}{f'would be made: {reason}' if reason else 'up to date'}")


@click.command()
@recipe_options
def report(run: "Run", as_json: bool) -> None:
    """Write and show the report of RECIPE (the same as run)."""
    _show_report(run, run.report, as_json)


def _show_report(run: "Run", report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        from edgerec.report.ranking import print_ranking_report
        from edgerec.report.terminal import print_report

        (print_ranking_report if report.get("kind") == "ranking" else print_report)(report)
        click.echo(f"\nreport  {run.folder / 'report.html'}")
        click.echo(f"ship    {run.folder / report['variants'][-1]['file']}")
    from edgerec import gate

    gate.check(report)
