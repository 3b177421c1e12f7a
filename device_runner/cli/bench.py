"""``edgerec-device bench``: latency, cold start and memory on this device."""

from pathlib import Path

import click

from device_runner.bench import bench as measure
from device_runner.bundle import Bundle
from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.command import json_option, print_json
from device_runner.contract import Retrieval
from device_runner.errors import HistoryError
from device_runner.history import read_history


@click.command()
@MODEL
@click.option(
    "--history",
    "history_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A history to measure with; may be repeated. Default: the made-up golden histories inside the bundle.",
)
@click.option("--runs", type=click.IntRange(1), default=500, show_default=True, help="Timed calls.")
@BACKEND
@THREADS
@json_option
def bench(model: Path, history_paths: tuple[Path, ...], runs: int, backend: str, threads: int, as_json: bool) -> None:
    """Measure latency, cold start and memory on this device."""
    bundle = Bundle.read(model)
    if history_paths:
        histories = [read_history(path, bundle.item_column) for path in history_paths]
    else:
        histories = _golden_histories(bundle)
    histories = [history for history in histories if history]
    if not histories:
        raise HistoryError("no event to measure with; give --history FILE")
    result = measure(model, histories, backend, threads, runs)
    if as_json:
        print_json(result)
        return
    click.echo(f"{result['file']} ({result['scheme']}) on {result['backend']}, {threads} thread(s), {runs} runs")
    click.echo(f"device      {result['device']['cpu']} ({result['device']['machine']})")
    for name in ("recommend", "invoke", "step"):
        times = result[f"{name}_ms"]
        if times is None:
            continue
        click.echo(f"{name:<10}  p50 {times['p50']:.3f} ms   p90 {times['p90']:.3f} ms   p99 {times['p99']:.3f} ms")
    cold = result["cold_start_ms"]
    click.echo(
        f"cold start  {cold['process']:.0f} ms from process start to first answer, of which "
        f"import {cold['import']:.0f} ms, load {cold['load']:.0f} ms, first call {cold['first']:.1f} ms"
    )
    click.echo(f"memory      {result['peak_rss_mb']:.0f} MB peak")
    state = result["device"]["after"]
    shown = {
        "governor": "governor {}",
        "clock_mhz": "{:.0f} MHz",
        "temperature_c": "{:.0f} °C",
        "load_1min": "load {:.2f}",
    }
    click.echo("state       " + ", ".join(text.format(state[k]) for k, text in shown.items() if state[k] is not None))


def _golden_histories(bundle: Bundle) -> list[list[str]]:
    """Raw ids of the golden vectors' histories, without user features."""
    items = bundle.contract_of(Retrieval).items
    return [[bundle.items[row] for row in case["history"] if row <= items] for case in bundle.golden()]
