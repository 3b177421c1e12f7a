"""``edgerec evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_runner.command import json_option, print_json
from edgerec.cli.options import DATASET, require_workstation

if TYPE_CHECKING:
    from edgerec.data.dataset import Dataset, Targets
    from edgerec.evaluation.ranking import Evaluation
    from edgerec.evaluation.scored_rows import ScoredRows


@click.command(short_help="Measure the quality of MODEL on the test part.")
@click.argument("model", type=click.Path(path_type=Path))
@DATASET
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="Reference to compare MODEL with, target by target: anything that MODEL may be.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    default=0.05,
    show_default=True,
    help="Relative loss of NDCG@10, or of a ranking model's main figure, up to which MODEL is non-inferior to the "
    "reference.",
)
@json_option
def evaluate(model: Path, dataset_folder: Path, against: Path | None, margin: float, as_json: bool) -> None:
    """Measure the quality of MODEL on the test targets: a bundle, a folder of a model or an ensemble, or the name of
    a baseline (popularity, recent-popularity, markov, windowed-counts).

    With the data set of a ranking run, MODEL is a ranking bundle, the folder of a ranking model, or a baseline of
    ratings (global-mean, user-and-item-bias, matrix-factorization) or of clicks (popularity;
    behind a retrieval model positive-share, retrieval).

    Example: edgerec evaluate models/grocery/model.tflite --against windowed-counts --dataset runs/grocery/dataset
    """
    require_workstation("evaluate")
    from edgerec.errors import DataError
    from edgerec.ranking_evaluation import is_ranking, is_ranking_model

    if is_ranking(dataset_folder):
        document = _evaluate_ranking(model, dataset_folder, against, margin)
        if as_json:
            print_json(document)
        else:
            _show_ranking(document)
        return
    for one in filter(None, (model, against)):
        if is_ranking_model(one):
            raise DataError(
                f"{one}: a ranking model, so --dataset must be that of a ranking run, such as runs/NAME/dataset"
            )
    from edgerec.data.dataset import Dataset
    from edgerec.evaluation.comparison import compare
    from edgerec.evaluation.lists import list_figures
    from edgerec.evaluation.slices import by_slice

    dataset = Dataset.load(dataset_folder)
    targets = dataset.targets("test")
    result = _evaluate_any(model, targets, dataset)
    reference = None if against is None else _evaluate_any(against, targets, dataset)
    document = {
        "model": str(model),
        "dataset": dataset.name,
        "split_fingerprint": dataset.split_fingerprint,
        "targets": len(targets),
        "quality": result.quality(),
        "lists": list_figures(result, targets, dataset),
        "slices": by_slice(result, targets, dataset, reference),
    }
    if reference is not None:
        document["against"] = {"model": str(against), "quality": reference.quality()}
        document["comparison"] = compare(reference, result, margin).as_dict()
    if as_json:
        print_json(document)
    else:
        _show_evaluation(document)


def _evaluate_any(model: Path, targets: "Targets", dataset: "Dataset") -> "Evaluation":
    """Evaluate a baseline by its name, a folder of a model or an ensemble, or a bundle."""
    from device_runner import Recommender
    from edgerec.baselines import BASELINES
    from edgerec.errors import DataError
    from edgerec.evaluation.device import check_split, evaluate_bundle
    from edgerec.evaluation.ranking import evaluate as evaluate_scorer
    from edgerec.evaluation.ranking import evaluate_model
    from edgerec.progress import Progress
    from edgerec.recommenders.ensemble import load_model

    with Progress().steps(f"test {model}", len(targets)) as bar:
        if str(model) in BASELINES:
            return evaluate_scorer(BASELINES[str(model)](dataset).score, targets, dataset, bar.advance)
        if model.is_dir():
            recommender = load_model(model)
            check_split(model, recommender.split_fingerprint, dataset)
            return evaluate_model(recommender, targets, dataset, bar.advance)
        if not model.exists():
            raise DataError(f"{model}: no such bundle or model folder, and no baseline ({', '.join(BASELINES)})")
        return evaluate_bundle(Recommender.load(model), targets, dataset, bar.advance)


def _evaluate_ranking(model: Path, dataset_folder: Path, against: Path | None, margin: float) -> dict[str, Any]:
    """The document of a ranking model's quality."""
    from edgerec.artifact import without_nan
    from edgerec.evaluation.scored_comparison import compare_scored
    from edgerec.progress import Progress
    from edgerec.ranking_evaluation import RankingEvaluation

    test = RankingEvaluation.of_dataset(dataset_folder)

    def scored(one: Path) -> "ScoredRows":
        with Progress().steps(f"test {one}", len(test.rows)) as bar:
            return test.measure(one, bar.advance)

    result = scored(model)
    document: dict[str, Any] = {
        "kind": "ranking",
        "model": str(model),
        "dataset": test.dataset.name,
        "split_fingerprint": test.dataset.split_fingerprint,
        "task": test.recipe.task.model_dump(),
        "rows": len(test.rows),
        "main": result.main.name,
        "quality": result.quality(),
        "interval": list(result.main_interval()),
        "slices": test.slices(result),
    }
    if against is not None:
        reference = scored(against)
        document["against"] = {"model": str(against), "quality": reference.quality()}
        document["comparison"] = compare_scored(reference, result, margin).as_dict()
    return dict(without_nan(document))


def _show_ranking(document: dict[str, Any]) -> None:
    from edgerec.evaluation.words import change, figure

    low, high = document["interval"]
    click.echo(
        f"{document['model']} on {document['dataset']} ({document['rows']:,} test rows, "
        f"split {document['split_fingerprint']})\n"
    )
    for name, value in document["quality"].items():
        shown = f"  [{figure(low)}, {figure(high)}]" if name == document["main"] else ""
        click.echo(f"{name:<10}{figure(value):>8}{shown}")
    for kind, rows in document["slices"].items():
        click.echo(f"\n{kind:<12}{'rows':>8}  {document['main']}")
        for row in rows:
            click.echo(f"{row['name']:<12}{row['rows']:>8,}  {row[document['main']]:.4f}")
    if "against" in document:
        found = document["comparison"]
        click.echo(f"\nagainst {document['against']['model']} (a loss has a minus sign):")
        for one in found["figures"]:
            shown = change(one["loss"], one["loss_ci"], 2)
            click.echo(f"{one['figure']:<10}{figure(one['before']):>8} -> {figure(one['after'])}  {shown}")
        click.echo(f"{found['verdict']} at a margin of {found['margin']:.2%}")


def _show_evaluation(document: dict[str, Any]) -> None:
    from edgerec.evaluation.words import change

    click.echo(
        f"{document['model']} on {document['dataset']} ({document['targets']:,} test targets, "
        f"split {document['split_fingerprint']})\n"
    )
    quality = document["quality"]
    cutoffs = sorted({int(name.split("@")[1]) for name in quality if name.startswith("ndcg@")})
    click.echo(f"{'':<16}" + "".join(f"{f'@{k}':>8}" for k in cutoffs))
    for figure in ("ndcg", "hr", "recall", "mrr", "map"):
        click.echo(f"{figure:<16}" + "".join(f"{quality[f'{figure}@{k}']:>8.4f}" for k in cutoffs))
    for name, value in {"mrr": quality["mrr"], "coverage@10": quality["coverage@10"], **document["lists"]}.items():
        click.echo(f"{name:<16}{value:>8.4f}")
    for kind, rows in document["slices"].items():
        heading = "change" if "against" in document else ""
        click.echo(f"\n{kind:<12}{'targets':>8}  {'ndcg@10':<25}{'hr@10':<25}{heading}".rstrip())
        for row in rows:
            figures = (f"{row[name]:.4f} [{low:.4f}, {high:.4f}]" for name, (low, high) in _with_intervals(row))
            shown = ""
            if "against" in document:
                known = row["ndcg_drop"] is not None
                shown = change(row["ndcg_drop"], row["ndcg_drop_ci"]) if known else "too few hits"
            click.echo(f"{row['name']:<12}{row['targets']:>8,}  {''.join(f'{f:<25}' for f in figures)}{shown}".rstrip())
    if "against" in document:
        found = document["comparison"]
        click.echo(
            f"\nagainst {document['against']['model']} (ndcg@10 {document['against']['quality']['ndcg@10']:.4f}): "
            f"change {change(found['ndcg_drop'], found['ndcg_drop_ci'])}, better for {found['better']:.1%} and worse "
            f"for {found['worse']:.1%} of the targets, overlap@10 {found['overlap@10']:.3f}, "
            f"rank-biased overlap {found['rbo@10']:.3f}\n"
            f"{found['verdict']} at a margin of {found['margin']:.2%}"
        )


def _with_intervals(row: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return [(name, row[f"{name}_ci"]) for name in ("ndcg@10", "hr@10")]
