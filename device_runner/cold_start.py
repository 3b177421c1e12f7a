"""Time the import of the runtime, the load of a bundle and the first recommendation, in the fresh process that
``bench`` starts for it.

``python -m device_runner.cold_start MODEL BACKEND THREADS STARTED < history.json`` prints the first recommended item,
then one JSON object: ``process``, ``import``, ``load`` and ``first`` in ms and ``peak_rss_mb``. STARTED is the
``time.time()`` at which the process was started.
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
    path, backend, threads, started = sys.argv[1:]
    history = json.load(sys.stdin)
    start = CLOCK()
    importlib.import_module(BACKENDS[backend][0])
    imported = CLOCK()
    recommender = Recommender.load(path, backend, int(threads))
    loaded = CLOCK()
    found = recommender.recommend(history)
    done = CLOCK()
    print(json.dumps([entry.item for entry in found[:1]]), flush=True)
    # The clock of the day: the only one whose readings mean the same in two processes.
    process = time.time() - float(started)
    times = {"process": process, "import": imported - start, "load": loaded - imported, "first": done - loaded}
    print(
        json.dumps(
            {
                **{name: round(seconds * 1e3, 3) for name, seconds in times.items()},
                "peak_rss_mb": round(_peak_rss_mb(), 1),
            }
        )
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
