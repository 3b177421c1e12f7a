"""``edgerec ensemble``."""

from pathlib import Path

import click

from device_runner.command import json_option, print_json
from edgerec.cli.options import DATASET, require_workstation


@click.command(short_help="Make one scorer of several trained models.")
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
    from edgerec.errors import DataError
    from edgerec.progress import Progress
    from edgerec.ranking_evaluation import is_ranking_model
    from edgerec.stages.ensemble import make_ensemble

    for model in models:
        if model.is_dir() and is_ranking_model(model):
            raise DataError(f"{model}: a ranking model; ensembles are of retrieval models. Train a larger one instead")
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
