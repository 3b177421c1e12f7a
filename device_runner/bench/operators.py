"""Which operators of the model the time goes to, by the runtime's own profiler.

LiteRT's C library has one, but neither headers nor promises, so it is called in a process of its own, and only in the
version whose functions are known.
"""

import json
from collections.abc import Sequence
from typing import Any

from device_runner.backends import installed_backends
from device_runner.bundle import Bundle
from device_runner.child_process import call_module

# The version of LiteRT whose C functions ``operators_process`` calls.
KNOWN = "2.3.0"
# Seconds; a profile takes less than one.
TIME_LIMIT = 60.0


def operator_profile(bundle: Bundle, backend: str, history: Sequence[int]) -> list[dict[str, Any]] | None:
    """The operators of the signature ``recommend``, those with the largest share first, or ``None`` where the runtime
    has no profiler that is known.

    Args:
        history: rows of a real history.

    Each entry has ``operator``, ``calls`` of one recommendation, ``share`` of the time (0 to 1), and ``delegate``:
    whether XNNPACK runs it. WHILE contains the operators of its body, which are listed as well. Shares are for
    comparison: profiling itself takes time for each operator.
    """
    if backend != "litert" or installed_backends().get(backend) != KNOWN:
        return None
    ended = call_module(
        "device_runner.bench.operators_process", bundle.path, stdin=json.dumps(list(history)), time_limit=TIME_LIMIT
    )
    if ended.error or not ended.stdout.strip():
        return None
    return list(json.loads(ended.stdout.splitlines()[-1]))
