"""The root of the project's errors; commands turn each into one line and its exit code (1 unless it has another)."""

# Characters of a message that may repeat what a file says; the longest of our own have about 300.
LONGEST = 600


class EdgeRecError(Exception):
    """A mistake or a limit that the user can understand and correct."""


class BundleError(EdgeRecError):
    """The file is not a bundle, or its parts do not fit together. The message is one short line, whatever it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BackendError(EdgeRecError):
    """No TFLite runtime can be used, or it refuses the model. The message is one short line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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


def one_line(text: str) -> str:
    """The text in one line of at most ``LONGEST`` characters: control characters, line and paragraph separators, marks
    of direction and lone surrogates are written as Python escapes them.
    """
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + " … " + text[-LONGEST // 2 + 3 :]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
