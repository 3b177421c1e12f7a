"""``edgerec-device doctor``: what keeps a bundle from running here, and how to mend it."""

from collections import Counter
from pathlib import Path

import click

from device_runner.command import json_option, print_json
from device_runner.doctor import examine

MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command(short_help="Find what keeps a model from running here.")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@json_option
def doctor(model: Path | None, as_json: bool) -> None:
    """Examine this device, and whether MODEL gives the right answers on it.

    Looks at the architecture, Python, the C library, numpy and the runtimes, the processor, memory, disk and power
    supply. With MODEL, a bundle, also runs its golden vectors on every installed runtime that it was verified on, each
    in a process of its own. Each problem comes with its remedy; the exit code is 1 if there is one.

    Example: edgerec-device doctor model.tflite
    """
    findings = []
    for finding in examine(model):
        findings.append(finding)
        if as_json:
            continue
        mark, colour = MARKS[finding.status]
        click.echo(f"{click.style(f'{mark:<8}', fg=colour)} {finding.subject:<13} {finding.found}")
        if finding.remedy:
            click.echo(f"{'':<8} {'':<13} -> {finding.remedy}")
    counts = Counter(finding.status for finding in findings)
    if as_json:
        print_json({"healthy": not counts["problem"], "findings": [vars(finding) for finding in findings]})
    elif counts["problem"]:
        click.echo(f"\n{counts['problem']} problem(s) keep this from running.")
    else:
        click.echo("\nNothing keeps it from running.")
    if counts["problem"]:
        click.get_current_context().exit(1)
