"""The state of a recurrent model, which an app stores between two events of a user."""

import re
from dataclasses import dataclass, field

import numpy as np

MAGIC = b"ERS2"
# The format before there were recent rows: the values follow the fingerprint.
MAGIC_WITHOUT_RECENT = b"ERS1"
SHA256 = re.compile("[0-9a-f]{64}")
# The magic number and the fingerprint's 32 bytes.
HEADER_BYTES = len(MAGIC) + 32
# The number of recent rows, a little-endian uint32.
COUNT_BYTES = 4


@dataclass(frozen=True, eq=False)
class State:
    """What a recurrent model remembers of one user's events. It belongs to one bundle and never changes:
    ``Recommender.advance`` returns a new one.

    Attributes:
        values: float32 [1, S], finite, read-only; all zero before any event.
        fingerprint: of the bundle (``Bundle.fingerprint``), 64 hexadecimal digits.
        recent: int32 [n], rows of the newest items, oldest first, read-only; at most as many as the model reads beside
            the values (``contract.recent``), so empty for most models.

    Raises:
        ValueError: an attribute is not of this form.
    """

    values: np.ndarray
    fingerprint: str
    recent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        values, recent = np.array(self.values), np.array(self.recent)  # copies, so that nobody else can write to them
        if values.dtype != np.float32 or values.ndim != 2 or values.shape[0] != 1:
            raise ValueError(f"the state's values are {values.dtype} {values.shape}, not float32 (1, S)")
        if not np.isfinite(values).all():
            raise ValueError("the state's values are not finite")
        if not isinstance(self.fingerprint, str) or not SHA256.fullmatch(self.fingerprint):
            raise ValueError(f"the state's fingerprint is {self.fingerprint!r}, not 64 hexadecimal digits")
        if recent.dtype != np.int32 or recent.ndim != 1:
            raise ValueError(f"the state's recent rows are {recent.dtype} {recent.shape}, not int32 (n,)")
        if (recent < 1).any():
            raise ValueError(f"the state's recent rows have {recent.min()}, but rows of items begin at 1")
        values.flags.writeable = recent.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "recent", recent)

    @property
    def empty(self) -> bool:
        """Whether it holds nothing: no event and no user feature so far."""
        return not self.values.any() and not len(self.recent)

    def to_bytes(self) -> bytes:
        """The state as bytes to store: ``b"ERS2"``, the fingerprint (32 bytes), the number of recent rows (uint32), the
        recent rows (int32) and the values (float32), all little-endian.
        """
        count = len(self.recent).to_bytes(COUNT_BYTES, "little")
        rows, values = self.recent.astype("<i4").tobytes(), self.values.astype("<f4").tobytes()
        return MAGIC + bytes.fromhex(self.fingerprint) + count + rows + values

    @classmethod
    def from_bytes(cls, content: bytes) -> "State":
        """The state that :meth:`to_bytes` wrote, now or in the format ``ERS1`` (without recent rows).

        Raises:
            ValueError: the content is not a stored state.
        """
        magic, start, count = content[: len(MAGIC)], HEADER_BYTES, 0
        if magic == MAGIC:
            start += COUNT_BYTES
            count = int.from_bytes(content[HEADER_BYTES:start], "little")
        size = len(content) - start - 4 * count
        if magic not in (MAGIC, MAGIC_WITHOUT_RECENT) or size < 4 or size % 4:
            raise ValueError("not a stored state (or a truncated one)")
        recent = np.frombuffer(content, "<i4", count, start).astype(np.int32)
        values = np.frombuffer(content, "<f4", offset=start + 4 * count).astype(np.float32)
        return cls(values[None], bytes(content[len(MAGIC) : HEADER_BYTES]).hex(), recent)
