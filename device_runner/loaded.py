"""What every kind of model needs to run: a checked bundle, loaded into a runtime."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Generic

import numpy as np

from device_runner.backends import Signature, choose_backend, load_signatures, without_output
from device_runner.bundle import Bundle, KindOfContract
from device_runner.errors import BundleError


class LoadedBundle(Generic[KindOfContract]):
    """A bundle's model in a runtime. Threads may share it: their calls wait for each other.

    Attributes:
        bundle: the checked file.
        contract: the bundle's contract, of the kind that was asked for.
        backend: name of the runtime.
    """

    def __init__(
        self, bundle: Bundle, contract: KindOfContract, backend: str, signatures: Mapping[str, Signature]
    ) -> None:
        self.bundle = bundle
        self.contract = contract
        self.backend = backend
        self._signatures = signatures
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls, path: str | Path | bytes, kind: type[KindOfContract], backend: str, threads: int
    ) -> "LoadedBundle[KindOfContract]":
        """Check the bundle and load its model; no inference yet.

        Args:
            kind: the contract that the bundle must have.
            backend: name of a runtime, or ``"auto"`` for the first installed one that the bundle was verified on.
            threads: threads of the interpreter.

        Raises:
            BundleError: the file is not a bundle of this kind, or is damaged.
            BackendError: no runtime is installed, or the runtime refuses the file.
        """
        bundle = Bundle.read(path)
        contract = bundle.contract_of(kind)
        backend = choose_backend(backend, bundle.runtimes)
        return cls(bundle, contract, backend, load_signatures(bundle, backend, threads, contract.signatures))

    def check_inputs(self, signature: str, **expected: tuple[int, ...]) -> None:
        """Check that the model's signature has the inputs, by name, of the shapes that the manifest promises.

        Raises:
            BundleError: it has others.
        """
        details = self._signatures[signature].get_input_details()
        actual = {name: tuple(int(size) for size in detail["shape"]) for name, detail in details.items()}
        if actual != expected:
            raise BundleError(
                f"{self.bundle.path}: the inputs of {signature} are {actual}, the manifest says {expected}"
            )

    def check_output(self, signature: str, output: str, expected: tuple[int, ...]) -> None:
        """Check that the model's signature has an output of the shape that the manifest promises.

        Raises:
            BundleError: it has not.
        """
        detail = self._signatures[signature].get_output_details().get(output)
        actual = tuple(int(size) for size in detail["shape"]) if detail else "absent"
        if actual != expected:
            raise BundleError(f"{self.bundle.path}: output {output} is {actual}, the manifest says {expected}")

    def run(self, signature: str, leave_out: str = "", **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of a signature by name, as arrays of the caller's own.

        Args:
            leave_out: an output that is not wanted; where the runtime allows it, it is not copied.

        Raises:
            RuntimeError, ValueError: the runtime refuses the inputs.
        """
        called = self._signatures[signature]
        if leave_out:
            called = without_output(called, leave_out)
        # The interpreter has one set of buffers. The runtime copies the outputs from them, so inside the lock.
        with self._lock:
            return called(**inputs)
