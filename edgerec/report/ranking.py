"""What the report of a ranking run says: for the terminal, the model card and the page."""

from typing import Any

from rich.console import Console
from rich.table import Table

from edgerec.evaluation.scored_rows import figures_of
from edgerec.evaluation.words import change, figure, percent
from edgerec.recipe.task import ImplicitTask


def print_ranking_report(report: dict[str, Any]) -> None:
    """Print variants and baselines on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(f"\n{data_line(report)}", markup=False)
    head, *lines = table_rows(report)
    table = Table(head[0], box=None, header_style="bold", pad_edge=False)
    for heading in head[1:]:
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(*line)
    console.print(table)
    for sentence in sentences(report):
        console.print(sentence, markup=False)


def table_rows(report: dict[str, Any]) -> list[list[str]]:
    """The heading and a line for each baseline and variant, as text."""
    figures = figures_of(report["task"]["kind"])
    rows = [["variant", "kB", *(one.title for one in figures), "95 % interval", "loss", "Kendall's τ", "p50 ms"]]
    for baseline in report["baselines"]:
        shown = [figure(baseline["quality"][one.name]) for one in figures]
        rows.append([f"{baseline['name']} (baseline)", "", *shown, _interval(baseline["interval"]), "", "", ""])
    for number, variant in enumerate(report["variants"]):
        shown = [figure(variant["quality"][one.name]) for one in figures]
        in_file = variant["file"] is not None
        rows.append(
            [
                variant["name"],
                f"{variant['bytes']['total'] / 1000:,.1f}" if in_file else "",
                *shown,
                _interval(variant["interval"]),
                f"{variant['fidelity']['loss']:+.2%}" if number else "reference",
                f"{variant['fidelity']['kendall_tau']:.4f}" if number else "",
                f"{variant['latency_ms']['p50']:.3f}" if in_file else "",
            ]
        )
    return rows


def sentences(report: dict[str, Any]) -> list[str]:
    """What the figures mean, and how the models were trained."""
    shipped = report["variants"][-1]
    low, high = report["gain_ci"]
    word = "better than" if low > 0 else "worse than" if high < 0 else "about as good as"
    found = [
        f"{shipped['name']} is {word} the best baseline, {report['best_baseline']}: "
        f"{change(-report['gain'], (-high, -low))} in {figures_of(report['task']['kind'])[0].title} (+ is a gain; 95 % "
        f"interval, paired by user). Loss: of the main figure against {report['variants'][0]['name']}."
    ]
    if "two_stage" in report:
        found += [retrieved_rows(report), *two_stage_sentences(report["two_stage"])]
    for name, log in report["training"].items():
        gap = ", ".join(f"{key.replace('_', ' ')} {figure(value)}" for key, value in log.get("gap", {}).items())
        again = ", then fitted again on validation rows too" if "refit" in log else ""
        found.append(
            f"{name}: {log['loss']}, epoch {log['best_epoch']} of {log['epochs']} kept{again}, "
            f"{_seconds(log):.0f} s, "
            f"{log['parameters']['total']:,} parameters ({log['parameters']['nonzero']:,} not zero); {gap}"
        )
    return found


def retrieved_rows(report: dict[str, Any]) -> str:
    """What the rows of the table are, behind a retrieval model."""
    task = ImplicitTask.model_validate(report["task"])
    random = task.test_negatives or task.negatives
    groups = report["dataset"]["test_rows"] // (1 + random + task.hard)
    return (
        f"The rows of the table are the {groups:,} test interactions whose item is retrieved, each with {random} "
        f"random and {task.hard} retrieved items that the user has not: no figures of the whole catalogue."
    )


def _seconds(log: dict[str, Any]) -> float:
    """Of the whole training, with the second fit if there was one."""
    return float(log["seconds"] + log.get("refit", {}).get("seconds", 0))


def two_stage_sentences(measured: dict[str, Any]) -> list[str]:
    """What the ranker adds to the retrieval model, and how long both take."""
    alone, both, compared = measured["retrieval"], measured["two_stage"], measured["comparison"]
    latency = measured["latency"]
    parts = ", ".join(f"{name} {latency[f'{name}_ms']['p50']:.3f}" for name in ("retrieve", "rank", "total"))
    slices = "; ".join(
        f"{one['name']}: {one['two_stage']:.4f} against {one['retrieval']:.4f} ({one['targets']:,} targets)"
        for one in measured["slices"]
    )
    return [
        f"Two stages, on the device runtime: {measured['candidates']} items retrieved, then put in order by this file, "
        f"have NDCG@10 {both['ndcg@10']:.4f}, retrieval alone {alone['ndcg@10']:.4f}: "
        f"{change(compared['ndcg_drop'], compared['ndcg_drop_ci'])} (95 % interval, paired by user). "
        f"Better for {percent(compared['better'])} of the users, worse for {percent(compared['worse'])}; HR@10 "
        f"{both['hr@10']:.4f} against {alone['hr@10']:.4f}. {percent(measured['recall'])} of targets are retrieved.",
        f"NDCG@10 of two stages and of retrieval alone by the time of the target. {slices}.",
        f"One call of both takes, p50 in ms over {latency['calls']:,} calls on {latency['backend']}: {parts}.",
    ]


def render_ranking_card(report: dict[str, Any]) -> str:
    """The model card in Markdown."""
    head, *lines = table_rows(report)
    table = "\n".join(
        ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *(f"| {' | '.join(x)} |" for x in lines)]
    )
    slices = "\n".join(
        f"| {kind} | {row['name']} | {row['rows']:,} | {row[report['main']]:.4f} |"
        for kind, rows in report["variants"][-1]["slices"].items()
        for row in rows
    )
    return (
        f"# {report['dataset']['name']}\n\nA ranking model ({report['model']['ranker']}) that predicts "
        f"{predicted(report['task']['kind'])}. {data_line(report)}.\n\n{table}\n\n"
        + "\n".join(f"- {sentence}" for sentence in sentences(report))
        + f"\n\n## Who is served how well (the file that ships)\n\n| slice | | rows | {report['main']} |\n"
        + f"|---|---|---|---|\n{slices}\n"
    )


def step_rows(report: dict[str, Any]) -> list[list[str]]:
    """The heading and a line for each stage of training, as text: what it did to the size of the model, its figure and
    its over-fitting, the difference between test and training rows: above 0 for errors, below 0 for AUC. A model that
    has learned from validation rows has no figure of them.
    """
    main = figures_of(report["task"]["kind"])[0]
    heading = ["stage", "parameters", "not zero", "epochs", "seconds"]
    rows = [[*heading, *(f"{main.title}, {part}" for part in ("train", "validation", "test")), "test - train"]]
    for (name, log), variant in zip(report["training"].items(), report["variants"], strict=False):
        train, test = log["gap"][f"train_{main.name}"], variant["quality"][main.name]
        validation = log["gap"].get(f"validation_{main.name}")
        counts = (log["parameters"]["total"], log["parameters"]["nonzero"])
        figures = (train, validation, test)
        rows.append(
            [name, *(f"{count:,}" for count in counts), str(log["epochs"]), f"{_seconds(log):.0f}",
             *(figure(value) for value in figures), f"{test - train:+.4f}"]
        )  # fmt: skip
    return rows


def render_ranking_bundle_card(**facts: Any) -> str:
    """The model card that is inside a bundle, from what is known when it is converted."""
    quality = ", ".join(f"{name} {figure(value)}" for name, value in facts["quality"].items())
    reads = ", ".join(f"{entry['name']} ({entry['of']})" for entry in facts["features"])
    runtimes = ", ".join(f"{name} {found['version']}" for name, found in facts["runtimes"].items())
    return (
        f"# {facts['name']} ({facts['scheme']})\n\nA ranking model ({facts['model']['ranker']}) by edgerec "
        f"{facts['version']} that predicts {predicted(facts['label'])} for up to {facts['contract']['candidates']} "
        f"candidates at a time. It reads: {reads}. No user id is in this file.\n\n"
        f"- Data: {facts['dataset']['name']}, {facts['dataset']['split']} split "
        f"{facts['dataset']['split_fingerprint']}\n"
        f"- Quality of this file on {facts['rows']:,} test rows: {quality}\n"
        f"- Verified against Keras on {facts['cases']:,} requests: {runtimes}\n"
    )


def predicted(label: str) -> str:
    """What a model of this kind of task predicts, in words."""
    return {
        "rating": "ratings",
        "binary": "the chance of a positive response",
        "implicit": "the chance of an interaction, among drawn negatives",
    }[label]


def data_line(report: dict[str, Any]) -> str:
    """Data set and split in a line."""
    data = report["dataset"]
    return (
        f"{data['name']}: {data['users']:,} users, {data['items']:,} items, {data['interactions']:,} interactions, "
        f"{data['split']} split {data['split_fingerprint']}, {data['test_rows']:,} test rows"
    )


def _interval(ends: list[float]) -> str:
    return f"[{ends[0]:.4f}, {ends[1]:.4f}]"
