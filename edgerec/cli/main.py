"""``edgerec``: a thin skin over the pipeline. Everything heavy is imported inside the commands, so that ``--help``
is quick and a device install can say which extra is missing.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_runner import __version__
from device_runner.backends import NativeLogSilenced
from device_runner.cli import bench
from device_runner.command import CONTEXT, Group, json_option, print_json
from edgerec.errors import MissingExtraError

if TYPE_CHECKING:
    from edgerec.data.dataset import Dataset, Targets
    from edgerec.evaluation.ranking import Evaluation
    from edgerec.pipeline import Run

DEFAULT_RECIPE = Path("models/grocery/recipe.toml")
DATASET = click.option(
    "--dataset",
    "dataset_folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Prepared data set to test on, such as runs/NAME/dataset.",
)


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="edgerec")
def main() -> None:
    """Train, prune, quantize and ship a recommender that runs on the device."""


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """RECIPE, --out, --set and --json; the command gets a ``Run`` and ``as_json``."""

    @click.argument("recipe", type=click.Path(path_type=Path), default=DEFAULT_RECIPE)
    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the run's artifacts. Default: runs/NAME, after the data set's name.",
    )
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe key; may be repeated."
    )
    @json_option
    @wraps(command)
    def wrapped(recipe: Path, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
        name = str(click.get_current_context().info_name)
        require_workstation(name)
        from edgerec.cluster import check_may_run
        from edgerec.pipeline import Run
        from edgerec.progress import Progress
        from edgerec.recipe import load_recipe

        resolved = load_recipe(recipe, overrides)
        if resolved.train.strategy == "multiworker":
            check_may_run(name)
        command(Run(resolved, out or Path("runs", resolved.data.name), Progress()), as_json)

    return wrapped


def require_workstation(command: str) -> None:
    """Import what the workstation commands need.

    Raises:
        MissingExtraError: a package is absent.
    """
    try:
        with NativeLogSilenced():
            import edgerec.pipeline  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"edgerec {command}", "train", error.name) from None


@main.command()
@recipe_options
def run(run: "Run", as_json: bool) -> None:
    """Run the whole pipeline of RECIPE; what is up to date is not done again.

    Example: edgerec run models/grocery/recipe.toml --set train.seed=2
    """
    report = run.report()
    _show_report(run, report, as_json)


@main.command()
@recipe_options
def report(run: "Run", as_json: bool) -> None:
    """Write and show the report of RECIPE (the same as run, by its last stage's name)."""
    _show_report(run, run.report(), as_json)


def _show_report(run: "Run", report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        from edgerec.report.terminal import print_report

        print_report(report)
        click.echo(f"\nreport  {run.folder / 'report.html'}")
        click.echo(f"ship    {run.folder / report['variants'][-1]['file']}")
    run.check_gate(report)


@main.group()
def data() -> None:
    """Prepare and describe data sets."""


@data.command("prepare")
@recipe_options
def data_prepare(run: "Run", as_json: bool) -> None:
    """Read, clean and split the tables of RECIPE into OUT/dataset."""
    dataset = run.dataset
    if as_json:
        print_json(dataset.info)
    else:
        click.echo(
            f"{dataset.folder}: {dataset.users:,} users, {dataset.items:,} items, split {dataset.split_fingerprint}"
        )


@data.command("describe")
@recipe_options
def data_describe(run: "Run", as_json: bool) -> None:
    """Show what is in the data set of RECIPE, preparing it first if need be."""
    from edgerec.data.describe import describe

    document = describe(run.dataset)
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        if isinstance(value, dict) and name != "features":
            value = ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in value.items())
        if name != "features":
            click.echo(f"{name:<20}{value}")
    for of, features in document["features"].items():
        for name, facts in features.items():
            shown = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items())
            click.echo(f"{of}: {name:<20}{shown}")


@main.command()
@recipe_options
def train(run: "Run", as_json: bool) -> None:
    """Train the Keras model of RECIPE into OUT/trained."""
    _show_model(run.trained, as_json)


@main.command()
@recipe_options
def prune(run: "Run", as_json: bool) -> None:
    """Prune the trained model by magnitude while fine-tuning it, into OUT/pruned."""
    _show_model(run.pruned, as_json)


def _show_model(folder: Path, as_json: bool) -> None:
    import json

    log = json.loads((folder / "training.json").read_text())
    if as_json:
        print_json(log)
    else:
        click.echo(
            f"{folder}: validation NDCG@10 {log['validation_ndcg@10']:.4f} at epoch {log['best_epoch']}, "
            f"{log['sparsity']['total']:.0%} zeros"
        )


@main.command()
@recipe_options
def convert(run: "Run", as_json: bool) -> None:
    """Quantize, convert and verify the pruned model: one bundle a scheme, under OUT/bundles."""
    bundles = run.bundles
    if as_json:
        print_json({variant: str(path) for variant, path in bundles.items()})
        return
    for variant, path in bundles.items():
        click.echo(f"{variant:<18}{path.stat().st_size:>12,} bytes  {path}")


main.add_command(bench)


@main.command()
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@DATASET
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the ensemble, with a copy of every MODEL; an ensemble that is there is replaced.",
)
@json_option
def ensemble(models: tuple[Path, ...], dataset_folder: Path, out: Path, as_json: bool) -> None:
    """Make one scorer of several trained models, the mean of their log-probabilities, and measure what it gains.

    Each MODEL is a folder such as runs/NAME/trained; encoders and sizes may differ, the split may not.

    Example: edgerec ensemble runs/a/trained runs/b/trained --dataset runs/a/dataset --out runs/ensemble
    """
    require_workstation("ensemble")
    from edgerec.data.dataset import Dataset
    from edgerec.ensembling import make_ensemble
    from edgerec.progress import Progress

    document = make_ensemble(models, Dataset.load(dataset_folder), out, Progress())
    if as_json:
        print_json(document)
        return
    figures = [("validation", "ndcg@10"), ("test", "ndcg@10"), ("test", "hr@10")]
    rows = [*document["members"], document["ensemble"]]
    width = max(len(row["model"]) for row in rows)
    click.echo(" " * width + "".join(f"  {f'{part} {figure}':>18}" for part, figure in figures))
    for row in rows:
        shown = (f"  {row[part][figure]:>18.4f}" for part, figure in figures)
        click.echo(f"{row['model']:<{width}}{''.join(shown)}")


@main.command()
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
    default=0.01,
    show_default=True,
    help="Relative loss of NDCG@10 up to which MODEL is non-inferior to the reference.",
)
@json_option
def evaluate(model: Path, dataset_folder: Path, against: Path | None, margin: float, as_json: bool) -> None:
    """Measure the quality of MODEL on the test targets: a bundle, a folder of a model or an ensemble, or the name of
    a baseline (popularity, recent-popularity, markov, windowed-counts).

    Example: edgerec evaluate models/grocery/model.tflite --against windowed-counts --dataset runs/grocery/dataset
    """
    require_workstation("evaluate")
    from edgerec.data.dataset import Dataset
    from edgerec.evaluation.comparison import compare
    from edgerec.evaluation.lists import list_figures
    from edgerec.evaluation.slices import by_slice

    dataset = Dataset.load(dataset_folder)
    targets = dataset.targets("test")
    result = _evaluate_any(model, targets, dataset)
    reference = None if against is None else _evaluate_any(against, targets, dataset)
    document: dict[str, Any] = {
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


def _show_evaluation(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['model']} on {document['dataset']} ({document['targets']:,} test targets, "
        f"split {document['split_fingerprint']})\n"
    )
    quality = document["quality"]
    cutoffs = sorted({int(name.split("@")[1]) for name in quality if name.startswith("ndcg@")})
    click.echo(f"{'':<16}" + "".join(f"{f'@{k}':>8}" for k in cutoffs))
    for figure in ("ndcg", "hr", "mrr", "map"):
        click.echo(f"{figure:<16}" + "".join(f"{quality[f'{figure}@{k}']:>8.4f}" for k in cutoffs))
    for name, value in {"mrr": quality["mrr"], "coverage@10": quality["coverage@10"], **document["lists"]}.items():
        click.echo(f"{name:<16}{value:>8.4f}")
    for kind, rows in document["slices"].items():
        drop = "drop" if "against" in document else ""
        click.echo(f"\n{kind:<12}{'targets':>8}  {'ndcg@10':<25}{'hr@10':<25}{drop}".rstrip())
        for row in rows:
            figures = (f"{row[name]:.4f} [{low:.4f}, {high:.4f}]" for name, (low, high) in _with_intervals(row))
            drop = _percent(row["ndcg_drop"], row["ndcg_drop_ci"]) if row.get("ndcg_drop") is not None else ""
            click.echo(f"{row['name']:<12}{row['targets']:>8,}  {''.join(f'{f:<25}' for f in figures)}{drop}".rstrip())
    if "against" in document:
        found = document["comparison"]
        click.echo(
            f"\nagainst {document['against']['model']} (ndcg@10 {document['against']['quality']['ndcg@10']:.4f}): "
            f"drop {_percent(found['ndcg_drop'], found['ndcg_drop_ci'])}, better for {found['better']:.1%} and worse "
            f"for {found['worse']:.1%} of the targets, overlap@10 {found['overlap@10']:.3f}\n"
            f"{found['verdict']} at a margin of {found['margin']:.2%}"
        )


def _with_intervals(row: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return [(name, row[f"{name}_ci"]) for name in ("ndcg@10", "hr@10")]


def _percent(drop: float, ends: list[float]) -> str:
    return f"{drop:.2%} [{ends[0]:.2%}, {ends[1]:.2%}]"
