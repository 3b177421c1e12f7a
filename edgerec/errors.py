"""Errors of the workstation toolkit, all under :class:`device_runner.EdgeRecError`."""

from device_runner.errors import EdgeRecError, plain_reason
from device_runner.version import __version__

__all__ = [
    "ClusterError",
    "DataError",
    "EdgeRecError",
    "GateError",
    "MissingExtraError",
    "RecipeError",
    "TrainingError",
    "plain_reason",
]


class RecipeError(EdgeRecError):
    """The recipe, or an override of it, is wrong."""

    exit_code = 2


class DataError(EdgeRecError):
    """The tables cannot be read, or hold nothing to train on."""


class ClusterError(EdgeRecError):
    """The workers of a training cannot connect, or one of them ended early."""


class TrainingError(EdgeRecError):
    """Training cannot give a model."""


class MissingExtraError(EdgeRecError):
    """A part of the workstation toolkit is not installed."""

    def __init__(self, what: str, extra: str, missing: str | None = None) -> None:
        detail = f" (no module {missing})" if missing else ""
        super().__init__(
            f"{what} needs the extra [{extra}]{detail}. From a clone: pip install -c constraints.txt -e '.[{extra}]'; "
            f"from a wheel: pip install './edgerec-{__version__}-py3-none-any.whl[{extra}]'"
        )


class GateError(EdgeRecError):
    """The measured artifact falls short of the recipe's gate."""

    exit_code = 3
