"""What the stages of all schemes share: the model as it is exported, and its flatbuffers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from converters.build import build
from converters.schemes import SCHEMES
from converters.servable import Servable, save_model


class SchemeStage(Protocol):
    """A stage that makes the bundle of one scheme."""

    scheme: str

    def is_current(self) -> bool:
        """See :meth:`edgerec.stages.stage.Stage.is_current`."""


class Exported(ABC):
    """A model as it is exported.

    Attributes:
        stages: those of all its schemes; each adds itself.
    """

    def __init__(self) -> None:
        self.stages: list[SchemeStage] = []
        self._flatbuffers: dict[str, bytes | str] = {}

    @property
    @abstractmethod
    def servable(self) -> Servable:
        """The model with its signatures."""

    @property
    @abstractmethod
    def bits(self) -> Mapping[str, int]:
        """Bits by layer name (``convert.bits``)."""

    @property
    def calibration(self) -> Mapping[str, np.ndarray]:
        """Inputs by name that the ranges of activations are measured on; none for retrieval."""
        return {}

    def flatbuffer(self, scheme: str, scratch: Path) -> bytes | str:
        """See :func:`converters.build.build`; all schemes that are out of date are converted in one process."""
        if scheme not in self._flatbuffers:
            others = [stage.scheme for stage in self.stages if not stage.is_current()]
            wanted = dict.fromkeys([scheme, *(name for name in others if not SCHEMES[name].check(self.servable))])
            calibration = self.calibration if any(SCHEMES[name].calibrated for name in wanted) else {}
            save_model(self.servable, scratch / "saved_model", self.bits, calibration)
            self._flatbuffers |= build(scratch / "saved_model", list(wanted), scratch)
        return self._flatbuffers[scheme]
