"""Plots as SVG text, for embedding in the page."""

import io
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "edgerec"  # the same report gives the same bytes
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.family"] = "sans-serif"

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2")

# Figures of a curve's entries, and what they are called.
CURVES = {"loss": "loss, training", "ndcg@10": "NDCG@10, validation"}

BASELINE_STYLES: tuple[Any, ...] = (":", "-.", (0, (1, 4)), (0, (8, 3)))


def size_against_quality(report: dict[str, Any]) -> str:
    """NDCG@10 by file size, raw and compressed, with the Keras model and popularity as lines."""
    figure, axes = plt.subplots(figsize=(6, 3.6))
    for variant, colour in zip(_files(report), COLOURS * 9, strict=False):
        ndcg = variant["quality"]["ndcg@10"]
        raw, packed = (variant["bytes"][kind] / 1000 for kind in ("total", "compressed"))
        axes.plot([packed, raw], [ndcg, ndcg], color=colour, linewidth=1)
        axes.plot(packed, ndcg, "o", color=colour, markerfacecolor="white")
        axes.plot(raw, ndcg, "o", color=colour, label=f"{variant['name']} ({raw:,.0f} kB)")
    axes.axhline(report["variants"][0]["quality"]["ndcg@10"], color="#888", linestyle="--", linewidth=1, label="Keras")
    for baseline, style in zip(report["baselines"], BASELINE_STYLES * 9, strict=False):
        axes.axhline(baseline["quality"]["ndcg@10"], color="#999", linestyle=style, linewidth=1, label=baseline["name"])
    axes.set(xlabel="file size, kB (hollow: compressed for download)", ylabel="NDCG@10, test", xlim=(0, None))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _svg(figure)


def bytes_by_part(report: dict[str, Any]) -> str:
    """Where each file's bytes are."""
    figure, axes = plt.subplots(figsize=(6, 0.6 + 0.5 * len(_files(report))))
    names = [variant["name"] for variant in _files(report)][::-1]
    left = [0.0] * len(names)
    for part, colour in zip(("item_table", "network", "vocabulary"), COLOURS, strict=False):
        widths = [variant["bytes"][part] / 1000 for variant in _files(report)][::-1]
        axes.barh(names, widths, left=left, color=colour, label=part.replace("_", " "), height=0.6)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set(xlabel="kB")
    axes.legend(fontsize=8)
    return _svg(figure)


def latency(report: dict[str, Any]) -> str:
    """The whole call's p50, p90 and p99 for each file."""
    figure, axes = plt.subplots(figsize=(6, 3.2))
    files = _files(report)
    for number, (which, colour) in enumerate(zip(("p50", "p90", "p99"), COLOURS, strict=False)):
        places = [place + 0.27 * (number - 1) for place in range(len(files))]
        axes.bar(places, [v["latency_ms"][which] for v in files], width=0.25, color=colour, label=which)
    axes.set_xticks(range(len(files)), [v["name"] for v in files], fontsize=8)
    axes.set(ylabel="ms a recommend() call")
    axes.legend(fontsize=8)
    return _svg(figure)


def learning_curves(report: dict[str, Any]) -> str:
    """Loss and validation NDCG@10 by epoch, fine-tuning after training; a ring marks the epoch that was kept."""
    figure, panels = plt.subplots(2, 1, figsize=(6, 4.6), sharex=True)
    for axes, (figure_name, label) in zip(panels, CURVES.items(), strict=True):
        offset = 0
        for (stage, log), colour in zip(report["training"].items(), COLOURS, strict=False):
            epochs = [offset + entry["epoch"] for entry in log["curve"]]
            values = [entry[figure_name] for entry in log["curve"]]
            axes.plot(epochs, values, "o-", markersize=3, color=colour, label=stage)
            best = log["best_epoch"]
            axes.plot(
                offset + best, values[best - 1], "o", markersize=9, markerfacecolor="none", color=colour,
                label=f"{stage}: kept, epoch {best}",
            )  # fmt: skip
            offset = epochs[-1]
        axes.set(ylabel=label)
    panels[-1].set(xlabel="epoch")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    panels[0].legend(fontsize=7)
    return _svg(figure)


def _files(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [variant for variant in report["variants"] if variant["file"]]


def _svg(figure: Figure) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
