"""The figure by which a report compares its files."""

from dataclasses import dataclass
from typing import Any

from edgerec.evaluation.scored_rows import figures_of


@dataclass(frozen=True)
class Merit:
    """A figure of ``quality``, and where its change against the reference is in ``fidelity``.

    Attributes:
        name, title: in the report, and in plots.
        interval: key of the 95 % interval of the relative loss.
        call: what the latency is that of.
    """

    name: str
    title: str
    interval: str
    call: str
    higher_is_better: bool = True

    @classmethod
    def of(cls, report: dict[str, Any]) -> "Merit":
        """That of a report of retrieval or ranking."""
        if report.get("kind") != "ranking":
            return cls("ndcg@10", "NDCG@10", "ndcg_drop_ci", "a recommend() call")
        main = figures_of(report["task"]["kind"])[0]
        return cls(main.name, main.title, "loss_ci", "a score() call with 100 candidates", main.higher_is_better)

    def value(self, measured: dict[str, Any]) -> float:
        """The figure of a variant or baseline."""
        return float(measured["quality"][self.name])

    def better(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        """Whether ``one`` is better than ``other``."""
        return self.value(one) > self.value(other) if self.higher_is_better else self.value(one) < self.value(other)

    def ends(self, variant: dict[str, Any], reference: dict[str, Any]) -> tuple[float, float]:
        """The figure of the variant at both ends of the interval of its loss against the reference, lower one first."""
        losses = variant["fidelity"][self.interval]
        if losses is None:
            return self.value(variant), self.value(variant)
        sign = -1 if self.higher_is_better else 1
        low, high = sorted(self.value(reference) * (1 + sign * loss) for loss in losses)
        return low, high
