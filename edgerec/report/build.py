"""Writes ``report.json``, ``report.html``, and ``MODEL_CARD.md`` with its ``curves.svg``."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from edgerec.artifact import write_file
from edgerec.report import plots


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write page, card and JSON; the JSON last, as it is what says that the report is done."""
    for name, render in PAGES.items():
        write_file(folder / name, render(report))
    write_file(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def render_html(report: dict[str, Any]) -> str:
    """One HTML page with no link to anything outside itself."""
    template = _environment(autoescape=True).from_string(_text("page.html"))
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


def render_card(report: dict[str, Any]) -> str:
    """The model card, Markdown, all of it from the report."""
    files = [v for v in report["variants"] if v["file"]]
    return _environment(autoescape=False).from_string(_text("card.md")).render(report=report, files=files)


# What a report has beside its JSON; the card shows the curves.
PAGES = {"report.html": render_html, "MODEL_CARD.md": render_card, "curves.svg": plots.learning_curves}


def _environment(autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(autoescape=autoescape, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    environment.filters["kb"] = lambda value: f"{value / 1000:,.1f}"
    return environment


def _text(name: str) -> str:
    return resources.files("edgerec.report").joinpath(name).read_text("utf-8")
