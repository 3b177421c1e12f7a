"""Points of a sweep: what a trial measured, which points no other beats, and which one to ship."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgerec.sweep.space import Drawn


@dataclass(frozen=True)
class Measured:
    """A converted file, measured on validation targets through the device runtime.

    Attributes:
        bytes: of the flatbuffer.
        vocabulary: bytes of ids, titles and manifest beside it.
        ndcg: NDCG@10.
        drop, drop_ci: its relative loss against the trained float model, with the 95 % interval; ``None`` if that has
            no hit.
        ms: p50 of a ``recommend()``; ``None`` if it was not asked for.
        seconds: that the trial took.
    """

    bytes: int
    vocabulary: int
    ndcg: float
    drop: float | None
    drop_ci: tuple[float, float] | None
    ms: float | None
    seconds: float


@dataclass(frozen=True)
class Limits:
    """What the file that ships must keep; the loss is relative, 0.01 is 1 %."""

    max_bytes: int
    max_ms: float | None = None
    max_ndcg_drop: float | None = None

    def excess(self, measured: Measured) -> dict[str, float]:
        """By how much each limit is exceeded; zero or less where it is kept."""
        found = {"max_bytes": measured.bytes / self.max_bytes - 1}
        if self.max_ms is not None:
            found["max_ms"] = (measured.ms or 0.0) / self.max_ms - 1
        if self.max_ndcg_drop is not None:  # what cannot be measured cannot be vouched for
            found["max_ndcg_drop"] = (2.0 if measured.drop is None else measured.drop) - self.max_ndcg_drop
        return found

    def keeps(self, measured: Measured) -> bool:
        """Whether all limits are kept."""
        return max(self.excess(measured).values()) <= 0


@dataclass(frozen=True)
class Point:
    """A trial that ended well.

    Attributes:
        number: of the trial.
        drawn: its choices.
        effort: the share of the recipe's fine-tuning epochs that it had.
    """

    number: int
    drawn: Drawn
    effort: float
    measured: Measured

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def dominates(first: Measured, second: Measured) -> bool:
    """Whether the first is no larger and no worse than the second, and better in one of both."""
    no_worse = first.bytes <= second.bytes and first.ndcg >= second.ndcg
    return no_worse and (first.bytes < second.bytes or first.ndcg > second.ndcg)


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, by size; of equal ones the first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.measured.bytes, -p.measured.ndcg, p.number)):
        if not best or point.measured.ndcg > best[-1].measured.ndcg:
            best.append(point)
    return best


def is_promising(measured: Measured, others: Sequence[Measured]) -> bool:
    """Whether a point is in the better half of its rung: no more of ``others`` dominate it than half of them are
    dominated by.
    """
    everyone = [*others, measured]
    counts = sorted(sum(dominates(other, one) for other in everyone) for one in everyone)
    return sum(dominates(other, measured) for other in everyone) <= counts[(len(counts) - 1) // 2]


def choose(points: Sequence[Point], limits: Limits) -> Point | None:
    """The point with the highest NDCG@10 within the limits, and of equal ones the smallest; ``None`` if none keeps
    them.
    """
    kept = [point for point in points if limits.keeps(point.measured)]
    return max(kept, key=lambda point: (point.measured.ndcg, -point.measured.bytes, -point.number), default=None)
