"""Time the import of the runtime, the load of a bundle and the first answer, in the fresh process that ``bench`` starts
for it.

``python -m device_runner.cold_start MODEL BACKEND THREADS STARTED < request.json`` prints the first recommended item,
then one JSON object: ``process``, ``import``, ``load`` and ``first`` in ms and ``peak_rss_mb``. STARTED is the
``time.time()`` at which the process was started. The request is a history, or for a ranking model an object with the
arguments of ``Ranker.score``, of which the first score is printed.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from device_runner.backends import BACKENDS

CLOCK = time.perf_counter


def main() -> None:
    path, backend, threads, started = sys.argv[1:]
    request = json.load(sys.stdin)
    ranking = isinstance(request, dict)
    module, name = ("ranker", "Ranker") if ranking else ("recommender", "Recommender")
    kind: Any = getattr(importlib.import_module(f"device_runner.{module}"), name)
    start = CLOCK()
    importlib.import_module(BACKENDS[backend][0])
    imported = CLOCK()
    model = kind.load(path, backend, int(threads))
    loaded = CLOCK()
    found = model.score(**request) if ranking else model.recommend(request)
    done = CLOCK()
    print(getattr(found[0], "item", found[0]) if found else "nothing", flush=True)
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
