"""Estimated latencies on Raspberry Pi boards, from counted ARM instructions.

Instructions are counted exactly and repeatably under emulation; milliseconds are not. What turns one into the other is
assumed: the clock by the board's data sheet, how many instructions a cycle this mix of integer arithmetic and memory
access retires (two of at most two on an in-order Cortex-A53 is never reached), and one core's measured reading speed.
So each estimate is a range, and every table says that it is one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Board:
    """A board and what is assumed of it.

    Attributes:
        name: as people know it.
        cpu: whose instruction counts are valid for it, by qemu's name.
        clock_ghz: under load, without throttling.
        instructions_per_cycle: the least and the most that is assumed.
        read_gb_per_s: reading speed of one core from memory.
    """

    name: str
    cpu: str
    clock_ghz: float
    instructions_per_cycle: tuple[float, float]
    read_gb_per_s: float


# Clocks: Raspberry Pi's documentation of its processors. Reading speeds of one core: measured for the 3B+ (1.9 GB/s),
# the 4 (3.4 to 3.7) and the 5 (14); the Zero 2 W has the processor of the 3 and the same kind of memory. Instructions
# per cycle: the A53 issues two in order, the A72 three and the A76 four out of order; a fifth to a half is assumed.
BOARDS = (
    Board("Raspberry Pi Zero 2 W", "cortex-a53", 1.0, (0.5, 1.0), 1.9),
    Board("Raspberry Pi 3B+", "cortex-a53", 1.4, (0.5, 1.0), 1.9),
    Board("Raspberry Pi 4", "cortex-a72", 1.5, (0.8, 1.6), 3.4),
    Board("Raspberry Pi 5", "cortex-a76", 2.4, (1.2, 2.4), 14.0),
)


@dataclass(frozen=True)
class BoardEstimate:
    """The range in which one call's time is assumed to be.

    Attributes:
        board: its name.
        cpu: by qemu's name.
        instructions: counted, of one call.
        low_ms: with the most instructions per cycle, and all weights in the caches.
        high_ms: with the least, and all weights read from memory once.
    """

    board: str
    cpu: str
    instructions: int
    low_ms: float
    high_ms: float


def estimates(instructions: Mapping[str, int], bytes_read: int) -> list[BoardEstimate]:
    """An estimate for each board whose processor has a count.

    Args:
        instructions: of one call, by processor.
        bytes_read: of the weights, which a call reads at most once: the size of the model.

    Raises:
        ValueError: a number is negative.
    """
    if bytes_read < 0 or any(count < 0 for count in instructions.values()):
        raise ValueError("instructions and bytes cannot be negative")
    found = []
    for board in BOARDS:
        if board.cpu in instructions:
            count = instructions[board.cpu]
            slowest, fastest = (count / (board.clock_ghz * 1e6 * rate) for rate in board.instructions_per_cycle)
            memory = bytes_read / (board.read_gb_per_s * 1e6)
            found.append(BoardEstimate(board.name, board.cpu, count, fastest, slowest + memory))
    return found


def counts_of(entries: Iterable[Mapping[str, Any]], operation: str, **wanted: str) -> dict[str, int]:
    """Instructions of an operation by processor, from the entries ``counts`` of the file of recorded counts.

    Args:
        operation: ``"recommend"`` (the whole call), ``"invoke"`` (the bare model) or ``"step"`` (one more event and the
            recommendation after it).
        wanted: what an entry must say, such as ``bundle``, ``scheme`` and ``runtime``.
    """
    return {
        str(entry["cpu"]): int(entry[operation])
        for entry in entries
        if entry.get(operation) is not None and all(entry.get(name) == value for name, value in wanted.items())
    }


def latency_table(operations: Mapping[str, Mapping[str, int]], bytes_read: int) -> str:
    """A table in Markdown of estimated milliseconds by board, with what it assumes; ``""`` without any count.

    Args:
        operations: instructions of one call by processor, by the operation's name for people.
        bytes_read: as in :func:`estimates`.
    """
    found = {said: {one.board: one for one in estimates(counts, bytes_read)} for said, counts in operations.items()}
    boards = [board for board in BOARDS if any(board.name in one for one in found.values())]
    if not boards:
        return ""
    lines = [
        f"| board (estimated, not measured) | {' | '.join(f'{said}, ms' for said in found)} |",
        f"|---|{'---|' * len(found)}",
    ]
    for board in boards:
        cells = [_range(one[board.name]) if board.name in one else "" for one in found.values()]
        lines.append(f"| {board.name} ({board.clock_ghz:g} GHz) | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _assumptions(boards, bytes_read)]) + "\n"


def _range(estimate: BoardEstimate) -> str:
    return f"{_two_digits(estimate.low_ms)} to {_two_digits(estimate.high_ms)}"


def _two_digits(value: float) -> str:
    """Two digits that count: more would claim a precision that an estimate does not have."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _assumptions(boards: Sequence[Board], bytes_read: int) -> str:
    rates = {board.cpu: board.instructions_per_cycle for board in boards}
    said = ", ".join(f"{low:g} to {high:g} on the {cpu}" for cpu, (low, high) in rates.items())
    return (
        f"Estimates from ARM instructions counted under emulation; assumed are the clocks above, instructions per "
        f"cycle of {said}, and for the slower end that all {bytes_read / 1000:,.0f} kB of the model are read from "
        "memory. `edgerec-device bench` measures."
    )
