"""Item ids that are numbers, in as many bits as the largest of them needs."""

from collections.abc import Sequence

import numpy as np

# Of an int64 without its sign.
MOST_BITS = 63
# A byte for every bit is memory that is better taken for a part at a time. Parts begin with a byte.
UNPACKED_AT_ONCE = 1 << 14


def pack_numbers(ids: Sequence[str]) -> bytes | None:
    """A byte with the number of bits, then the ids, each from its lowest bit on.

    Returns:
        ``None`` if an id is not a whole number from 0 to 2^63 - 1 as Python writes it, or there are no ids.
    """
    if not ids or not all(one.isascii() and one.isdigit() and (one == "0" or one[0] != "0") for one in ids):
        return None
    if max(map(len, ids)) > 19 or (largest := max(map(int, ids))) >> MOST_BITS:
        return None
    bits = max(1, largest.bit_length())
    values = np.array([int(one) for one in ids], np.int64)
    fields = np.empty((len(ids), bits), np.uint8)
    for bit in range(bits):
        fields[:, bit] = (values >> bit) & 1
    return bytes([bits]) + np.packbits(fields, bitorder="little").tobytes()


def unpack_numbers(content: bytes, count: int) -> np.ndarray:
    """The ``count`` ids that ``pack_numbers`` was given, as int32 if they have up to 31 bits, else int64.

    Raises:
        ValueError: the content is something else; it is checked before anything is unpacked.
    """
    bits = content[0] if content else 0
    if not 1 <= bits <= MOST_BITS or count > 2**bits or len(content) != 1 + (count * bits + 7) // 8:
        raise ValueError(f"does not hold {count:,} different numbers")
    values: np.ndarray = np.zeros(count, np.int32 if bits < 32 else np.int64)
    for start in range(0, count, UNPACKED_AT_ONCE):
        part = values[start : start + UNPACKED_AT_ONCE]
        packed = np.frombuffer(content, np.uint8, (len(part) * bits + 7) // 8, 1 + start * bits // 8)
        fields = np.unpackbits(packed, count=len(part) * bits, bitorder="little")
        for bit in range(bits):
            part |= np.left_shift(fields[bit::bits], bit, dtype=part.dtype)
    return values
