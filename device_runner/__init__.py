"""On-device runtime: scores a local user history with a bundle.

Needs numpy and one TFLite runtime (``ai-edge-litert`` or ``tflite-runtime``), nothing else.
"""

from typing import TYPE_CHECKING, Any

from device_runner.bundle import Bundle
from device_runner.errors import BackendError, BundleError, EdgeRecError, HistoryError
from device_runner.recommendations import Recommendation, Recommendations
from device_runner.recommender import Recommender
from device_runner.state import State
from device_runner.version import __version__

if TYPE_CHECKING:
    from device_runner.ranker import Ranker
    from device_runner.two_stage import TwoStage

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "EdgeRecError",
    "HistoryError",
    "Ranker",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "State",
    "TwoStage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the ranking side when it is asked for: a device that only retrieves need not spend the time."""
    if name == "Ranker":
        from device_runner.ranker import Ranker

        return Ranker
    if name == "TwoStage":
        from device_runner.two_stage import TwoStage

        return TwoStage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
