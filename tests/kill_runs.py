"""Kills ``edgerec run`` with SIGKILL at moments spread over the whole run, runs it again, and compares what is left
with an undisturbed run: equal artifacts, no leftovers, no orphaned processes. ``make kills``: half a minute per kill.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import h5py
import numpy as np
import pyarrow.parquet as pq
from conftest import write_purchases

from device_runner import Bundle
from device_runner.child_process import child_environment

RECIPE = """
[data]
name = "shop"
path = "purchases.csv"
columns = { user = "household", item = "product", time = "when" }
items = { path = "products.csv", id = "product_id", title = "{product_type} ({brand})" }
min_item_users = 10
min_user_events = 5
[model]
encoder = "gru"
dim = 16
blocks = 1
max_history = 20
[train]
epochs = 3
[prune]
epochs = 2
[convert]
schemes = ["float32", "int8"]
[report]
histories = 20
"""
PROGRAM = "from edgerec.cli.main import main; main()"


def start(shop: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "run", str(shop / "shop.toml"), "--out", str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=child_environment()
    )


def finish(shop: Path, folder: Path) -> None:
    process = start(shop, folder)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]


def artifacts(folder: Path) -> dict[str, str]:
    """A hash of the content of every artifact. Times and latencies are no part of it."""
    found: dict[str, str] = {}

    def add(name: str, *contents: bytes) -> None:
        digest = hashlib.sha256()
        for content in contents:
            digest.update(content)
        found[name] = digest.hexdigest()[:16]

    for table in ("interactions", "items", "users"):
        columns = pq.read_table(folder / "dataset" / f"{table}.parquet").to_pydict()
        add(f"dataset/{table}", json.dumps(columns, default=str).encode())
    for model in ("trained", "pruned"):
        add(f"{model}/weights", *weights_of(folder / model / "model.weights.h5"))
        log = json.loads((folder / model / "training.json").read_text())
        add(f"{model}/curve", json.dumps(log["curve"]).encode())
    for bundle in sorted((folder / "bundles").glob("*/*.tflite")):
        add(f"bundles/{bundle.parent.name}", Bundle.read(bundle).fingerprint.encode())
        with np.load(bundle.parent / "evaluation.npz") as saved:
            add(f"bundles/{bundle.parent.name}/evaluation", saved["ranks"].tobytes(), saved["top"].tobytes())
    report = json.loads((folder / "report.json").read_text())
    add("report/quality", json.dumps([variant["quality"] for variant in report["variants"]]).encode())
    return found


def weights_of(path: Path) -> list[bytes]:
    found: list[bytes] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, node: found.append(node[()].tobytes()) if hasattr(node, "shape") else None)
    return found


def stage_of(folder: Path) -> str:
    """What the run was making: the temporary folder that is there, else the last artifact that is finished."""
    making = [path.name.split(".")[1] for path in folder.rglob(".*.tmp")]
    if making:
        return f"making {making[-1]}"
    done = [name for name in ("dataset", "trained", "pruned", "bundles", "measured") if (folder / name).is_dir()]
    return f"after {done[-1]}" if done else "before the first output"


def orphans(folder: Path) -> list[str]:
    """Command lines of processes that still work on this folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]


def killed_once(shop: Path, folder: Path, after: float, seed: int) -> str:
    """Kill a run ``after`` seconds from its first output on; returns the stage it was in."""
    process = start(shop, folder)
    while not folder.is_dir() or not list(folder.glob(".dataset.*")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stage = stage_of(folder)
    deadline = time.monotonic() + 15
    while left := orphans(folder):
        assert time.monotonic() < deadline, f"kill {seed}, {stage}: left running: {left}"
        time.sleep(0.1)
    finish(shop, folder)
    return stage


def check(folder: Path, expected: dict[str, str], where: str) -> None:
    found = artifacts(folder)
    differ = [name for name in expected if found.get(name) != expected[name]]
    assert found.keys() == expected.keys() and not differ, f"{where}: {differ} differ"
    left = [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name != ".lock"]
    left += [str(path.relative_to(folder)) for path in (folder / "checkpoints").iterdir()]
    assert not left, f"{where}: leftovers: {left}"


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--processes", default=2, show_default=True, help="Runs at a time.")
def main(kills: int, seed: int, processes: int) -> None:
    """Print how many kills each stage had; fail at the first difference."""
    with tempfile.TemporaryDirectory() as scratch:
        shop = Path(scratch, "shop")
        write_purchases(shop)
        (shop / "shop.toml").write_text(RECIPE)
        began = time.monotonic()
        finish(shop, Path(scratch, "undisturbed"))
        took = time.monotonic() - began
        expected = artifacts(Path(scratch, "undisturbed"))
        finish(shop, Path(scratch, "again"))
        check(Path(scratch, "again"), expected, "a second undisturbed run")
        click.echo(f"an undisturbed run takes {took:.0f} s, and a second one gives equal artifacts")
        rng = random.Random(seed)

        def one(number: int) -> str:
            folder = Path(scratch, f"run-{number}")
            stage = killed_once(shop, folder, took * processes * (number + rng.random()) / kills, number)
            check(folder, expected, f"kill {number}, {stage}")
            shutil.rmtree(folder)
            click.echo(f"kill {number}: {stage}; the rerun is equal")
            return stage

        with ThreadPoolExecutor(processes) as pool:
            stages = Counter(pool.map(one, range(kills)))
        for stage, count in sorted(stages.items()):
            click.echo(f"{count:>4}  {stage}")


if __name__ == "__main__":
    main()
