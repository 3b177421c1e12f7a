"""Guest instructions of one recommendation, or of one scored batch, on each processor, runtime and bundle.

``python tests/arm/costs.py`` (``make bench-arm``) counts them, writes ``instruction_counts.json`` beside itself, and
prints the shipped model's table for its card. ``python tests/arm/costs.py BUNDLE …`` counts those of other ranking
bundles, also compares what they answer with this machine, and only prints.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from guest_costs import CALLS, WINDOWS
from machine import CPUS, PROJECT, TIME_LIMIT, Cpu, call, check_plugins, guest, made_once

from device_runner.bundle import Bundle
from device_runner.contract import Ranking
from edgerec.report.boards import counts_of, latency_table
from models import bundles

HERE = Path(__file__).parent
RECORDED = HERE / "instruction_counts.json"
SCHEMA = 1
# Of which the cost is recorded.
MEASURED = ("grocery", "grocery-shaped", "grocery-ranking")
FIGURES = ("recommend", "invoke", "step", "step_invoke")
FIGURES_OF_RANKING = ("score", "invoke")


def counter() -> Path:
    """The compiled plugin."""
    source = HERE / "instruction_counter.c"
    with made_once("counter", source.read_bytes()) as (folder, part):
        if part:
            call(["gcc", "-O2", "-Wall", "-shared", "-fPIC", source, "-o", part / "counter.so"])
    return folder / "counter.so"


def measured() -> dict[str, Path]:
    """The bundles whose cost is recorded, by name."""
    return {name: path for name, path in bundles().items() if name in MEASURED or name.startswith("grocery-shaped-")}


def count(cpu: Cpu, runtime: str, paths: dict[str, Path]) -> list[dict[str, Any]]:
    """One record for each of the bundles that claims the runtime."""
    check_plugins(cpu.architecture)
    claimed = {name: bundle for name, path in paths.items() if runtime in (bundle := Bundle.read(path)).runtimes}
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        plugin = f"{counter()},mark={cpu.architecture.getppid},out={marks}"
        files = [bundle.path for bundle in claimed.values()]
        done = guest(cpu, HERE / "guest_costs.py", runtime, *files, options=["-plugin", plugin])
        if done.returncode:
            raise RuntimeError(f"{cpu.name}, {runtime}: {done.stderr[-2000:]}")
        totals = [int(line) for line in marks.read_text().split()]
    records = []
    for (name, bundle), line in zip(claimed.items(), done.stdout.splitlines(), strict=True):
        spans: dict[str, list[int]] = {}
        for window in json.loads(line):
            start, end, *totals = totals
            spans.setdefault(window, []).append(end - start)
        assert all(len(found) == WINDOWS for found in spans.values())
        empty = statistics.median(spans["nothing"])
        costs = {
            figure: round((statistics.median(spans[figure]) - empty) / CALLS) if figure in spans else None
            for figure in (FIGURES_OF_RANKING if isinstance(bundle.contract, Ranking) else FIGURES)
        }
        records.append(
            {
                "cpu": cpu.name, "board": cpu.board, "architecture": cpu.architecture.name, "runtime": runtime,
                "bundle": name.removesuffix(f"-{bundle.scheme}"), "scheme": bundle.scheme, **costs,
            }
        )  # fmt: skip
    assert not totals, "a system call of the runtime was taken for a mark"
    return records


def cases() -> list[tuple[Cpu, str]]:
    """Every processor with every runtime that exists for it."""
    return [(cpu, runtime) for cpu in CPUS.values() for runtime in cpu.architecture.runtimes]


def table(records: list[dict[str, Any]], name: str) -> str:
    """Markdown: thousands of instructions of a recommendation and of a step, by scheme, runtime and processor."""
    cpus = list(dict.fromkeys(record["cpu"] for record in records))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        if record["bundle"] == name:
            step = "" if record["step"] is None else f" / {record['step'] / 1e3:,.0f}"
            cell = f"{record['recommend'] / 1e3:,.0f}{step}"
            rows.setdefault((record["scheme"], record["runtime"]), {})[record["cpu"]] = cell
    lines = [f"| scheme | runtime | {' | '.join(cpus)} |", "|---|---|" + "--:|" * len(cpus)]
    for (scheme, runtime), cells in rows.items():
        lines.append(f"| {scheme} | {runtime} | {' | '.join(cells.get(cpu, '') for cpu in cpus)} |")
    return "\n".join(lines)


def furthest(cpu: Cpu, runtime: str, paths: dict[str, Path]) -> float:
    """By how much the scores of golden vectors differ most from those on this machine, relative to the largest. Both
    machines must also find that the vectors hold.
    """
    files = [path for path in paths.values() if runtime in Bundle.read(path).runtimes]
    script = HERE / "guest_answers.py"
    command = [sys.executable, str(script), runtime, *map(str, files)]
    here = subprocess.run(
        command, capture_output=True, text=True, timeout=TIME_LIMIT, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    there = guest(cpu, script, runtime, *files)
    if here.returncode or there.returncode:
        raise RuntimeError(f"{cpu.name}, {runtime}: {(here.stderr or there.stderr)[-2000:]}")
    answers = [json.loads(done.stdout)["answers"] for done in (here, there)]
    worst = 0.0
    for expected, found in zip(*answers, strict=True):
        for one, other in zip(expected, found, strict=True):
            scores, others = np.array(one["scores"]), np.array(other["scores"])
            worst = max(worst, float(np.abs(scores - others).max() / np.abs(scores).max()))
    return worst


def ranking_table(records: list[dict[str, Any]]) -> str:
    """Markdown: thousands of instructions of a scored batch, whole call and bare model."""
    cpus = list(dict.fromkeys(record["cpu"] for record in records))
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for record in records:
        cell = f"{record['score'] / 1e3:,.0f} / {record['invoke'] / 1e3:,.0f}"
        rows.setdefault((record["bundle"], record["scheme"], record["runtime"]), {})[record["cpu"]] = cell
    lines = [f"| bundle | scheme | runtime | {' | '.join(cpus)} |", "|---|---|---|" + "--:|" * len(cpus)]
    for key, cells in rows.items():
        lines.append(f"| {' | '.join(key)} | {' | '.join(cells.get(cpu, '') for cpu in cpus)} |")
    return "\n".join(lines)


def print_ranking(paths: list[Path]) -> None:
    """Count, compare and print the table of ranking bundles."""
    bundles_of = {f"{(bundle := Bundle.read(path)).name}-{bundle.scheme}": path.resolve() for path in paths}
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        records = [record for found in pool.map(lambda case: count(*case, bundles_of), cases()) for record in found]
        worst = max(pool.map(lambda case: furthest(*case, bundles_of), cases()))
    print(ranking_table(records), f"scores differ from this machine by {worst:.2g} at most", sep="\n\n")


def boards(records: list[dict[str, Any]], path: Path) -> str:
    """Markdown: estimated milliseconds of the shipped model on each board."""
    shipped = Bundle.read(path)
    wanted = {"bundle": "grocery", "scheme": shipped.scheme, "runtime": "litert"}
    operations = {
        "a recommendation": counts_of(records, "recommend", **wanted),
        "one more event": counts_of(records, "step", **wanted),
    }
    return latency_table(operations, int(shipped.manifest["flatbuffer_bytes"]))


def main() -> None:
    if sys.argv[1:]:
        print_ranking([Path(argument) for argument in sys.argv[1:]])
        return
    paths = measured()
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        records = [record for found in pool.map(lambda case: count(*case, paths), cases()) for record in found]
    text = ",\n  ".join(json.dumps(record) for record in records)
    part = RECORDED.with_suffix(".part")
    part.write_text(f'{{"schema": {SCHEMA}, "counts": [\n  {text}\n]}}\n')
    part.rename(RECORDED)
    print(f"{len(records)} figures are in {RECORDED}", file=sys.stderr)
    tables = [table(records, "grocery"), table(records, "grocery-shaped"), boards(records, paths["grocery"])]
    print(*tables, ranking_table([record for record in records if "score" in record]), sep="\n\n")


if __name__ == "__main__":
    main()
