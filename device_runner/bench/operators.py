"""Which operators of the model the time goes to, by the runtime's own profiler.

LiteRT's C library has one, but neither headers nor promises, so it is called in a process of its own, and only in the
version whose functions are known.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from device_runner.backends import installed_backends
from device_runner.bundle import Bundle
from device_runner.child_process import call_module

# The version of LiteRT whose C functions ``operators_process`` calls.
KNOWN = "2.3.0"
# Seconds; a profile takes less than one.
TIME_LIMIT = 60.0


def operator_profile(bundle: Bundle, backend: str, inputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]] | None:
    """The operators of the signature ``recommend`` or ``score``, those with the largest share first, or ``None`` where
    the runtime has no profiler that is known.

    Args:
        inputs: of the signature, from a real request.

    Each entry has ``operator``, ``calls`` in one of the signature's, ``share`` of the time (0 to 1), and ``delegate``:
    whether XNNPACK runs it. WHILE contains the operators of its body, which are listed as well. Shares are for
    comparison: profiling itself takes time for each operator.
    """
    if backend != "litert" or installed_backends().get(backend) != KNOWN:
        return None
    given = {name: [array.dtype.name, array.tolist()] for name, array in inputs.items()}
    ended = call_module(
        "device_runner.bench.operators_process", bundle.path, stdin=json.dumps(given), time_limit=TIME_LIMIT
    )
    if ended.error or not ended.stdout.strip():
        return None
    return list(json.loads(ended.stdout.splitlines()[-1]))
