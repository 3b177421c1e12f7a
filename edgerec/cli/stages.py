"""``edgerec train``, ``prune``, ``quantize`` and ``convert``: the stages between the data set and the report."""

from typing import TYPE_CHECKING

import click

from device_runner.command import print_json
from edgerec.cli.options import recipe_options
from edgerec.errors import RecipeError

if TYPE_CHECKING:
    from edgerec.pipeline import Run
    from edgerec.stages.train import ModelStage
    from edgerec.stages.train_ranking import RankingStage


@click.command()
@recipe_options
def train(run: "Run", as_json: bool) -> None:
    """Train the Keras model of RECIPE into OUT/trained."""
    _show_model(run.stages.trained, as_json)


@click.command()
@recipe_options
def prune(run: "Run", as_json: bool) -> None:
    """Prune the trained model by the method of RECIPE and fine-tune it, into OUT/pruned."""
    _show_model(run.stages.pruned, as_json)


@click.command()
@recipe_options
def quantize(run: "Run", as_json: bool) -> None:
    """Fine-tune the pruned model for the scheme of RECIPE's [quantize], into OUT/quantized."""
    if run.recipe.quantize.scheme is None:
        example = "int8-full" if run.recipe.kind == "ranking" else "int4"
        raise RecipeError(f'quantize.scheme: the recipe names none, such as scheme = "{example}" under [quantize]')
    _show_model(run.stages.quantized, as_json)


def _show_model(stage: "ModelStage | RankingStage", as_json: bool) -> None:
    log = stage.log()
    if as_json:
        print_json(log)
    else:
        name = next(key for key in log if key.startswith("validation_"))
        figure = f"{name.removeprefix('validation_').upper()} {log[name]:.4f}"
        click.echo(
            f"{stage.folder}: validation {figure} at epoch {log['best_epoch']}, {log['sparsity']['total']:.0%} zeros"
        )


@click.command()
@click.option(
    "--prior",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="CSV of item ids and counts, such as the sales of the last weeks: the prior of the files, without training "
    "again. Short for --set convert.prior=FILE.",
)
@recipe_options
def convert(run: "Run", as_json: bool) -> None:
    """Quantize, convert and verify the pruned model: one bundle a scheme, under OUT/bundles.

    If RECIPE has a gate, everything is measured too, and the exit code is 3 if the file that ships does not keep it.
    """
    bundles = run.bundles
    if as_json:
        print_json({variant: str(path) for variant, path in bundles.items()})
    else:
        for variant, path in bundles.items():
            click.echo(f"{variant:<18}{path.stat().st_size:>12,} bytes  {path}")
    if run.recipe.gate.model_dump(exclude_none=True):
        from edgerec import gate

        gate.check(run.report)
