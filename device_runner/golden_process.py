"""Run as a process by ``try_bundle``: loads a bundle and checks its golden vectors.

``python -m device_runner.golden_process MODEL BACKEND`` prints one JSON object (see ``try_bundle``), or the error as
the last line of stderr.
"""

import json
import sys
import time

from device_runner.errors import EdgeRecError
from device_runner.golden import check_golden
from device_runner.recommender import Recommender

CLOCK = time.perf_counter


def main() -> None:
    path, backend = sys.argv[1:]
    start = CLOCK()
    try:
        recommender = Recommender.load(path, backend)
        loaded = CLOCK()
        recommender.recommend_rows([1], (), 1)
        first = CLOCK()
        vectors = check_golden(recommender)
    except EdgeRecError as error:
        sys.exit(str(error))
    in_ms = {"load_ms": round((loaded - start) * 1e3, 3), "first_ms": round((first - loaded) * 1e3, 3)}
    print(json.dumps({"backend": recommender.backend, "vectors": vectors, **in_ms}))


if __name__ == "__main__":
    main()
