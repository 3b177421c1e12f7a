"""The root of the project's errors; commands turn each into one line and its exit code (1 unless it has another)."""


class EdgeRecError(Exception):
    """A mistake or a limit that the user can understand and correct."""


class BundleError(EdgeRecError):
    """The file is not a bundle, or its parts do not fit together."""


class BackendError(EdgeRecError):
    """No TFLite runtime can be used, or it refuses the model."""


class DeltaError(EdgeRecError):
    """A delta is damaged, or for another file."""


class SignatureError(EdgeRecError):
    """A file is not signed as it must be, or a key cannot be used."""


class UpdateError(EdgeRecError):
    """A new model was refused; the one in service stays."""


class HistoryError(EdgeRecError):
    """A history file cannot be read."""


def plain_reason(error: Exception | str) -> str:
    """Why something could not be written, in one line, as libraries say it in many."""
    text = str(getattr(error, "strerror", None) or getattr(error, "message", None) or error).strip()
    if "No space left on device" in text or "no space left" in text.lower():
        return "no space is left on the disk"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
