"""Runs side by side: what their shipped files weigh and how good they are, compared target by target."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerec.errors import DataError
from edgerec.evaluation.comparison import compare
from edgerec.evaluation.ranking import Evaluation


def compare_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry for each finished run: ``run``, ``file``, ``bytes``, ``quality``, ``latency_ms``, and ``comparison``
    with the first run, target by target (see ``edgerec.evaluation.comparison.Comparison``; ``None`` for the first).

    Raises:
        DataError: a folder has no report, or the runs are of different splits.
    """
    reports = [_report(folder) for folder in folders]
    first = reports[0]["dataset"]
    reference: Evaluation | None = None
    entries: list[dict[str, Any]] = []
    for folder, report in zip(folders, reports, strict=True):
        if report["dataset"]["split_fingerprint"] != first["split_fingerprint"]:
            raise DataError(
                f"{folder}: of split {report['dataset']['split_fingerprint']}, {folders[0]} of "
                f"{first['split_fingerprint']}; figures of different splits cannot be compared"
            )
        shipped = report["variants"][-1]
        evaluation = Evaluation.load((folder / shipped["file"]).parent, report["dataset"]["items"])
        comparison = compare(reference, evaluation).as_dict() if reference else None
        reference = reference or evaluation
        entries.append(
            {
                "run": str(folder),
                "file": shipped["file"],
                "bytes": shipped["bytes"]["total"],
                "quality": shipped["quality"],
                "latency_ms": shipped["latency_ms"],
                "comparison": comparison,
            }
        )
    return entries


def _report(folder: Path) -> dict[str, Any]:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if report["schema"] == 1:
            return dict(report)
        raise DataError(f"{folder / 'report.json'}: of schema {report['schema']}; run again with this version")
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: no report here; make one with: edgerec run RECIPE --out {folder}") from None
