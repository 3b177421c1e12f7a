"""The report as tables in the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from edgerec.evaluation.words import WHY_NOT_MEASURABLE, change, percent
from edgerec.report.steps import bytes_change, step_sentences

HEADINGS = ("kB", "compressed", "NDCG@10", "HR@10", "coverage", "change", "overlap", "RBO", "p50 ms", "p99 ms")


def print_report(report: dict[str, Any]) -> None:
    """Print the variants, the verdicts, the steps and the example recommendations on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # into a file or a log: do not squeeze the table into 80 columns
    dataset = report["dataset"]
    console.print(
        f"\n{dataset['name']}: {dataset['users']:,} users, {dataset['items']:,} items, "
        f"{dataset['interactions']:,} interactions, split {dataset['split_fingerprint']}",
        markup=False,
    )
    console.print(_variants(report))
    reference = report["variants"][0]["name"]
    console.print(
        f"change of NDCG@10 (+ is a gain), overlap and rank-biased overlap (RBO) of the top-10: against {reference}",
        markup=False,
    )
    if any(variant["fidelity"]["ndcg_drop"] is None for variant in report["variants"]):
        console.print(WHY_NOT_MEASURABLE, markup=False)
    if "verdict" in report:
        console.print(f"\n{report['verdict']['sentence']}", markup=False)
    for conclusion in report.get("fidelity", []):
        console.print(f"{conclusion['sentence']} {conclusion['payers']}".rstrip(), markup=False)
    if steps := report.get("steps"):
        console.print("")
        console.print(_steps(steps))
        for sentence in step_sentences(steps):
            console.print(sentence, markup=False)
    for example in report["examples"]:
        console.print(f"\nRecommended to user {example['user']}:", markup=False)
        for place, entry in enumerate(example["recommendations"], 1):
            console.print(f"{place:>3}  {entry['item']:<10}  {entry['title']}", markup=False)


def _variants(report: dict[str, Any]) -> Table:
    table = Table("variant", box=None, header_style="bold", pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for baseline in report["baselines"]:
        table.add_row(baseline["name"], "", "", *_quality(baseline), *[""] * 5)
    for number, variant in enumerate(report["variants"]):
        in_file = variant["file"] is not None
        table.add_row(
            variant["name"],
            f"{variant['bytes']['total'] / 1000:,.1f}" if in_file else "",
            f"{variant['bytes']['compressed'] / 1000:,.1f}" if in_file else "",
            *_quality(variant),
            change(variant["fidelity"]["ndcg_drop"]) if number else "reference",
            percent(variant["fidelity"]["overlap@10"]) if number else "",
            f"{variant['fidelity']['rbo@10']:.3f}" if number else "",
            f"{variant['latency_ms']['p50']:.3f}" if in_file else "",
            f"{variant['latency_ms']['p99']:.3f}" if in_file else "",
        )
    return table


def _steps(steps: list[dict[str, Any]]) -> Table:
    table = Table("step", box=None, header_style="bold", pad_edge=False)
    for heading in ("kB of the model", "change", "NDCG@10", "change"):
        table.add_column(heading, justify="right")
    for number, step in enumerate(steps):
        table.add_row(
            step["name"],
            f"{step['bytes']['total'] / 1000:,.1f}",
            bytes_change(steps[number - 1], step) if number else "",
            f"{step['ndcg@10']:.4f}",
            change(step["ndcg_drop"], step["ndcg_drop_ci"]) if number else "",
        )
    return table


def _quality(measured: dict[str, Any]) -> list[str]:
    quality = measured["quality"]
    return [f"{quality['ndcg@10']:.4f}", f"{quality['hr@10']:.4f}", percent(quality["coverage@10"])]
