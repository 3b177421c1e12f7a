"""Preparation at size: Zipf items from Parquet to a Dataset, in time and memory. Run by ``make bench``."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

USERS, ITEMS = 200_000, 50_000
SIZES = (2_000_000, 20_000_000)


def generate(rows: int, path: Path) -> None:
    """``rows`` interactions: users uniform, items Zipf by inverse transform of a log-uniform rank, times random."""
    duckdb.execute("select setseed(0.5)")
    duckdb.execute(
        f"""
        copy (
            select 'u' || cast(floor(random() * {USERS}) as int) as user_id,
                   'i' || cast(floor(pow({ITEMS}, random())) as int) as item_id,
                   1500000000 + cast(floor(random() * 100000000) as bigint) as t
            from range({rows})
        ) to '{path}' (format parquet)
        """
    )


def measure(path: Path, folder: Path) -> None:
    """In a process of its own, so that its peak memory is the preparation's."""
    from edgerec.data.prepare import prepare
    from edgerec.recipe import Recipe

    recipe = Recipe.model_validate(
        {"data": {"path": str(path), "columns": {"time": "t"}, "min_user_events": 5, "min_item_users": 5}}
    )
    start = time.monotonic()
    prepare(recipe, folder, "bench", lambda text: None)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
    info = json.loads((folder / "dataset.json").read_text())
    print(json.dumps({"seconds": round(seconds, 1), "peak_gb": round(peak, 2), "kept": info["interactions"]}))


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for rows in SIZES:
            path = Path(scratch, f"{rows}.parquet")
            generate(rows, path)
            command = [sys.executable, __file__, str(path), str(Path(scratch, f"dataset-{rows}"))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"{rows:,} rows: {done.stdout.strip()}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
