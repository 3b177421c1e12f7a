"""TFLite runtimes behind one small interface: a file becomes a function for each of its signatures."""

import copy
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from device_runner.bundle import Bundle
from device_runner.errors import BackendError

# name -> (module of the class Interpreter, distribution to install)
BACKENDS = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime.interpreter", "tflite-runtime"),
}
# Of a larger file, memory counts more than time. XNNPACK keeps a packed copy of the item table for each signature that
# scores items, 2 x 29 MB for a table of 16 MB, which the runtimes' own kernels do not.
LARGE_FILE = 8 << 20


class Signature(Protocol):
    """A signature of a loaded model: a function of named arrays that returns named arrays."""

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]: ...

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """``shape`` (int32 array), ``dtype`` and more of each input, by its name."""

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """The same of each output."""


def available_backends() -> list[str]:
    """Names of the runtimes whose package can be found, in order of preference."""
    return [name for name, (module, _) in BACKENDS.items() if find_spec(module.partition(".")[0])]


def installed_backends() -> dict[str, str]:
    """Name and version of each runtime whose package is installed, in order of preference."""
    from importlib import metadata  # 2 MB and 10 ms, which a device need not spend

    found = {}
    for name, (_, distribution) in BACKENDS.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def choose_backend(backend: str, verified: dict[str, Any]) -> str:
    """The runtime to use: ``backend`` itself, or for ``"auto"`` the first installed one that the bundle was
    verified on.

    Raises:
        BackendError: it is unknown or not installed, or ``"auto"`` finds no runtime that the file was verified on.
    """
    installed = available_backends()
    if backend != "auto":
        if backend not in BACKENDS:
            raise BackendError(f"unknown backend {backend!r}; choose auto, {' or '.join(BACKENDS)}")
        if backend not in installed:
            raise BackendError(f"{backend} is not installed; pip install {BACKENDS[backend][1]}")
        return backend
    if not installed:
        raise BackendError("no TFLite runtime is installed; pip install ai-edge-litert (or tflite-runtime)")
    for name in installed:
        if name in verified:
            return name
    raise BackendError(
        f"this file is verified on {', '.join(verified) or 'no runtime'}, installed: {', '.join(installed)}; "
        "to try one anyway, name it with backend=…"
    )


def load_signatures(bundle: Bundle, backend: str, threads: int, names: Sequence[str]) -> dict[str, Signature]:
    """Load the model of a bundle and return its signatures by name. They share one interpreter: call one at a time, and
    as long as the bundle lives, as the runtime reads its bytes.

    Raises:
        BundleError: the model is not sound, so that a runtime might crash.
        BackendError: the runtime cannot be imported, or refuses the file.
    """
    model = bundle.checked_model()
    module, distribution = BACKENDS[backend]
    try:
        runtime = importlib.import_module(module)
        resolvers = runtime.OpResolverType
        large = len(model) > LARGE_FILE
        with NativeLogSilenced():
            interpreter = runtime.Interpreter(
                model_content=model,
                num_threads=threads,
                experimental_op_resolver_type=(
                    resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES if large else resolvers.AUTO
                ),
            )
            interpreter.allocate_tensors()
            runners = {name: interpreter.get_signature_runner(name) for name in names}
    except ImportError as error:
        hint = (
            "; tflite-runtime needs numpy<2"
            if backend == "tflite-runtime" and np.lib.NumpyVersion(np.__version__) >= "2.0.0"
            else ""
        )
        raise BackendError(f"{distribution} cannot be imported ({error}){hint}") from None
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackendError(f"{backend} refuses {bundle.path.name}: {reason}") from None
    return runners


def without_output(signature: Signature, output: str) -> Signature:
    """The same signature, which does not copy one of its outputs for the caller. (It may still be among the results:
    the runtimes have no public way to leave it out.)
    """
    outputs = getattr(signature, "_outputs", None)
    if outputs is None:
        return signature
    fewer = copy.copy(signature)
    fewer._outputs = [(name, place) for name, place in outputs if name != output]  # type: ignore[attr-defined]
    return fewer


class NativeLogSilenced:
    """Keeps off the terminal what the runtimes write from C++ to file descriptor 2 while a model loads.

    ``EDGEREC_NATIVE_LOG=1`` lets it through.
    """

    def __enter__(self) -> None:
        self._saved: int | None = None
        if os.environ.get("EDGEREC_NATIVE_LOG"):
            return
        try:
            sys.stderr.flush()
            self._saved = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)
        except OSError:
            self._saved = None

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            os.dup2(self._saved, 2)
            os.close(self._saved)
