"""Is the file that ships ever worse than a baseline? Default recipes on several data sets, one line each.

``python tests/bench_quality.py DATA [OUT]``: DATA holds the folders ``movielens-100k``, ``movielens-1m-part`` (both as
GroupLens publishes them) and ``movielens-1m`` (``interactions.csv`` and ``items.csv``); what is absent is left out. The
grocery purchases come with the package that edgerec installs. Runs are kept in OUT, and a rerun continues.
"""

import sys
from pathlib import Path
from typing import Any

import edgerec

FIVE = {"min_user_events": 5, "min_item_users": 5}
GROCERY = {"name": "grocery", "source": "grocery", "min_item_users": 50, "min_user_events": 5}


def data_sets(folder: Path) -> dict[str, dict[str, Any]]:
    """``[data]`` of each data set by name."""
    found: dict[str, dict[str, Any]] = {"grocery": {**GROCERY, "repeats": "first"}}
    for name in ("movielens-100k", "movielens-1m-part"):
        if (folder / name).is_dir():
            found[name] = {"name": name, "source": "movielens", "path": str(folder / name), **FIVE}
    if (events := folder / "movielens-1m" / "interactions.csv").is_file():
        items = {"path": str(events.with_name("items.csv")), "id": "item_id", "title": "title"}
        columns = {"time": "position", "value": "rating"}
        found["movielens-1m"] = {
            "name": "movielens-1m",
            "path": str(events),
            "columns": columns,
            "items": items,
            **FIVE,
        }
    return found


def recipes(folder: Path) -> dict[str, dict[str, Any]]:
    """Default recipes by the name of the line."""
    sets = data_sets(folder)
    lines = {f"{name}, leave-one-out": {"data": data} for name, data in sets.items()}
    lines["grocery with repeats, leave-one-out"] = {"data": {**GROCERY, "name": "grocery-repeats", "repeats": "all"}}
    for name, data in sets.items():
        if name != "movielens-1m":  # positions are no times
            lines[f"{name}, temporal"] = {"data": data, "split": {"kind": "temporal"}}
    return lines


def line(name: str, report: dict[str, Any]) -> str:
    """One line of the table in ``models/BASELINES.md``."""
    by_name = {entry["name"]: entry["quality"] for entry in [*report["baselines"], *report["variants"]]}
    shipped, verdict = report["variants"][-1], report["verdict"]
    low, high = (f"{100 * end:+.1f}" for end in verdict["gain_ci"])
    measured = [by_name[each] for each in (verdict["baseline"], "keras-network-alone", "keras", shipped["name"])]
    figures = [f"{q['hr@10']:.4f} / {q['ndcg@10']:.4f}".replace("0.", ".") for q in measured]
    cells = [
        f"{name} (`{report['dataset']['split_fingerprint']}`)",
        f"{report['dataset']['test_targets']:,}",
        f"{verdict['baseline']} {figures[0]}",
        *figures[1:],
        f"{shipped['bytes']['total'] / 1000:,.0f}",
        f"{100 * verdict['gain']:+.1f} % [{low}, {high}], {verdict['verdict'].split()[0]}",
        f"{report['training']['trained']['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "runs/quality")
    print(
        "| data set, split (fingerprint) | targets | best baseline | network alone | Keras | int8 file | kB "
        "| file against the baseline | training, s |\n|---|--:|---|---|---|---|--:|---|--:|"
    )
    for name, recipe in recipes(data).items():
        folder = out / name.replace(",", "").replace(" ", "-")
        print(line(name, edgerec.run(recipe, out=folder).report), flush=True)


if __name__ == "__main__":
    main()
