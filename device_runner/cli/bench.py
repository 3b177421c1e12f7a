"""``edgerec-device bench``: latency, cold start, memory, file and device state on this device."""

import os
from pathlib import Path
from typing import Any

import click

from device_runner.bench import bench as measure
from device_runner.bench import bench_ranking
from device_runner.bench.compare import (
    Change,
    check_changes,
    compare_reports,
    differing_circumstances,
    kind_of,
    read_report,
    shown_figure,
)
from device_runner.bench.page import page_of
from device_runner.bundle import Bundle
from device_runner.cli.options import BACKEND, MODEL, THREADS
from device_runner.command import json_option, print_json
from device_runner.contract import Ranking, Retrieval
from device_runner.errors import HistoryError
from device_runner.history import read_history

# Operators that are shown in the terminal.
SHOWN_OPERATORS = 5


@click.command(short_help="Measure latency, cold start, memory and energy here.")
@MODEL
@click.option(
    "--history",
    "history_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A history to measure with; may be repeated. Default: those of the golden vectors inside the bundle.",
)
@click.option("--runs", type=click.IntRange(1), default=500, show_default=True, help="Timed calls of each kind.")
@click.option(
    "--processes",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Fresh processes for the cold start, of which the median is told.",
)
@click.option(
    "--compare",
    "other",
    type=click.Path(path_type=Path),
    help="An earlier report (bench --json) to compare with; exit code 3 if a figure became worse.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="With --compare: relative change above which a figure counts as worse.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report as one page for a browser.",
)
@BACKEND
@THREADS
@json_option
def bench(
    model: Path,
    history_paths: tuple[Path, ...],
    runs: int,
    processes: int,
    other: Path | None,
    threshold: float,
    html: Path | None,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Measure latency, cold start, memory and energy on this device.

    Of a ranking model, calls with 1, 10, 100 and 1000 candidates are timed.

    Example: edgerec-device bench model.tflite --history history.csv --json > today.json

    Later, on the same device: edgerec-device bench model.tflite --history history.csv --compare today.json
    """
    bundle = Bundle.read(model)
    earlier = None if other is None else read_report(other, bundle.contract.kind)
    histories = [read_history(path, bundle.item_column) for path in history_paths]
    if isinstance(bundle.contract, Ranking):
        result = bench_ranking(model, histories, backend, threads, runs, processes)
    else:
        histories = [history for history in histories or _golden_histories(bundle) if history]
        if not histories:
            raise HistoryError("no event to measure with; give --history FILE")
        result = measure(model, histories, backend, threads, runs, processes=processes)
    changes = None if earlier is None else compare_reports(earlier, result, threshold)
    if changes is not None:
        result["compared"] = {
            "with": str(other),
            "threshold": threshold,
            "circumstances": differing_circumstances(earlier or {}, result),
            "changes": [vars(change) for change in changes],
        }
    if html:
        _write(html, page_of(result))
    if as_json:
        print_json(result)
    else:
        _show(result)
        if changes is not None:
            _show_changes(changes, result["compared"]["circumstances"])
        if html:
            click.echo(f"page        {html}")
    if changes is not None and other is not None:
        check_changes(changes, threshold, other)


def _show(result: dict[str, Any]) -> None:
    device = result["device"]
    click.echo(
        f"{result['file']} ({result['scheme']}) on {result['backend']}, {result['threads']} thread(s), "
        f"{result['runs']} runs"
    )
    named = ", ".join(dict.fromkeys(name for name in (device["board"], device["cpu"]) if name))
    click.echo(f"device      {named} ({device['machine']}, {device['cores']} cores)")
    calls = {f"score {count}": times for count, times in result.get("score_ms", {}).items()}
    calls |= {name: times for name in ("recommend", "invoke", "step") if (times := result.get(f"{name}_ms"))}
    for name, times in calls.items():
        click.echo(f"{name:<10}  " + "   ".join(f"p{p} {times[f'p{p}']:.3f} ms" for p in (50, 90, 95, 99)))
    counted = "candidates" if kind_of(result) == "ranking" else "recommendations"
    click.echo(f"throughput  {result['throughput_per_s']:,.0f} {counted} a second")
    cold = result["cold_start_ms"]
    click.echo(
        f"cold start  {cold['process']:.0f} ms from process start to first answer, of which Python "
        f"{cold['python']:.0f} ms, packages {cold['packages']:.0f} ms, import {cold['import']:.0f} ms, "
        f"load {cold['load']:.0f} ms, first call {cold['first']:.1f} ms "
        f"(median of {result['cold_starts']['processes']})"
    )
    click.echo(f"memory      {result['peak_rss_mb']:.0f} MB peak")
    sizes = result["bytes"]
    parts = ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in sizes.items() if name != "total")
    click.echo(f"file        {sizes['total']:,} bytes: {parts}")
    if result["operators"]:
        shown = (f"{entry['operator']} {entry['share']:.0%}" for entry in result["operators"][:SHOWN_OPERATORS])
        click.echo(f"operators   {', '.join(shown)}")
    if result["energy"]:
        energy = result["energy"]
        click.echo(
            f"energy      {energy['joules'] * 1e3:.3f} mJ a call at {energy['watts']:.2f} W ({energy['source']})"
        )
    click.echo("state       " + ", ".join(_state_words(device["after"])))


def _state_words(state: dict[str, Any]) -> list[str]:
    shown = {
        "governor": "governor {}",
        "clock_mhz": "{:.0f} MHz",
        "temperature_c": "{:.0f} °C",
        "load_1min": "load {:.2f}",
    }
    words = [text.format(state[k]) for k, text in shown.items() if state[k] is not None]
    return words if state["throttled"] is None else [*words, ", ".join(state["throttled"]) or "not throttled"]


def _show_changes(changes: list[Change], circumstances: list[str]) -> None:
    for sentence in circumstances:
        click.echo(f"Note: {sentence}.", err=True)
    for change in changes:
        figures = f"{shown_figure(change.before):>14}{shown_figure(change.after):>14}{change.change:>+9.1%}"
        click.echo(f"{change.figure:<22}{figures}{'  worse' if change.worse else ''}")


def _write(path: Path, text: str) -> None:
    """Write a file as a whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _golden_histories(bundle: Bundle) -> list[list[str]]:
    """Raw ids of the golden vectors' histories, without user features."""
    items = bundle.contract_of(Retrieval).items
    return [[bundle.items[row] for row in case["history"] if row <= items] for case in bundle.golden()]
