"""On-device runtime: scores a local user history with a bundle.

Needs numpy and one TFLite runtime (``ai-edge-litert`` or ``tflite-runtime``), nothing else.
"""

from device_runner.bundle import Bundle
from device_runner.errors import BackendError, BundleError, EdgeRecError, HistoryError
from device_runner.recommendations import Recommendation, Recommendations
from device_runner.recommender import Recommender
from device_runner.state import State
from device_runner.version import __version__

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "EdgeRecError",
    "HistoryError",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "State",
    "__version__",
]
