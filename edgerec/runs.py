"""Runs side by side: what their shipped files weigh and how good they are, compared target by target."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerec.errors import DataError
from edgerec.evaluation.comparison import compare
from edgerec.evaluation.ranking import Evaluation
from edgerec.evaluation.scored_comparison import compare_scored
from edgerec.evaluation.scored_rows import ScoredRows


def compare_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry for each finished run: ``run``, ``file``, ``bytes``, ``quality``, ``latency_ms``, and ``comparison``
    with the first run, target by target (see ``edgerec.evaluation.comparison.Comparison``; of ranking runs
    ``ScoredComparison``; ``None`` for the first).

    Raises:
        DataError: a folder has no report, or the runs are of different kinds, splits or test rows.
    """
    reports = [_report(folder) for folder in folders]
    first = reports[0]["dataset"]
    reference: Evaluation | ScoredRows | None = None
    entries: list[dict[str, Any]] = []
    for folder, report in zip(folders, reports, strict=True):
        if kind_of(report) != kind_of(reports[0]):
            raise DataError(
                f"{folder}: a {kind_of(report)} run, {folders[0]} a {kind_of(reports[0])} run; compare runs of one kind"
            )
        if report["dataset"]["split_fingerprint"] != first["split_fingerprint"]:
            raise DataError(
                f"{folder}: of split {report['dataset']['split_fingerprint']}, {folders[0]} of "
                f"{first['split_fingerprint']}; figures of different splits cannot be compared"
            )
        shipped = report["variants"][-1]
        made = (folder / shipped["file"]).parent
        evaluation: Evaluation | ScoredRows
        if kind_of(report) == "ranking":
            evaluation = ScoredRows.load(made)
        else:
            evaluation = Evaluation.load(made, report["dataset"]["items"])
        comparison = _compared(reference, evaluation)
        reference = reference or evaluation
        entries.append(
            {
                "run": str(folder),
                "kind": kind_of(report),
                "file": shipped["file"],
                "bytes": shipped["bytes"]["total"],
                "quality": shipped["quality"],
                "latency_ms": shipped["latency_ms"],
                "comparison": comparison,
            }
        )
    return entries


def kind_of(report: dict[str, Any]) -> str:
    """``retrieval`` or ``ranking``."""
    return str(report.get("kind", "retrieval"))


def _compared(reference: Evaluation | ScoredRows | None, other: Evaluation | ScoredRows) -> dict[str, Any] | None:
    if isinstance(reference, ScoredRows) and isinstance(other, ScoredRows):
        return compare_scored(reference, other).as_dict()
    if isinstance(reference, Evaluation) and isinstance(other, Evaluation):
        return compare(reference, other).as_dict()
    return None


def _report(folder: Path) -> dict[str, Any]:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if report["schema"] == 1:
            return dict(report)
        raise DataError(f"{folder / 'report.json'}: of schema {report['schema']}; run again with this version")
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: no report here; make one with: edgerec run RECIPE --out {folder}") from None
