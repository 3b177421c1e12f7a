"""TFLite runtimes behind one small interface: a file becomes a function for each of its signatures."""

import importlib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from device_runner.bundle import Bundle
from device_runner.errors import BackendError
from device_runner.processor import cpu_features

# name -> (module of the class Interpreter, distribution to install)
BACKENDS = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime.interpreter", "tflite-runtime"),
}
# Of a larger file, memory counts more than time. XNNPACK keeps a packed copy of the item table for each signature that
# scores items, 2 x 29 MB for a table of 16 MB, which the runtimes' own kernels do not.
LARGE_FILE = 8 << 20


class Runner(Protocol):
    """A signature of a loaded model as both runtimes have it, ``SignatureRunner``: a function of named arrays that
    returns named arrays.
    """

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]: ...

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """``shape`` (int32 array), ``dtype`` and more of each input, by its name."""

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """The same of each output."""


class Signature:
    """A signature of a loaded model, called with arrays of the shapes and dtypes that the file states.

    Both runtimes' ``SignatureRunner`` resizes all inputs and plans the memory anew in every call, and copies every
    output. As the shapes never change, once is enough: the same steps are done here through what the runner holds. A
    runtime whose runner does not hold it is called by its public way.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._inputs: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        self._wrapper: Any = None
        self._subgraph = 0
        self._planned = False
        try:
            held: Any = runner
            wrapper, self._subgraph = held._interpreter_wrapper, int(held._subgraph_index)
            self._inputs, self._outputs = dict(held._inputs), dict(held._outputs)
        except (AttributeError, TypeError, ValueError):
            return
        if all(hasattr(wrapper, step) for step in ("AllocateTensors", "SetTensor", "Invoke", "GetTensor")):
            self._wrapper = wrapper

    def run(self, inputs: Mapping[str, np.ndarray], leave_out: str = "") -> dict[str, np.ndarray]:
        """The outputs by name, as arrays of the caller's own.

        Args:
            leave_out: an output that is not wanted; where the runtime allows it, it is not copied.

        Raises:
            RuntimeError, ValueError: the runtime refuses the inputs.
        """
        wrapper, subgraph = self._wrapper, self._subgraph
        if wrapper is None:
            return self._runner(**inputs)
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"the inputs are {', '.join(inputs)}, the model's are {', '.join(self._inputs)}")
        if not self._planned:
            wrapper.AllocateTensors(subgraph)
            self._planned = True
        for name, place in self._inputs.items():
            wrapper.SetTensor(place, inputs[name], subgraph)
        wrapper.Invoke(subgraph)
        return {name: wrapper.GetTensor(place, subgraph) for name, place in self._outputs.items() if name != leave_out}

    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input, by its name."""
        return _shapes(self._runner.get_input_details())

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output, by its name."""
        return _shapes(self._runner.get_output_details())

    def input_dtypes(self) -> dict[str, str]:
        """The name of the dtype of each input, by its name."""
        return {name: np.dtype(detail["dtype"]).name for name, detail in self._runner.get_input_details().items()}


def _shapes(details: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(size) for size in detail["shape"]) for name, detail in details.items()}


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


def choose_backend(backend: str, *claims: Mapping[str, Any]) -> str:
    """The runtime to use: ``backend`` itself, or for ``"auto"`` the first installed one that all bundles were
    verified on, and that is not known to crash on any of them on this processor.

    Args:
        claims: ``runtimes`` of each bundle.

    Raises:
        BackendError: it is unknown or not installed, or ``"auto"`` finds no runtime that the files were verified on.
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
    first, *others = claims
    verified = [name for name in first if all(name in claim for claim in others)]
    crashing = {name: [one for claim in claims for one in crashes_here(claim[name])] for name in verified}
    here = [name for name in installed if name in verified and not crashing[name]]
    if here:
        return here[0]
    these, are = ("these files together", "are") if others else ("this file", "is")
    if may := [name for name in installed if name in verified]:
        safe = [BACKENDS[name][1] for name in verified if name in BACKENDS and not crashing[name]]
        remedy = f"pip install {safe[0]}" if safe else "use a file of the scheme float32"
        raise BackendError(
            f"{may[0]} may crash on {these}, as this processor has {', '.join(dict.fromkeys(crashing[may[0]]))}; "
            f"{remedy}, or try it by its name with backend=…"
        )
    raise BackendError(
        f"{these} {are} verified on {', '.join(verified) or 'no runtime'}, installed: {', '.join(installed)}; "
        "to try one anyway, name it with backend=…"
    )


def crashes_here(claim: Any, features: Collection[str] | None = None) -> list[str]:
    """The processor's features for which a bundle's entry of a runtime says that it may crash there.

    Args:
        features: of the processor; default: this one's.
    """
    named = claim.get("not_on") if isinstance(claim, Mapping) else None
    if not isinstance(named, list):
        return []
    if features is None:
        features = cpu_features()
    return [feature for feature in named if feature in features]


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
    return {name: Signature(runner) for name, runner in runners.items()}


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
