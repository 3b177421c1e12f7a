"""Run as a fresh process by ``bench``: time the import of the runtime (numpy is there), the load and the first
recommendation.

``python -m device_runner.cold_start MODEL BACKEND THREADS < history.json`` prints one JSON object (ms, MB).
"""

import importlib
import json
import sys
import time
from pathlib import Path

from device_runner.backends import BACKENDS
from device_runner.recommender import Recommender

CLOCK = time.perf_counter


def main() -> None:
    path, backend, threads = sys.argv[1:]
    history = json.load(sys.stdin)
    start = CLOCK()
    importlib.import_module(BACKENDS[backend][0])
    imported = CLOCK()
    recommender = Recommender.load(path, backend, int(threads))
    loaded = CLOCK()
    recommender.recommend(history)
    done = CLOCK()
    json.dump(
        {
            "import": round((imported - start) * 1e3, 3),
            "load": round((loaded - imported) * 1e3, 3),
            "first": round((done - loaded) * 1e3, 3),
            "peak_rss_mb": round(_peak_rss_mb(), 1),
        },
        sys.stdout,
    )


def _peak_rss_mb() -> float:
    # VmHWM is this process's own peak; ru_maxrss also counts its parent's pages from before exec.
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
