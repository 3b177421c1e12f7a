"""Writes ``report.json``, ``report.html``, and ``MODEL_CARD.md`` with its ``curves.svg``."""

import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from edgerec.artifact import write_file
from edgerec.evaluation.words import WHY_NOT_MEASURABLE, change, percent
from edgerec.report import plots, ranking
from edgerec.report.steps import bytes_change, step_sentences


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write page, card and JSON into ``folder``; the JSON last, because its presence says that the report is done."""
    for name, render in pages_of(report).items():
        write_file(folder / name, render(report))
    write_file(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def render_html(report: dict[str, Any]) -> str:
    """The report as one HTML page without scripts, and without links to anything outside itself."""
    return _unbroken(_render("page.html", report, autoescape=True, plots=render_plots(report)))


def render_ranking_html(report: dict[str, Any]) -> str:
    """The report of a ranking run, likewise."""
    page = _template("ranking.html", autoescape=True).render(
        report=report,
        files=[variant for variant in report["variants"] if variant["file"]],
        table=ranking.table_rows(report),
        steps=ranking.step_rows(report),
        sentences=ranking.sentences(report),
        predicted=ranking.predicted(report["task"]["kind"]),
        data_line=ranking.data_line(report),
        plots=render_plots(report),
    )
    return _unbroken(page)


def _unbroken(page: str) -> str:
    """No line break between a figure and its unit."""
    return page.replace(" %", "\u00a0%")


def render_plots(report: dict[str, Any]) -> dict[str, str]:
    """The plots of the page by name, as SVG text."""
    steps = {"steps": plots.waterfall(report)} if report.get("steps") else {}
    return {
        **steps,
        "size": plots.size_against_quality(report),
        "bytes": plots.bytes_by_part(report),
        "latency": plots.latency(report),
        "curves": plots.learning_curves(report),
    }


def render_card(report: dict[str, Any]) -> str:
    """The model card in Markdown, made of the report alone."""
    return _render("card.md", report, autoescape=False)


def render_curves(report: dict[str, Any]) -> str:
    """The learning curves as an SVG file of their own, which the card shows."""
    return plots.standalone(plots.learning_curves(report))


# The files beside report.json, and what renders each.
PAGES = {"report.html": render_html, "MODEL_CARD.md": render_card, "curves.svg": render_curves}


RANKING_PAGES = {
    "report.html": render_ranking_html,
    "MODEL_CARD.md": ranking.render_ranking_card,
    "curves.svg": render_curves,
}


def pages_of(report: dict[str, Any]) -> Mapping[str, Callable[[dict[str, Any]], str]]:
    """The files beside report.json that a report of its kind has, and what renders each."""
    if report.get("kind") == "ranking":
        return RANKING_PAGES
    return PAGES


def stage_summary(name: str, log: dict[str, Any]) -> str:
    """A training stage in a line: "pruned: cross-entropy, epoch 3 of 3 kept (all epochs run), 76 s, …"."""
    stopped = f" ({log['stopped']})" if log.get("stopped") else ""
    kept = f"epoch {log['best_epoch']} of {log['epochs']} kept{stopped}"
    zeros = _zeros(log["sparsity"])
    facts = [zeros, _parameters(log), _gap(log)]
    return ", ".join([f"{name}: {log['loss']}", kept, f"{log['seconds']:.0f} s", *filter(None, facts)])


def _zeros(shares: dict[str, float]) -> str:
    """How sparse the pruned kernels are; empty if none is. The total over all tables would tell too little."""
    pruned = [share for layer, share in shares.items() if layer != "total" and share > 0]
    if not pruned:
        return ""
    low, high = percent(min(pruned), 0), percent(max(pruned), 0)
    return f"{low if low == high else f'{low} to {high}'} zeros in the pruned kernels"


def _parameters(log: dict[str, Any]) -> str:
    if not (counts := log.get("parameters")):
        return ""
    total, nonzero = counts["total"], counts["nonzero"]
    return f"{total:,} parameters" + (f" ({nonzero:,} of them not zero)" if nonzero < total else "")


def _gap(log: dict[str, Any]) -> str:
    """How much better the model is on what it was trained on than on what it was not."""
    if not (gap := log.get("gap")):
        return ""
    return f"NDCG@10 {gap['train_ndcg@10']:.4f} on training events and {gap['validation_ndcg@10']:.4f} on validation"


def part_words(facts: dict[str, Any]) -> list[str]:
    """The parts of the score beside the network, in words, from ``Parts.facts``."""
    words = []
    if transitions := facts.get("transitions"):
        words.append(
            f"transitions ({transitions['neighbours']} neighbours an item, read for the last {transitions['recent']} "
            f"events{', and repeats' if transitions['repeats'] else ''})"
        )
    if prior := facts.get("prior"):
        days = prior["half_life_days"]
        by_time = "long-run popularity" if days is None else f"recent popularity (half-life {days:g} days)"
        words.append("counts from a file" if prior["from_file"] else by_time)
    return words


def bytes_by_part(variant: dict[str, Any]) -> str:
    """The bytes of a file in a line."""
    parts = [(part, variant["bytes"][part]) for part in plots.PARTS if part in variant["bytes"]]
    return ", ".join(f"{part.replace('_', ' ')} {size / 1000:,.1f} kB" for part, size in parts)


def render_bundle_card(**facts: Any) -> str:
    """The model card that is inside a bundle, in Markdown, from what is known when it is converted."""
    return _template("bundle_card.md", autoescape=False).render(**facts)


def _render(template: str, report: dict[str, Any], autoescape: bool, **more: Any) -> str:
    drops = [variant["fidelity"]["ndcg_drop"] for variant in report["variants"]]
    return _template(template, autoescape).render(
        report=report,
        files=[variant for variant in report["variants"] if variant["file"]],
        baskets=report["dataset"]["split"] == "last-basket",
        parts=part_words(report["variants"][-1].get("parts", {})),
        steps=report.get("steps", []),
        step_sentences=step_sentences(report.get("steps", [])),
        conclusions=report.get("fidelity", []),
        unmeasured=WHY_NOT_MEASURABLE if None in drops else "",
        **more,
    )


def _template(name: str, autoescape: bool) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=autoescape, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda part: resources.files("edgerec.report").joinpath(part).read_text("utf-8")),
    )  # fmt: skip
    environment.filters |= {
        "percent": percent,
        "change": change,
        "kb": lambda value: f"{value / 1000:,.1f}",
        "count": lambda value: f"{value:,}",
        "fixed": lambda value, digits=4: f"{value:.{digits}f}",
        "bytes_by_part": bytes_by_part,
        "bytes_change": bytes_change,
        "stage": lambda entry: stage_summary(*entry),
    }
    return environment.get_template(name)
