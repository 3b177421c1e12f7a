"""``edgerec push``: a model on a device by ssh, with a report of how it runs there."""

import json
from pathlib import Path

import click

from converters.targets.push import Remote
from converters.targets.push import push as run
from device_runner.bench.compare import kind_of
from device_runner.bench.measure_ranking import USUAL
from device_runner.bench.page import page_of
from device_runner.command import json_option, print_json


@click.command()
@click.argument("host")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), help="Port of sshd. Default: as ssh is configured.")
@click.option("--ssh-option", "options", multiple=True, metavar="KEY=VALUE", help="As ssh's -o; may be repeated.")
@click.option("--service", is_flag=True, help="Also install the JSON endpoint as a systemd service, with sudo.")
@click.option(
    "--prefix", help="Folder on the device. Default: /opt/edgerec for root or a service, else ~/.local/share/edgerec."
)
@click.option(
    "--history",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A history to measure with. Default: the made-up golden histories inside the bundle.",
)
@click.option("--runs", type=click.IntRange(1), default=500, show_default=True, help="Timed calls of the bench.")
@click.option(
    "--wheel",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The wheel of this edgerec. Default: it is built from the clone.",
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="File for the bench's report (JSON).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="File for the report as a page.")
@json_option
def push(
    host: str,
    model: Path,
    port: int | None,
    options: tuple[str, ...],
    service: bool,
    prefix: str | None,
    history: Path | None,
    runs: int,
    wheel: Path | None,
    report: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Install MODEL on the device HOST by ssh, examine it there, measure it, and bring the report back.

    MODEL is a bundle, which is exported for the device's architecture and Python, or a folder of edgerec export pi. The
    device needs python3 with venv and no network; ssh must reach it without a question, by a key.

    Example: edgerec push pi@raspberrypi.local models/grocery/model.tflite --html report.html
    """
    from edgerec.artifact import write_file

    remote = Remote(host, port, options)
    found = run(remote, model, service, prefix, history, runs, wheel, lambda line: click.echo(line, err=True))
    measured = found["bench"]
    if report:
        write_file(report, json.dumps(measured, indent=2, ensure_ascii=False) + "\n")
    if html:
        write_file(html, page_of(measured))
    if as_json:
        print_json(found)
        return
    device = measured["device"]
    click.echo(f"{measured['name']} runs on {device['board'] or device['cpu']}, in {found['prefix']}")
    ranking = kind_of(measured) == "ranking"
    times = measured["score_ms"][str(USUAL)] if ranking else measured["recommend_ms"]
    shown = "   ".join(f"p{p} {times[f'p{p}']:.3f} ms" for p in (50, 90, 99))
    click.echo(f"{f'score {USUAL}' if ranking else 'recommend':<12}{shown}")
    cold, memory = measured["cold_start_ms"]["process"], measured["peak_rss_mb"]
    click.echo(f"cold start  {cold:.0f} ms from process start to first answer; {memory:.0f} MB peak")
    for finding in found["doctor"]["findings"]:
        if finding["status"] != "ok":
            click.echo(f"{finding['status']}: {finding['found']}; {finding['remedy']}")
