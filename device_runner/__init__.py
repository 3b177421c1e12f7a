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
    from device_runner.history_store import Event, History
    from device_runner.model_slot import ModelSlot
    from device_runner.ranker import Ranker
    from device_runner.two_stage import TwoStage

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "EdgeRecError",
    "Event",
    "History",
    "HistoryError",
    "ModelSlot",
    "Ranker",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "State",
    "TwoStage",
    "__version__",
]

# Loaded when they are asked for: SQLite alone would cost the first answer 10 ms that only users of a store need.
_LAZY = {
    "Event": "device_runner.history_store",
    "History": "device_runner.history_store",
    "ModelSlot": "device_runner.model_slot",
    "Ranker": "device_runner.ranker",
    "TwoStage": "device_runner.two_stage",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
