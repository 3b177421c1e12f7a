"""A long life of one recommender: a million calls of all kinds, and how much its memory grows.

``python tests/soak.py [BUNDLE] [--calls N]`` prints the resident memory every tenth of the calls, and fails if it grows
by more than 1 MB after the first twentieth.
"""

import argparse
import gc
import random
import sys
from pathlib import Path

from device_runner import Recommender

GROCERY = Path(__file__).parents[1] / "models" / "grocery" / "model.tflite"
ALLOWED_MB = 1.0


def resident_mb() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=GROCERY)
    parser.add_argument("--calls", type=int, default=1_000_000)
    given = parser.parse_args()
    recommender, rng = Recommender.load(given.bundle), random.Random(1)
    items = list(recommender.bundle.items)[1:]
    state = recommender.new_state() if recommender.contract.state else None
    warm = 0.0
    for call in range(1, given.calls + 1):
        history = rng.choices(items, k=rng.randrange(150))
        kind = call % 8
        if kind == 0 and state is not None:
            state = recommender.advance(state, rng.choice(items))
            recommender.recommend_from_state(state, 10, history)
        elif kind == 1:
            recommender.recommend(history, 200, allow=rng.choices(items, k=300))
        elif kind == 2:
            recommender.score(history, rng.choices(items, k=20))
        elif kind == 3:
            recommender.similar(rng.choice(items))
        else:
            recommender.recommend([*history, f"unknown-{call}"], 10, exclude=rng.choices(items, k=5))
        if call == given.calls // 20:
            gc.collect()
            warm = resident_mb()
        if call % max(1, given.calls // 10) == 0:
            print(f"{call:>9,} calls  {resident_mb():.1f} MB", flush=True)
    gc.collect()
    grown = resident_mb() - warm
    print(f"grown by {grown:.2f} MB since {given.calls // 20:,} calls")
    sys.exit(grown > ALLOWED_MB)


if __name__ == "__main__":
    main()
