"""The root of the project's errors; commands turn each into one line and its exit code (1 unless it has another)."""

import reprlib

# Characters of a message that may repeat what a file says; the longest of our own have about 300.
LONGEST = 600
# Of a value that a message repeats.
SHOWN = 60
_SHORTENED = reprlib.Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = 2 * SHOWN


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


def shown(value: object) -> str:
    """A value of a caller for a message: in one line, and not all of a long one."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a very large number"
    if isinstance(value, str | bytes):
        value = value[:SHOWN]
    try:
        text = one_line(_SHORTENED.repr(value))
    except Exception:  # a type whose repr() fails
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def one_line(text: str) -> str:
    """The text in one line of at most ``LONGEST`` characters: control characters, line and paragraph separators, marks
    of direction and lone surrogates are written as Python escapes them.
    """
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + " … " + text[-LONGEST // 2 + 3 :]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
