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
from contextlib import suppress
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


def making(folder: Path) -> set[str]:
    """The artifacts that are being made: their temporary folders are there."""
    found = set()
    for place in (folder, folder / "bundles"):
        with suppress(FileNotFoundError):  # not there yet
            names = [path.name for path in place.iterdir()]
            found |= {name.split(".")[1] for name in names if name.startswith(".") and name.endswith(".tmp")}
    return found


def watched(process: subprocess.Popen[str], folder: Path) -> dict[str, float]:
    """Seconds for which each artifact was being made, until the process ends; ``end`` is what comes after all."""
    seen: dict[str, tuple[float, float]] = {}
    while process.poll() is None:
        now = time.monotonic()
        for name in making(folder):
            seen[name] = (seen.get(name, (now, now))[0], now)
        time.sleep(0.01)
    ended = time.monotonic()
    last = max(until for _, until in seen.values())
    return {**{name: until - since for name, (since, until) in seen.items()}, "end": ended - last}


def orphans(folder: Path) -> list[str]:
    """Command lines of processes that still work on this folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]


def kill_in(shop: Path, folder: Path, stage: str, after: float) -> None:
    """Kill a run ``after`` seconds into a stage. A process that has ended by then is tried again a little earlier."""
    shutil.rmtree(folder, ignore_errors=True)
    process = start(shop, folder)
    while stage not in making(folder) and not (stage == "end" and (folder / "measured").is_dir()):
        if process.poll() is not None:  # a stage of a few milliseconds, missed
            return kill_in(shop, folder, stage, after)
        time.sleep(0.001)
    time.sleep(after)
    if process.poll() is not None:
        return kill_in(shop, folder, stage, after / 2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 15
    while left := orphans(folder):
        assert time.monotonic() < deadline, f"{stage}: left running: {left}"
        time.sleep(0.1)
    return None


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
        process = start(shop, Path(scratch, "undisturbed"))
        took = watched(process, Path(scratch, "undisturbed"))
        assert process.returncode == 0
        expected = artifacts(Path(scratch, "undisturbed"))
        finish(shop, Path(scratch, "again"))
        check(Path(scratch, "again"), expected, "a second undisturbed run")
        click.echo(f"a second undisturbed run gives equal artifacts; seconds of the stages: {took}")
        rng = random.Random(seed)
        planned = [(stage, rng.random() * took[stage]) for stage in list(took) * kills][:kills]

        def one(number: int) -> str:
            stage, after = planned[number]
            folder = Path(scratch, f"run-{number}")
            kill_in(shop, folder, stage, after)
            finish(shop, folder)
            check(folder, expected, f"kill {number}, {stage}")
            shutil.rmtree(folder)
            click.echo(f"kill {number}, {after:.2f} s into {stage}: the rerun is equal")
            return stage

        with ThreadPoolExecutor(processes) as pool:
            stages = Counter(pool.map(one, range(kills)))
        for stage, count in sorted(stages.items()):
            click.echo(f"{count:>4}  {stage}")


if __name__ == "__main__":
    main()
