"""What every kind of model needs to run: a checked bundle, loaded into a runtime."""

import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np

from device_runner.backends import Signature, choose_backend, load_signatures
from device_runner.bundle import Bundle, KindOfContract
from device_runner.errors import BundleError, plain_reason, shown

# Far more than any processor gains from.
MAX_THREADS = 1024


class LoadedBundle(Generic[KindOfContract]):
    """A bundle's model in a runtime. Threads may share it: their calls wait for each other. A forked process may go on
    using it (see ``_after_fork``).

    Attributes:
        bundle: the checked file.
        contract: the bundle's contract, of the kind that was asked for.
        backend: name of the runtime.
    """

    def __init__(
        self,
        bundle: Bundle,
        contract: KindOfContract,
        backend: str,
        threads: int,
    ) -> None:
        self.bundle = bundle
        self.contract = contract
        self.backend = backend
        self._threads = threads
        self._lock = threading.Lock()
        self._closed = False
        self._signatures: Mapping[str, Signature] | None = self._load()
        _loaded.add(self)

    @classmethod
    def load(
        cls, source: str | Path | bytes | Bundle, kind: type[KindOfContract], backend: str, threads: int
    ) -> "LoadedBundle[KindOfContract]":
        """Check the bundle and load its model; no inference yet.

        Args:
            source: the file, its content, or a bundle that was read from it.
            kind: the contract that the bundle must have.
            backend: name of a runtime, or ``"auto"`` for the first installed one that the bundle was verified on.
            threads: threads of the interpreter.

        Raises:
            BundleError: the file is not a bundle of this kind, or is damaged.
            BackendError: no runtime is installed, or the runtime refuses the file.
            TypeError, ValueError: ``threads`` is not a whole number from 1 on.
        """
        if not isinstance(threads, int) or isinstance(threads, bool):
            raise TypeError(f"threads is {shown(threads)}, not a whole number")
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads is {shown(threads)}; it may be from 1 to {MAX_THREADS}")
        bundle = source if isinstance(source, Bundle) else Bundle.read(source)
        contract = bundle.contract_of(kind)
        return cls(bundle, contract, choose_backend(backend, bundle.runtimes), threads)

    def _load(self) -> Mapping[str, Signature]:
        return load_signatures(self.bundle, self.backend, self._threads, self.contract.signatures)

    def close(self) -> None:
        """Give the runtime's memory back, after the call that another thread may be in. Closing twice is allowed."""
        with self._lock:
            self._closed, self._signatures = True, None

    def check_inputs(self, signature: str, **expected: tuple[int, ...]) -> None:
        """Check that the model's signature has the inputs, by name, of the shapes that the manifest promises.

        Raises:
            BundleError: it has others.
        """
        actual = self._open()[signature].input_shapes()
        if actual != expected:
            raise BundleError(
                f"{self.bundle.path}: the inputs of {signature} are {actual}, the manifest says {expected}"
            )

    def check_dtypes(self, signature: str, expected: Mapping[str, str]) -> None:
        """Check that the model's signature has inputs of the dtypes that the manifest promises.

        Raises:
            BundleError: it has others.
        """
        actual = self._open()[signature].input_dtypes()
        if actual != expected:
            raise BundleError(
                f"{self.bundle.path}: the dtypes of {signature} are {actual}, the manifest says {dict(expected)}"
            )

    def check_output(self, signature: str, output: str, expected: tuple[int, ...]) -> None:
        """Check that the model's signature has an output of the shape that the manifest promises.

        Raises:
            BundleError: it has not.
        """
        actual = self._open()[signature].output_shapes().get(output, "absent")
        if actual != expected:
            raise BundleError(f"{self.bundle.path}: output {output} is {actual}, the manifest says {expected}")

    def run(self, signature: str, leave_out: str = "", /, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of a signature by name, as arrays of the caller's own.

        Args:
            signature: its name.
            leave_out: an output that is not wanted; where the runtime allows it, it is not copied.
            inputs: arrays of the shapes and dtypes of the model's inputs.

        Raises:
            RuntimeError: the bundle is closed.
            ValueError: the runtime refuses the inputs.
            BundleError: the model fails, such as by an index that is not in its tables.
            BackendError: in a forked process, the model cannot be loaded again.
        """
        # The interpreter has one set of buffers. The runtime copies the outputs from them, so inside the lock.
        with self._lock:
            signatures = self._signatures
            called = (self._open() if signatures is None else signatures)[signature]
            try:
                return called.run(inputs, leave_out)
            except RuntimeError as error:
                said = plain_reason(error)
                raise BundleError(f"{self.bundle.path}: the model fails in {signature} ({said})") from None

    def _open(self) -> Mapping[str, Signature]:
        """The signatures; in a forked process, the model may have to be loaded for them."""
        if self._signatures is None:
            if self._closed:
                raise RuntimeError(f"{self.bundle.path}: the bundle was closed; load it again")
            self._signatures = self._load()
        return self._signatures

    def _after_fork(self) -> None:
        """Make a forked process independent of the threads that its parent had.

        A lock that one of them held would never be released, and its call was cut off in the middle. The threads of
        the interpreter itself do not exist here, so that it would wait for them, also when it is deleted. In both cases
        the model is loaded again by the next call, and the interpreter is left as it is.
        """
        if self._signatures is not None and (self._lock.locked() or self._threads > 1):
            _keep_forever(self._signatures)
            self._signatures = None
        self._lock = threading.Lock()


class ServedModel(Generic[KindOfContract]):
    """What a recommender and a ranker have in common.

    Attributes:
        contract: the sizes of the model's inputs and outputs.
    """

    def __init__(self, loaded: LoadedBundle[KindOfContract]) -> None:
        self.contract = loaded.contract
        self._loaded = loaded

    @property
    def bundle(self) -> Bundle:
        return self._loaded.bundle

    @property
    def backend(self) -> str:
        """Name of the runtime."""
        return self._loaded.backend

    def close(self) -> None:
        """Give the runtime's memory back, after the calls of other threads have ended. Any later call of the model
        raises ``RuntimeError``.
        """
        self._loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keep_forever(thing: Any) -> None:
    """Keep Python from ever deleting it, also at the end of the process."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


# Those of this process that are in use.
_loaded: "weakref.WeakSet[LoadedBundle[Any]]" = weakref.WeakSet()


def _after_fork() -> None:
    for loaded in _loaded:
        loaded._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=_after_fork)
