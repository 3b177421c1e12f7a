"""Writes ``report.json`` and ``report.html``."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from edgerec.artifact import write_file
from edgerec.report import plots


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write both files; the JSON last, as it is what says that the report is done."""
    write_file(folder / "report.html", render_html(report))
    write_file(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def render_html(report: dict[str, Any]) -> str:
    """One HTML page with no link to anything outside itself."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    environment.filters["kb"] = lambda value: f"{value / 1000:,.1f}"
    template = environment.from_string(resources.files("edgerec.report").joinpath("page.html").read_text("utf-8"))
    return template.render(
        report=report,
        files=[v for v in report["variants"] if v["file"]],
        plots={
            "size": plots.size_against_quality(report),
            "bytes": plots.bytes_by_part(report),
            "latency": plots.latency(report),
            "curves": plots.learning_curves(report),
        },
    )
