"""The root of the project's errors; commands turn each into one line and its exit code (1 unless it has another)."""


class EdgeRecError(Exception):
    """A mistake or a limit that the user can understand and correct."""


class BundleError(EdgeRecError):
    """The file is not a bundle, or its parts do not fit together."""


class BackendError(EdgeRecError):
    """No TFLite runtime can be used, or it refuses the model."""


class HistoryError(EdgeRecError):
    """A history file cannot be read."""
