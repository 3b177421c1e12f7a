"""Run as a process by ``operator_profile``: profiles the operators of a bundle through the C functions of LiteRT 2.3.0.

``python -m device_runner.bench.operators_process MODEL < inputs.json`` prints one JSON list (see
``operator_profile``). The inputs are an object of dtypes and values by name.
"""

import ctypes
import json
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.bundle import Bundle
from device_runner.contract import Ranking, Retrieval

WARM_UP, RUNS = 5, 50
# From LiteRT's C headers: a tensor's types, the accelerator, a buffer in host memory, and a lock for writing.
FLOAT32, INT32 = 1, 2
CPU, HOST_MEMORY, WRITE = 1, 1, 1
MAX_RANK = 8
# A line of the profile: type, start, first, average, share, share so far, memory, times called, name.
LINE = re.compile(r"\s*(\S.*?)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)%\s+([\d.]+)%\s+([\d.]+)\s+(\d+)\s+\[(\w+)\]")


class Layout(ctypes.Structure):
    """LiteRtLayout."""

    _fields_ = (
        ("rank", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * MAX_RANK),
        ("strides", ctypes.c_uint32 * MAX_RANK),
    )


class TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = (("element", ctypes.c_int), ("layout", Layout))


class Library:
    """The C functions, each of which returns a status: 0 is success."""

    def __init__(self) -> None:
        spec = find_spec("ai_edge_litert")
        if spec is None or spec.origin is None:
            raise SystemExit("ai-edge-litert is not installed")
        self._library = ctypes.CDLL(str(Path(spec.origin).parent / "libLiteRt.so"))

    def call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, "LiteRt" + function)(*arguments)
        if status:
            raise SystemExit(f"{function} returned status {status}")

    def handle(self, function: str, *arguments: object) -> ctypes.c_void_p:
        """What a function makes, which it writes to its last argument."""
        made = ctypes.c_void_p()
        self.call(function, *arguments, ctypes.byref(made))
        return made

    def text(self, function: str, *arguments: object) -> str:
        found = ctypes.c_char_p()
        self.call(function, *arguments, ctypes.byref(found))
        return (found.value or b"").decode()

    def count(self, function: str, *arguments: object) -> int:
        found = ctypes.c_size_t()
        self.call(function, *arguments, ctypes.byref(found))
        return found.value


def profile(path: str, contract: Retrieval | Ranking, inputs: Mapping[str, np.ndarray]) -> str:
    """The profiler's own text for ``RUNS`` calls of the contract's first signature."""
    library = Library()
    environment = library.handle("CreateEnvironment", 0, None)
    model = library.handle("CreateModelFromFile", environment, path.encode())
    place, signature = _signature(library, model, contract.signatures[0])
    options, keep = _profiling_options(library)
    compiled = library.handle("CreateCompiledModel", environment, model, options)
    profiler = library.handle("CompiledModelGetProfiler", compiled)
    given = _buffers(library, environment, signature, "Input", inputs)
    taken = _buffers(library, environment, signature, "Output", _outputs(contract))

    def run() -> None:
        arguments = (ctypes.c_size_t(len(given)), given, ctypes.c_size_t(len(taken)), taken)
        library.call("RunCompiledModel", compiled, ctypes.c_size_t(place), *arguments)

    for _ in range(WARM_UP):
        run()
    library.call("StartProfiler", profiler)
    for _ in range(RUNS):
        run()
    text = library.text("GetProfileSummary", profiler, compiled)
    del keep
    return text


def operators(text: str) -> list[dict[str, Any]]:
    """The operators of the profiler's text (its section "Run Order"), summed by kind, the largest share first."""
    totals: dict[tuple[str, bool], list[float]] = {}
    for line in text.partition("Run Order")[2].partition("=\n\n")[0].partition("Top by")[0].splitlines():
        if not (found := LINE.match(line)):
            continue
        kind, share, calls, source = found[1], float(found[5]), int(found[8]), found[9]
        total = totals.setdefault((kind.removeprefix("Delegate/"), source == "Delegate"), [0.0, 0.0])
        total[0] += share / 100
        total[1] += calls / RUNS
    ordered = sorted(totals.items(), key=lambda entry: -entry[1][0])
    return [
        {"operator": kind, "delegate": delegate, "calls": round(calls, 2), "share": round(share, 5)}
        for (kind, delegate), (share, calls) in ordered
    ]


def _outputs(contract: Retrieval | Ranking) -> dict[str, np.ndarray]:
    """Arrays of the shapes and dtypes of the signature's outputs."""
    if isinstance(contract, Ranking):
        return {"scores": np.zeros(contract.candidates, np.float32)}
    return {
        "ids": np.zeros((1, contract.top_k), np.int32),
        "scores": np.zeros((1, contract.top_k), np.float32),
        "item_scores": np.zeros((1, contract.items + 1), np.float32),
    }


def _signature(library: Library, model: ctypes.c_void_p, name: str) -> tuple[int, ctypes.c_void_p]:
    for place in range(library.count("GetNumModelSignatures", model)):
        signature = library.handle("GetModelSignature", model, ctypes.c_size_t(place))
        if library.text("GetSignatureKey", signature) == name:
            return place, signature
    raise SystemExit(f"the model has no signature {name}")


def _profiling_options(library: Library) -> tuple[ctypes.c_void_p, object]:
    """Options for the CPU with a profiler, and what must live as long as they do."""
    options = library.handle("CreateOptions")
    library.call("SetOptionsHardwareAccelerators", options, CPU)
    c = ctypes.CDLL(None)
    c.strdup.restype = ctypes.c_void_p
    free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda place: c.free(ctypes.c_void_p(place)))
    text = ctypes.c_void_p(c.strdup(b"enable_profiling = true\n"))
    opaque = library.handle("CreateOpaqueOptions", b"runtime_options_string", text, free)
    library.call("AddOpaqueOptions", options, opaque)
    return options, free


def _buffers(
    library: Library,
    environment: ctypes.c_void_p,
    signature: ctypes.c_void_p,
    side: str,
    arrays: Mapping[str, np.ndarray],
) -> Any:
    """A C array of buffers with the contents of the arrays, in the signature's order."""
    made = []
    for place in range(library.count(f"GetNumSignature{side}s", signature)):
        array = arrays[library.text(f"GetSignature{side}Name", signature, ctypes.c_size_t(place))]
        kind = TensorType(INT32 if array.dtype == np.int32 else FLOAT32)
        kind.layout.rank = array.ndim
        kind.layout.dimensions[: array.ndim] = array.shape
        size = ctypes.c_size_t(array.nbytes)
        buffer = library.handle("CreateManagedTensorBuffer", environment, HOST_MEMORY, ctypes.byref(kind), size)
        address = ctypes.c_void_p()
        library.call("LockTensorBuffer", buffer, ctypes.byref(address), WRITE)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)
        library.call("UnlockTensorBuffer", buffer)
        made.append(buffer)
    return (ctypes.c_void_p * len(made))(*made)


def main() -> None:
    (path,) = sys.argv[1:]
    inputs = {name: np.array(values, dtype) for name, (dtype, values) in json.load(sys.stdin).items()}
    print(json.dumps(operators(profile(path, Bundle.read(path).contract, inputs))))


if __name__ == "__main__":
    main()
