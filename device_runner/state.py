"""The state of a recurrent model, which an app stores between two events of a user."""

import re
from dataclasses import dataclass

import numpy as np

MAGIC = b"ERS1"
SHA256 = re.compile("[0-9a-f]{64}")
# The magic number and the fingerprint's 32 bytes.
HEADER_BYTES = len(MAGIC) + 32


@dataclass(frozen=True, eq=False)
class State:
    """What a recurrent model remembers of one user's events. It belongs to one bundle and never changes:
    ``Recommender.advance`` returns a new one.

    Attributes:
        values: float32 [1, S], finite, read-only; all zero before any event.
        fingerprint: of the bundle (``Bundle.fingerprint``), 64 hexadecimal digits.

    Raises:
        ValueError: an attribute is not of this form.
    """

    values: np.ndarray
    fingerprint: str

    def __post_init__(self) -> None:
        values = np.array(self.values)  # a copy, so that nobody else can write to it
        if values.dtype != np.float32 or values.ndim != 2 or values.shape[0] != 1:
            raise ValueError(f"the state's values are {values.dtype} {values.shape}, not float32 (1, S)")
        if not np.isfinite(values).all():
            raise ValueError("the state's values are not finite")
        if not isinstance(self.fingerprint, str) or not SHA256.fullmatch(self.fingerprint):
            raise ValueError(f"the state's fingerprint is {self.fingerprint!r}, not 64 hexadecimal digits")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def to_bytes(self) -> bytes:
        """The state as bytes to store: ``b"ERS1"``, the fingerprint (32 bytes), the values (little-endian float32)."""
        return MAGIC + bytes.fromhex(self.fingerprint) + self.values.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "State":
        """The state that :meth:`to_bytes` wrote.

        Raises:
            ValueError: the content is not a stored state.
        """
        size = len(content) - HEADER_BYTES
        if content[: len(MAGIC)] != MAGIC or size < 4 or size % 4:
            raise ValueError("not a stored state (or a truncated one)")
        values = np.frombuffer(content, "<f4", offset=HEADER_BYTES).astype(np.float32)
        return cls(values[None], bytes(content[len(MAGIC) : HEADER_BYTES]).hex())
