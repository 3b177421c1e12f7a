"""Verification: does a file give on a runtime what the Keras model gives? Some combinations are silently wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters.flatbuffer.dot_products import FEATURE as DOT_PRODUCTS
from converters.flatbuffer.dot_products import may_crash
from converters.schemes import SCHEMES
from converters.servable import Cases
from device_runner.backends import installed_backends
from device_runner.bundle import Bundle
from device_runner.child_process import run_module
from device_runner.contract import Outputs
from device_runner.errors import plain_reason

SECONDS = 900
# What runs the cases, by kind of the contract.
PROCESSES = {"retrieval": "converters.verify_process", "ranking": "converters.verify_ranking_process"}


@dataclass(frozen=True)
class Verification:
    """What one runtime made of the inputs.

    Attributes:
        version: of the runtime.
        reason: why verification failed, in words; ``""`` if the file passed and may claim the runtime.
        agreement: the contract's figures against the Keras model; empty where the runtime failed.
        outputs: what it gave, as the contract's ``agreement`` compares it.
        not_on: features of processors, as /proc/cpuinfo calls them, on which the runtime may crash on this file.
    """

    version: str
    reason: str
    agreement: dict[str, float] = field(default_factory=dict)
    outputs: Outputs = field(default_factory=dict)
    not_on: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the file may claim the runtime."""
        return not self.reason

    def facts(self, inputs: int) -> dict[str, Any]:
        """The runtime's entry in the manifest."""
        return {"version": self.version, **_rounded(self.agreement), "histories": inputs, **self._limits()}

    def to_json(self) -> dict[str, Any]:
        """Ready for a report."""
        found = {"version": self.version, "passed": self.passed, **_rounded(self.agreement), "reason": self.reason}
        return {**found, **self._limits()}

    def _limits(self) -> dict[str, Any]:
        return {"not_on": list(self.not_on)} if self.not_on else {}


def verify(bundle: Path, scheme: str, inputs: Cases, expected: Outputs, scratch: Path) -> dict[str, Verification]:
    """Run the cases ``inputs`` on every installed runtime that the scheme names, each in a process of
    its own.

    Args:
        expected: what the Keras model gives.
        scratch: folder for temporary files.

    Returns:
        The outcome by runtime, in order of preference.
    """
    return {
        backend: _verify_on(backend, version, bundle, scheme, inputs, expected, scratch)
        for backend, version in installed_backends().items()
        if backend in SCHEMES[scheme].runtimes
    }


def _verify_on(
    backend: str, version: str, bundle: Path, scheme: str, inputs: Cases, expected: Outputs, scratch: Path
) -> Verification:
    source, destination = scratch / "in.npz", scratch / "out.npz"
    arrays = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    np.savez(source, **arrays)
    if error := run_module(
        PROCESSES[Bundle.read(bundle).contract.kind], bundle, backend, source, destination, time_limit=SECONDS
    ):
        return Verification(version, plain_reason(error))
    with np.load(destination) as found:
        outputs = {name: found[name] for name in found.files}
    contract = Bundle.read(bundle).contract
    agreement = contract.agreement(expected, outputs)
    reason = "all scores are zero" if not outputs["scores"].any() else SCHEMES[scheme].shortfall(agreement)
    # Recurrent models: the outputs for the first inputs were also computed by way of the state.
    by_state = {name.removeprefix("state_"): values for name, values in outputs.items() if name.startswith("state_")}
    if by_state and not reason:
        first = {name: expected[name][: len(values)] for name, values in by_state.items()}
        if shortfall := SCHEMES[scheme].shortfall(contract.agreement(first, by_state)):
            reason = f"by way of the state, {shortfall}"
    crashes = backend == "tflite-runtime" and may_crash(Bundle.read(bundle).model)
    return Verification(version, reason, agreement, outputs, (DOT_PRODUCTS,) if crashes else ())


def _rounded(figures: dict[str, float]) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {name: round(value, 6) if np.isfinite(value) else None for name, value in figures.items()}
