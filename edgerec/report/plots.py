"""Plots as SVG text: for embedding in the page, readable at a phone's width, in light and in dark."""

import io
import re
import textwrap
from html import escape
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgerec.evaluation.words import change
from edgerec.report.labels import Labels
from edgerec.report.merit import Merit
from edgerec.report.steps import bytes_change

# Inches; 3.75 are 360 CSS pixels, about the width of a phone, so that text is shown there in its own size.
WIDTH = 3.75
# The colour of text and lines while drawing; in the SVG it becomes the colour of the text around the plot.
INK = "#222222"
# Readable on white and on black.
COLOURS = ("#4c84bd", "#e0791b", "#4a9f4a", "#b06fa3", "#dc5557", "#3fa3a0")
GREY: Any = {"color": INK, "alpha": 0.4, "zorder": 1}
FONT_POINTS = 8.5
STYLE: Any = {
    "svg.hashsalt": "edgerec",  # the same report gives the same bytes
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS,
    "ytick.labelsize": FONT_POINTS,
    "legend.fontsize": FONT_POINTS,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.2,
}
styled = matplotlib.rc_context(STYLE)
# In the order in which the bytes of a file are shown; a file need not have all of them.
PARTS = ("item_table", "network", "transitions", "prior", "vocabulary")


@styled
def size_against_quality(report: dict[str, Any]) -> str:
    """The report's figure of merit by file size, raw and compressed, in the region where the files are; up is better.

    With the 95 % interval of the difference to the first variant, the Pareto line (the files that no smaller file
    beats), and the reference and baselines as lines; baselines outside the region are named at its lower edge.
    """
    files, reference, merit = _files(report), report["variants"][0], Merit.of(report)
    value = merit.value
    figure, axes = _panel(3.1)
    low, high = _region(files, reference, merit)
    outside = [b for b in report["baselines"] if not low < value(b) < high]
    # No break between a name and its figure.
    note = textwrap.wrap(", ".join(f"{b['name']}\u00a0{value(b):.4f}" for b in outside), 48)
    sizes = [variant["bytes"][kind] / 1000 for variant in files for kind in ("total", "compressed")]
    margin = 0.08 * max(sizes)
    room = (high - low) * (0.08 * (1 + len(note)) if note else 0)
    axes.set(
        xlabel="file size, kB (hollow: compressed)",
        ylabel=f"{merit.title}, test",
        xlim=(max(0, min(sizes) - margin), max(sizes) + margin),
        ylim=(low - room, high) if merit.higher_is_better else (high + room, low),
    )
    lines = [reference, *(b for b in report["baselines"] if b not in outside)]
    for line in lines:
        axes.axhline(value(line), color=INK, alpha=0.6, linestyle="--" if line is reference else ":", linewidth=0.8)
    for variant, colour in zip(files, COLOURS * 9, strict=False):
        _file_point(axes, variant, value(variant), merit.ends(variant, reference), colour)
    steps = _pareto(files, merit)
    edge = axes.get_xlim()[1]
    axes.step([*map(_raw, steps), edge], [*map(value, steps), value(steps[-1])], where="post", **GREY)

    labels = Labels.of(axes)
    if note:
        labels.write("\n".join(["outside this region:", *note]), (0.02, 0.02))
    for variant in files:
        labels.avoid(variant["bytes"]["compressed"] / 1000, _raw(variant), value(variant), 4)
    for line in lines:
        labels.line(value(line), line["name"])
    for step, end in zip(steps, [*map(_raw, steps[1:]), edge], strict=True):
        labels.avoid(_raw(step), end, value(step), 1)
    for line in lines:
        labels.avoid(*axes.get_xlim(), value(line), 1)
    for variant, colour in zip(files, COLOURS * 9, strict=False):
        labels.point(_raw(variant), value(variant), variant["name"], colour)
    return _svg(figure, f"File size against {merit.title} of each file")


@styled
def sizes_tried(found: dict[str, Any]) -> str:
    """NDCG@10 by bytes of every file that a sweep has measured, with the Pareto line, the limit of size, and the float
    model; the chosen file has a ring and its name. ``found`` is the document of ``edgerec.sweep.outcome``.
    """
    figure, axes = _panel(3.1)
    points = {entry["number"]: (entry["measured"]["bytes"] / 1000, entry["measured"]["ndcg"], entry["words"])
              for entry in found["points"]}  # fmt: skip
    for number, (size, ndcg, _) in points.items():
        on_line = number in found["pareto"]
        axes.plot(size, ndcg, "o", markersize=5 if on_line else 3, color=COLOURS[0], alpha=1 if on_line else 0.4)
    line = [points[number] for number in found["pareto"]]
    axes.step([p[0] for p in line], [p[1] for p in line], where="post", **GREY)
    reference, limit = found["reference_ndcg@10"], found["limits"]["max_bytes"] / 1000
    axes.axhline(reference, color=INK, alpha=0.6, linestyle="--", linewidth=0.8)
    axes.axvline(limit, color=INK, alpha=0.6, linestyle=":", linewidth=0.8)
    axes.set(xlabel="kB of the model (dotted: the limit)", ylabel="NDCG@10, validation")
    axes.set_xlim(left=0, right=1.08 * max([limit, *(size for size, _, _ in points.values())]))
    labels = Labels.of(axes)
    labels.line(reference, "trained float model")
    if found["chosen"] is not None:
        size, ndcg, name = points[found["chosen"]]
        axes.plot(size, ndcg, "o", markersize=10, color=COLOURS[1], markerfacecolor="none")
        for x, y, _ in points.values():
            labels.avoid(x, x, y, 3)
        for (left, y, _), (right, _, _) in pairwise(line):
            labels.avoid(left, right, y, 1)
        labels.point(size, ndcg, "\n".join(textwrap.wrap(name, 28)), COLOURS[1])
    return _svg(figure, "Bytes against validation NDCG@10 of every file that the sweep has measured")


@styled
def bytes_by_part(report: dict[str, Any]) -> str:
    """Where each file's bytes are."""
    files = _files(report)
    figure, axes = _rows(files, [f"{_kb(v, 'total')} kB, {_kb(v, 'compressed')} compressed" for v in files])
    left = [0.0] * len(files)
    parts = [part for part in PARTS if any(part in variant["bytes"] for variant in files)]
    for part, colour in zip(parts, COLOURS, strict=False):
        widths = [variant["bytes"].get(part, 0) / 1000 for variant in files]
        axes.barh(range(len(files)), widths, left=left, color=colour, label=part.replace("_", " "), height=0.32)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set(xlabel="kB")
    figure.legend(loc="outside upper center", ncols=len(parts), handlelength=1, columnspacing=1)
    return _svg(figure, "Bytes of each file by part")


@styled
def waterfall(report: dict[str, Any]) -> str:
    """From the float model to the file that ships: a bar a step for the bytes of the model, with what the step took
    away (pale) or added (outlined), and what it did to NDCG@10.
    """
    steps = report["steps"]
    figure, axes = _panel(0.7 + 0.62 * len(steps))
    for row, (step, colour) in enumerate(zip(steps, COLOURS * 9, strict=False)):
        size = step["bytes"]["total"] / 1000
        before = steps[row - 1]["bytes"]["total"] / 1000 if row else size
        axes.barh(row, min(size, before), color=colour, height=0.3)
        if size < before:
            axes.barh(row, before - size, left=size, color=colour, alpha=0.25, height=0.3)
        elif size > before:
            axes.barh(row, size - before, left=before, color="none", edgecolor=colour, height=0.3)
        shrunk = f" ({bytes_change(steps[row - 1], step)})" if row else ""
        cost = f", {change(step['ndcg_drop'], step['ndcg_drop_ci'])}" if row else ""
        axes.annotate(
            f"{step['name']}: {size:,.0f} kB{shrunk}\nNDCG@10 {step['ndcg@10']:.4f}{cost}", (0, row - 0.2), (2, 0),
            ("axes fraction", "data"), "offset points", va="bottom",
        )  # fmt: skip
    axes.set(ylim=(len(steps) - 0.6, -0.95), yticks=[], xlabel="kB of the model, without the vocabulary")
    axes.grid(axis="y", visible=False)
    return _svg(figure, "Bytes and NDCG@10 of each step from the float model to the file that ships")


@styled
def latency(report: dict[str, Any]) -> str:
    """The whole call's p50, p90 and p99 for each file."""
    files = _files(report)
    figure, axes = _rows(files, [f"p50 {variant['latency_ms']['p50']:.3f} ms" for variant in files])
    for row, (variant, colour) in enumerate(zip(files, COLOURS * 9, strict=False)):
        times = variant["latency_ms"]
        axes.plot([times["p50"], times["p99"]], [row, row], color=colour)
        axes.plot(times["p50"], row, "o", color=colour)
        axes.plot(times["p90"], row, "|", color=colour, markersize=9)
        axes.plot(times["p99"], row, "o", color=colour, markerfacecolor="none")
    axes.set(xlabel=f"ms {Merit.of(report).call}")
    axes.set_xlim(left=0)
    return _svg(figure, "Latency of each file: p50, p90 and p99")


@styled
def learning_curves(report: dict[str, Any]) -> str:
    """Loss and validation figure by epoch, one stage after another; a ring marks the epoch that was kept."""
    merit = Merit.of(report)
    validated, title = merit.name, merit.title
    known = next(iter(report["training"].values()))["curve"][0]
    if validated not in known:  # a ranker behind retrieval is validated by another figure
        validated = next(key for key in known if key not in ("epoch", "loss", "learning_rate"))
        title = validated.replace("_", "-")
    curves = {"loss": "loss, training", validated: f"{title}, validation"}
    figure = Figure(figsize=(WIDTH, 3.9), dpi=72, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, (key, label) in zip(panels, curves.items(), strict=True):
        done = 0
        for (stage, log), colour in zip(report["training"].items(), COLOURS * 9, strict=False):
            epochs = [done + entry["epoch"] for entry in log["curve"]]
            values = [entry[key] for entry in log["curve"]]
            best = log["best_epoch"]
            axes.plot(epochs, values, "o-", markersize=2.5, color=colour, label=f"{stage}: kept, epoch {best}")
            axes.plot(done + best, values[best - 1], "o", markersize=8, markerfacecolor="none", color=colour)
            done = epochs[-1]
        axes.set(ylabel=label)
    panels[-1].set(xlabel="epoch (ring: kept)")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, handlelength=1.2, columnspacing=1)
    return _svg(figure, f"Loss and validation {title} by epoch")


def standalone(svg: str) -> str:
    """A plot as a file of its own: with the colours of its text, which inside a page come from the page."""
    colours = "svg{color:#222}@media (prefers-color-scheme:dark){svg{color:#ddd}}"
    return re.sub(r"(<svg[^>]*>)", rf"\1<style>{colours}</style>", svg, count=1)


def _files(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [variant for variant in report["variants"] if variant["file"]]


def _raw(variant: dict[str, Any]) -> float:
    """Size of the file, kB."""
    return float(variant["bytes"]["total"] / 1000)


def _kb(variant: dict[str, Any], kind: str) -> str:
    return f"{variant['bytes'][kind] / 1000:,.0f}"


def _panel(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), dpi=72, layout="constrained")
    return figure, figure.subplots()


def _rows(files: list[dict[str, Any]], notes: list[str]) -> tuple[Figure, Axes]:
    """A panel with a row for each file, from the top; name and note stand above the row, not beside it."""
    figure, axes = _panel(0.8 + 0.45 * len(files))
    for row, (variant, note) in enumerate(zip(files, notes, strict=True)):
        axes.annotate(
            f"{variant['name']}: {note}", (0, row - 0.24), (2, 0), ("axes fraction", "data"), "offset points",
            va="bottom",
        )  # fmt: skip
    axes.set(ylim=(len(files) - 0.6, -0.8), yticks=[])
    axes.grid(axis="y", visible=False)
    return figure, axes


def _region(files: list[dict[str, Any]], reference: dict[str, Any], merit: Merit) -> tuple[float, float]:
    """Low and high end of the figure to be shown: all files with their intervals, and the reference."""
    ends = (end for variant in files for end in merit.ends(variant, reference))
    values = [merit.value(reference), *map(merit.value, files), *ends]
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), 0.02 * high, 1e-3)
    return max(0.0, low - margin), high + margin


def _file_point(axes: Axes, variant: dict[str, Any], value: float, interval: tuple[float, float], colour: str) -> None:
    raw, packed = _raw(variant), variant["bytes"]["compressed"] / 1000
    axes.plot([raw, raw], interval, color=colour, linewidth=4, alpha=0.25, zorder=1)
    axes.plot([packed, raw], [value, value], color=colour, linewidth=1)
    axes.plot(packed, value, "o", markersize=5, color=colour, markerfacecolor="none")
    axes.plot(raw, value, "o", markersize=6, color=colour)


def _pareto(files: list[dict[str, Any]], merit: Merit) -> list[dict[str, Any]]:
    """The files that no smaller file beats, by size."""
    best: list[dict[str, Any]] = []
    sign = -1 if merit.higher_is_better else 1
    for variant in sorted(files, key=lambda v: (_raw(v), sign * merit.value(v))):
        if not best or merit.better(variant, best[-1]):
            best.append(variant)
    return best


def _svg(figure: Figure, description: str) -> str:
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # Several plots share a page, where an id may stand but once; nothing refers to those of groups.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
