"""Two reports of ``bench`` side by side: what became better, what became worse."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.bench.measure_ranking import COUNTS
from device_runner.errors import EdgeRecError

# Labels of the compared figures by their place in the report, and whether one that becomes worse fails the comparison.
# The 99th percentile is shown only: on a device that does anything else, it is the other program's time.
FIGURES: dict[tuple[str, ...], tuple[str, bool]] = {
    ("recommend_ms", "p50"): ("recommend p50 (ms)", True),
    ("recommend_ms", "p90"): ("recommend p90 (ms)", True),
    ("recommend_ms", "p99"): ("recommend p99 (ms)", False),
    **{("score_ms", str(count), "p50"): (f"score {count} p50 (ms)", True) for count in COUNTS},
    **{("score_ms", str(count), "p95"): (f"score {count} p95 (ms)", False) for count in COUNTS},
    ("invoke_ms", "p50"): ("invoke p50 (ms)", True),
    ("step_ms", "p50"): ("step p50 (ms)", True),
    ("throughput_per_s",): ("throughput (1/s)", True),
    ("cold_start_ms", "process"): ("cold start (ms)", True),
    ("peak_rss_mb",): ("peak memory (MB)", True),
    ("bytes", "total"): ("file (bytes)", True),
    ("energy", "joules"): ("energy of a call (J)", True),
}
MORE_IS_BETTER = {("throughput_per_s",)}
# The entry that a report of each kind of model has.
MAIN = {"retrieval": "recommend_ms", "ranking": "score_ms"}
# What should be equal for a comparison to be about the files or the code alone.
CIRCUMSTANCES: dict[tuple[str, ...], str] = {
    ("backend",): "runtime",
    ("backend_version",): "version of the runtime",
    ("threads",): "number of threads",
    ("k",): "number of items",
    ("histories",): "number of histories",
    ("device", "board"): "board",
    ("device", "cpu"): "processor",
    ("device", "before", "governor"): "governor",
}


class ReportError(EdgeRecError):
    """A file is not a report of ``bench``."""


class RegressionError(EdgeRecError):
    """A figure became worse by more than the threshold."""

    exit_code = 3


@dataclass(frozen=True)
class Change:
    """One figure of two reports.

    Attributes:
        figure: its name for people, with the unit.
        before: its value in the earlier report.
        after: its value now.
        change: relative change; 0.1 is 10 % more.
        better: whether the change, however small, is for the better.
        worse: whether it became worse by more than the threshold, in a figure that counts.
    """

    figure: str
    before: float
    after: float
    change: float
    better: bool
    worse: bool


def read_report(path: Path, kind: str) -> dict[str, Any]:
    """A report that ``bench --json`` printed, of schema 1 or later.

    Args:
        kind: the kind of model that it must be of.

    Raises:
        ReportError: absent, or something else.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(report, dict) or not isinstance(report.get(MAIN.get(kind_of(report), "")), dict):
        raise ReportError(f"{path}: not a report of bench; make one with: edgerec-device bench MODEL --json > FILE")
    if kind_of(report) != kind:
        raise ReportError(f"{path}: of a {kind_of(report)} model, this is a {kind} model; compare reports of one kind")
    return report


def compare_reports(before: Mapping[str, Any], after: Mapping[str, Any], threshold: float) -> list[Change]:
    """The figures that both reports have.

    Args:
        threshold: relative change above which a figure counts as worse; 0.1 is 10 %.
    """
    found = []
    for place, (figure, counts) in FIGURES.items():
        old, new = _number(before, place), _number(after, place)
        if not old or not new:
            continue
        change = new / old - 1
        loss = -change if place in MORE_IS_BETTER else change
        found.append(Change(figure, old, new, change, loss < 0, counts and loss > threshold))
    return found


def kind_of(report: Mapping[str, Any]) -> str:
    """The kind of model that a report is of; those of early versions do not say it."""
    return str(report.get("kind", "retrieval"))


def differing_circumstances(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Sentences on what else differs between the two reports, so that figures may differ for that reason."""
    return [
        f"the {name} is {_at(after, place)}, in the other report {_at(before, place)}"
        for place, name in CIRCUMSTANCES.items()
        if _at(before, place) is not None and _at(before, place) != _at(after, place)
    ]


def check_changes(changes: Sequence[Change], threshold: float, other: Path) -> None:
    """Raises RegressionError if a figure became worse by more than the threshold."""
    worse = [f"{change.figure} {change.change:+.0%}" for change in changes if change.worse]
    if worse:
        raise RegressionError(f"worse than {other} by more than {threshold:.0%}: {', '.join(worse)}")


def shown_figure(value: float) -> str:
    """A figure as people read it: three decimals where it is small, none where it is large."""
    return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _number(report: Mapping[str, Any], place: Sequence[str]) -> float | None:
    found = _at(report, place)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _at(report: Mapping[str, Any], place: Sequence[str]) -> Any:
    found: Any = report
    for name in place:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
