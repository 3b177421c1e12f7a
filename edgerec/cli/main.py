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
    from edgerec.pipeline import Run

DEFAULT_RECIPE = Path("models/grocery/recipe.toml")


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
        require_workstation(str(click.get_current_context().info_name))
        from edgerec.pipeline import Run
        from edgerec.progress import Progress
        from edgerec.recipe import load_recipe

        resolved = load_recipe(recipe, overrides)
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
        return
    from edgerec.report.terminal import print_report

    print_report(report)
    click.echo(f"\nreport  {run.folder / 'report.html'}")
    click.echo(f"ship    {run.folder / report['variants'][-1]['file']}")


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
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    "dataset_folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Prepared data set to test on, such as runs/NAME/dataset.",
)
@json_option
def evaluate(model: Path, dataset_folder: Path, as_json: bool) -> None:
    """Measure the quality of MODEL on the test targets: a bundle, a model folder, or the word popularity.

    Example: edgerec evaluate models/grocery/model.tflite --dataset runs/grocery/dataset
    """
    require_workstation("evaluate")
    from device_runner import Recommender
    from edgerec.data.dataset import Dataset
    from edgerec.evaluation.device import evaluate_bundle
    from edgerec.evaluation.ranking import evaluate as evaluate_scorer
    from edgerec.evaluation.ranking import popularity_scorer
    from edgerec.recommenders import SequenceRecommender

    dataset = Dataset.load(dataset_folder)
    targets = dataset.targets("test")
    if str(model) == "popularity":
        result = evaluate_scorer(popularity_scorer(dataset), targets, dataset)
    elif model.is_dir():
        result = evaluate_scorer(SequenceRecommender.load(model).score, targets, dataset)
    else:
        result = evaluate_bundle(Recommender.load(model), targets, dataset)
    document = {
        "model": str(model),
        "dataset": dataset.name,
        "split_fingerprint": dataset.split_fingerprint,
        "targets": len(targets),
        "quality": result.quality(),
    }
    if as_json:
        print_json(document)
        return
    click.echo(f"{model} on {dataset.name} ({len(targets):,} test targets, split {dataset.split_fingerprint})")
    for name, value in result.quality().items():
        click.echo(f"{name:<12}{value:.4f}")
