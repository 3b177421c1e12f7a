"""Workstation toolkit: data, training, pruning, evaluation, reports and the ``edgerec`` command."""

import logging
import os

# tensorflow-model-optimization works with Keras 2 (tf_keras) only, and the choice is read at the first import.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A new recommender is a new graph: tensorflow's advice about retracing is not for us.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


def __getattr__(name: str) -> object:
    """``edgerec.run``, imported when it is asked for: TensorFlow takes seconds."""
    if name == "run":
        from edgerec.api import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
