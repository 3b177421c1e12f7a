"""What does pruning do to a ranking model? One trained model, cut by each criterion and sparsity, and made sparse by
each method.

``python tests/bench_ranking_pruning.py RECIPE OUT [--set KEY=VALUE …]`` prints a table in Markdown. Every line is a run
of its own in OUT, from the same trained model, so a rerun continues where the last one ended.

``--techniques`` compares techniques of compression instead, for a wide network: pruning of every kind, clusters,
quantization-aware training and their combinations, with files of 8 bits. Latencies are ratios of medians, measured by
turns in one process. ``--line TEXT`` makes the lines with this text in their names, and no table.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
from device_runner import Ranker
from edgerec.pipeline import RankingStages, Run
from edgerec.progress import Progress
from edgerec.pruning.criteria import CRITERIA
from edgerec.recipe import load_recipe
from edgerec.stages.convert_ranking import ExportedRanker

SPARSITIES = (0.25, 0.5, 0.75)
EPOCHS = 4
SCHEMES = ("float32", "int8")
# Of the comparison of techniques.
SHARE, CLUSTERS = 0.8, 16
ALL_SCHEMES = ("float32", "int8", "int8-full")
ROUNDS, REPEATS = 40, 15

Lines = Mapping[str, list[str]]


def settings() -> Lines:
    """The overrides of each line of the table, by its name."""
    lines = {"not pruned": ["prune.enabled=false"]}
    for criterion in sorted(CRITERIA, key=lambda name: name != "random"):
        for share in SPARSITIES:
            structured = ['prune.method="structured"', f"prune.shares={{ hidden = {share} }}"]
            lines[f"units by {criterion}, {share:.0%}"] = [*structured, f'prune.criterion="{criterion}"']
    for share in SPARSITIES:
        lines[f"single weights by magnitude, {share:.0%}"] = ['prune.method="magnitude"', f"prune.sparsity={share}"]
    lines["two of every four weights"] = ['prune.method="2:4"']
    return {name: [*overrides, *tuned("prune", name)] for name, overrides in lines.items()}


def tuned(section: str, name: str = "") -> list[str]:
    """The epochs of fine-tuning, but for the model that is not pruned."""
    return [] if name == "not pruned" else [f"{section}.epochs={EPOCHS}"]


def techniques() -> Lines:
    """The overrides of each technique, by its name."""
    sparsity = f"prune.sparsity={SHARE}"
    plain = ["prune.enabled=false"]
    units = ['prune.method="structured"', f"prune.shares={{ hidden = {SHARE} }}", *tuned("prune")]
    tiles = ['prune.method="tile"', sparsity, *tuned("prune")]
    blocks = ['prune.method="block"', sparsity, *tuned("prune")]
    single = ['prune.method="magnitude"', sparsity, *tuned("prune")]
    clusters = [f"cluster.clusters={CLUSTERS}", *tuned("cluster")]
    aware = ['quantize.scheme="int8-full"', *tuned("quantize")]
    return {
        "not pruned": plain,
        "only fine-tuned": ['prune.method="magnitude"', "prune.sparsity=0", *tuned("prune")],
        f"units, {SHARE:.0%}": units,
        f"tiles of 64 x 64, {SHARE:.0%}": tiles,
        f"blocks of 16 x 1, {SHARE:.0%}": blocks,
        f"single weights, {SHARE:.0%}": single,
        "two of every four": ['prune.method="2:4"', *tuned("prune")],
        f"{CLUSTERS} clusters": [*plain, *clusters],
        "quantization-aware (QAT)": [*plain, *aware],
        "units + QAT": [*units, *aware],
        "tiles + QAT (PQAT)": [*tiles, *aware],
        "clusters + QAT (CQAT)": [*plain, *clusters, *aware],
        "single weights + clusters + QAT (PCQAT)": [*single, *clusters, *aware],
    }


def line_of(run: Run, name: str) -> list[str]:
    """The cells of a finished run."""
    report: dict[str, Any] = run.report
    stage = "pruned" if "pruned" in report["training"] else "trained"
    log, main = report["training"][stage], report["main"]
    files = {variant["name"]: variant for variant in report["variants"] if variant["file"]}
    shipped = files["float32"]
    test, trained = shipped["quality"][main], log["gap"][f"train_{main}"]
    return [
        name, f"{test:.4f}", f"{log['parameters']['total']:,}", f"{log['parameters']['nonzero']:,}",
        *(f"{files[scheme]['bytes']['network']:,}" for scheme in SCHEMES), f"{shipped['bytes']['compressed']:,}",
        f"{log['seconds']:.0f}", *(f"{1000 * files[scheme]['invoke_ms']['p50']:.0f}" for scheme in SCHEMES),
        f"{test - trained:+.4f}",
    ]  # fmt: skip


HEADING = ["pruned", "test figure", "parameters", "not zero", "network bytes, float32", "int8", "file, compressed",
           "training seconds", "p50 µs, float32", "int8", "test − train"]  # fmt: skip


def technique_lines(runs: Mapping[str, Run]) -> list[list[str]]:
    """The cells of all finished runs."""
    medians = latencies(runs)
    dense = medians["not pruned", "int8"]
    return [
        _technique_line(run, name, [medians.get((name, scheme), np.nan) / dense for scheme in schemes_of(name)])
        for name, run in runs.items()
    ]


def _technique_line(run: Run, name: str, ratios: list[float]) -> list[str]:
    report: dict[str, Any] = run.report
    files = {variant["name"]: variant for variant in report["variants"] if variant["file"]}
    main, logs = report["main"], report["training"]
    last = list(logs.values())[-1]
    schemes = schemes_of(name)

    def each(text: str, values: list[Any]) -> str:
        return " / ".join(format(value, text) for value in values)

    return [
        name, f"{last['gap'][f'validation_{main}']:.4f}",
        each(".4f", [files[scheme]["quality"][main] for scheme in schemes]),
        f"{last['parameters']['total']:,}", f"{last['parameters']['nonzero']:,}",
        each(",", [files[scheme]["bytes"]["total"] for scheme in schemes]),
        each(",", [files[scheme]["bytes"]["compressed"] for scheme in schemes]),
        each(".2f", ratios),
        f"{sum(log['seconds'] for log in logs.values()):.0f}",
    ]  # fmt: skip


TECHNIQUE_HEADING = ["technique", "validation figure", "test figure: " + " / ".join(ALL_SCHEMES), "parameters",
                     "not zero", "bytes of the file", "compressed", "p50 ÷ that of int8 without pruning",
                     "training seconds"]  # fmt: skip


def schemes_of(name: str) -> tuple[str, ...]:
    """The files of a technique."""
    return (*ALL_SCHEMES, "int8-sparse") if name.startswith("blocks") else ALL_SCHEMES


def latencies(runs: Mapping[str, Run]) -> dict[tuple[str, str], float]:
    """The median time to score a request, by line and scheme, µs: all files by turns in one process, a few requests a
    turn. Files that litert computes wrongly have none.
    """
    first = next(iter(runs.values())).stages
    assert isinstance(first, RankingStages)
    exported = ExportedRanker(first.measured.workspace, first.prepared, first.trained)
    rows = first.prepared.test_rows.sample(REPEATS, seed=0)
    cases = exported.requests(rows, np.arange(first.prepared.dataset.items + 1))
    requests = [{name: values[n] for name, values in cases.items()} for n in range(REPEATS)]
    rankers = {
        (name, variant["name"]): Ranker.load(run.bundles[variant["name"]], "litert")
        for name, run in runs.items()
        for variant in run.report["variants"]
        if variant["name"] in schemes_of(name) and variant["runtimes"]["litert"]["passed"]
    }
    times: dict[tuple[str, str], list[int]] = {key: [] for key in rankers}
    for _ in range(ROUNDS):
        for key, ranker in rankers.items():
            ranker.invoke(requests[0])
            for request in requests:
                start = time.perf_counter_ns()
                ranker.invoke(request)
                times[key].append(time.perf_counter_ns() - start)
    return {key: float(np.median(found)) / 1000 for key, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--techniques", action="store_true")
    parser.add_argument("--line", default="")
    given = parser.parse_args()
    base = given.out / "not-pruned"
    runs = {}
    for name, overrides in (techniques() if given.techniques else settings()).items():
        if given.line not in name:
            continue
        folder = base if name == "not pruned" else given.out / name.translate(FOLDER)
        if folder != base and not folder.exists():
            for part in ("dataset", "trained"):
                shutil.copytree(base / part, folder / part)
        schemes = f"convert.schemes={json.dumps(schemes_of(name) if given.techniques else SCHEMES)}"
        runs[name] = Run(load_recipe(given.recipe, [*given.overrides, schemes, *overrides]), folder, Progress())
        assert runs[name].report
    if given.line:
        return
    if given.techniques:
        heading, rows = TECHNIQUE_HEADING, technique_lines(runs)
    else:
        heading, rows = HEADING, [line_of(run, name) for name, run in runs.items()]
    print("|", " | ".join(heading), "|")
    print("|---" + "|--:" * (len(heading) - 1) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")


# Names of lines as names of folders.
FOLDER = str.maketrans({" ": "-", ",": None, "%": None, "(": None, ")": None, ":": "-"})

if __name__ == "__main__":
    main()
