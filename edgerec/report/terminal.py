"""The report as tables in the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(report: dict[str, Any]) -> None:
    """The variants table and the example recommendations, on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # into a file or a log: do not squeeze the table into 80 columns
    dataset = report["dataset"]
    console.print(
        f"\n{dataset['name']}: {dataset['users']:,} users, {dataset['items']:,} items, "
        f"{dataset['interactions']:,} interactions, split {dataset['split_fingerprint']}",
        markup=False,
    )
    table = Table("variant", box=None, header_style="bold", pad_edge=False)
    for heading in ("kB", "compressed", "NDCG@10", "HR@10", "coverage", "drop", "overlap", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for baseline in report["baselines"]:
        table.add_row(baseline["name"], "", "", *_quality(baseline), "", "", "", "")
    for variant in report["variants"]:
        in_file = variant["file"] is not None
        table.add_row(
            variant["name"],
            f"{variant['bytes']['total'] / 1000:,.1f}" if in_file else "",
            f"{variant['bytes']['compressed'] / 1000:,.1f}" if in_file else "",
            *_quality(variant),
            f"{variant['fidelity']['ndcg_drop']:.2%}",
            f"{variant['fidelity']['overlap@10']:.3f}",
            f"{variant['latency_ms']['p50']:.3f}" if in_file else "",
            f"{variant['latency_ms']['p99']:.3f}" if in_file else "",
        )
    console.print(table)
    for example in report["examples"]:
        console.print(f"\nRecommended to user {example['user']}:", markup=False)
        for place, entry in enumerate(example["recommendations"], 1):
            console.print(f"{place:>3}  {entry['item']:<10}  {entry['title']}", markup=False)


def _quality(measured: dict[str, Any]) -> list[str]:
    quality = measured["quality"]
    return [f"{quality['ndcg@10']:.4f}", f"{quality['hr@10']:.4f}", f"{quality['coverage@10']:.1%}"]
