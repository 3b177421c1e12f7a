"""What a scheme's integers are, for conversion and for training that is aware of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Storage:
    """The integer grids of a scheme. Levels are symmetric around zero (see ``converters.grids``).

    Attributes:
        table: bits of the item table: 2, 4 or 8.
        kernels: bits of the network's kernels, which have a scale for each output channel.
        by_row: whether the table has a scale for each row, or one for all.
        block: weights of a row that share a scale, a multiple of ``BLOCK``; 0: all of them. Grids of fewer weights
            hold what lies on a grid of the row.
    """

    table: int
    kernels: int
    by_row: bool = True
    block: int = 0


# The kernels for blocks read so many weights at a time.
BLOCK = 32


def split_bytes(width: int, bits: int) -> str | None:
    """Why item vectors of this width cannot be stored in these bits; ``None`` if they can."""
    if width * bits % 8 == 0:
        return None
    # Seen on litert 2.3.0: its lookup goes on with the next byte, and all odd rows are wrong.
    return f"item vectors of {width} x {bits} bits do not end with a byte; make model.dim a multiple of {8 // bits}"
