"""Trained recommenders -> one ensemble, measured together with its members."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from edgerec.artifact import new_folder, write_file
from edgerec.data.dataset import Dataset, Part
from edgerec.errors import DataError
from edgerec.evaluation.device import check_split
from edgerec.evaluation.ranking import Evaluation, evaluate_model
from edgerec.progress import Progress
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.ensemble import Ensemble, is_ensemble


def make_ensemble(models: Sequence[Path], dataset: Dataset, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write the ensemble of the model folders ``models`` into ``folder``, whole or not at all.

    Beside what ``Ensemble.save`` writes, ``folder`` gets the evaluation on the test targets, like the folder of any
    model, and ``measured.json``, which is returned: figures of the ensemble and of each member on validation and test.
    An ensemble that is already there is replaced.

    Raises:
        DataError: ``folder`` holds something else, a model is an ensemble itself or of another split, or there are
            fewer than two.
        EdgeRecError: a folder holds no model.
    """
    if folder.exists() and not is_ensemble(folder):
        raise DataError(f"{folder}: exists and is no ensemble, so it is not overwritten; choose another folder")
    ensemble = Ensemble([_load_member(model, dataset) for model in models])
    # Resolved, as the folder may be "." or a link.
    with new_folder(folder.resolve(), {"fingerprint": dataset.split_fingerprint}) as new:
        ensemble.save(new)
        members = [
            _figures(str(model), _evaluate(str(model), member, dataset, progress))
            for model, member in zip(models, ensemble.members, strict=True)
        ]
        evaluations = _evaluate("ensemble", ensemble, dataset, progress)
        evaluations["test"].save(new)
        document = {
            "dataset": dataset.name,
            "split_fingerprint": dataset.split_fingerprint,
            "members": members,
            "ensemble": _figures(str(folder), evaluations),
        }
        write_file(new / "measured.json", json.dumps(document, indent=2) + "\n")
    return document


def _load_member(folder: Path, dataset: Dataset) -> SequenceRecommender:
    if is_ensemble(folder):
        raise DataError(
            f"{folder}: an ensemble cannot be a member of another; name its own: {folder / 'members' / '0'} and so on"
        )
    if folder.is_file():
        raise DataError(f"{folder}: a file; a member is a folder that edgerec train or prune has made")
    member = SequenceRecommender.load(folder)
    check_split(folder, member.split_fingerprint, dataset)
    return member


def _evaluate(
    name: str, model: SequenceRecommender | Ensemble, dataset: Dataset, progress: Progress
) -> dict[Part, Evaluation]:
    evaluations: dict[Part, Evaluation] = {}
    for part in get_args(Part):
        targets = dataset.targets(part)
        with progress.steps(f"{part} {name}", len(targets)) as bar:
            evaluations[part] = evaluate_model(model, targets, dataset, bar.advance)
    return evaluations


def _figures(name: str, evaluations: dict[Part, Evaluation]) -> dict[str, Any]:
    return {"model": name, **{part: evaluation.quality() for part, evaluation in evaluations.items()}}
