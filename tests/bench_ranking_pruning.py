"""What does pruning do to a ranking model? One trained model, cut by each criterion and sparsity, and made sparse by
each method.

``python tests/bench_ranking_pruning.py RECIPE OUT [--set KEY=VALUE …]`` prints a table in Markdown. Every line is a run
of its own in OUT, from the same trained model, so a rerun continues where the last one ended.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.criteria import CRITERIA
from edgerec.recipe import load_recipe

SPARSITIES = (0.25, 0.5, 0.75)
EPOCHS = 4
SCHEMES = ("float32", "int8")


def settings() -> dict[str, list[str]]:
    """The overrides of each line of the table, by its name."""
    lines = {"not pruned": ["prune.enabled=false"]}
    for criterion in sorted(CRITERIA, key=lambda name: name != "random"):
        for share in SPARSITIES:
            structured = ['prune.method="structured"', f"prune.shares={{ hidden = {share} }}"]
            lines[f"units by {criterion}, {share:.0%}"] = [*structured, f'prune.criterion="{criterion}"']
    for share in SPARSITIES:
        lines[f"single weights by magnitude, {share:.0%}"] = ['prune.method="magnitude"', f"prune.sparsity={share}"]
    lines["two of every four weights"] = ['prune.method="2:4"']
    return lines


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    given = parser.parse_args()
    schemes = f"convert.schemes={json.dumps(SCHEMES)}"
    base = given.out / "not-pruned"
    rows = []
    for name, overrides in settings().items():
        folder = base if name == "not pruned" else given.out / name.replace(" ", "-").replace(",", "").replace("%", "")
        if folder != base and not folder.exists():
            for part in ("dataset", "trained"):
                shutil.copytree(base / part, folder / part)
        tuned = [] if folder == base else [f"prune.epochs={EPOCHS}"]
        recipe = load_recipe(given.recipe, [*given.overrides, schemes, *overrides, *tuned])
        rows.append(line_of(Run(recipe, folder, Progress()), name))
    heading = ["pruned", "test figure", "parameters", "not zero", "network bytes, float32", "int8", "file, compressed",
               "training seconds", "p50 µs, float32", "int8", "test − train"]  # fmt: skip
    print("|", " | ".join(heading), "|")
    print("|---" + "|--:" * (len(heading) - 1) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main()
