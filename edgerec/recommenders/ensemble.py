"""Ensembles: several recommenders of one data set that score as one."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from device_runner import EdgeRecError
from edgerec.data.dataset import Dataset, Targets
from edgerec.errors import DataError
from edgerec.recommenders.recommender import SequenceRecommender

ENSEMBLE = "ensemble.json"


class Ensemble:
    """Scores by the mean of its members' log-probabilities, a geometric mean of what they predict.

    Members may differ in encoder, size and, unless they have user features, ``max_history``.

    Attributes:
        members: two or more recommenders.
        items: N, of all members.
        split_fingerprint: of the data set that all members are trained on.

    Raises:
        DataError: there are fewer than two members, or they differ in split, catalogue or user features.
    """

    def __init__(self, members: Sequence[SequenceRecommender]) -> None:
        if len(members) < 2:
            raise DataError(
                f"an ensemble needs two models or more, not {len(members)}; train another with: edgerec train"
            )
        first = members[0]
        for number, member in enumerate(members):
            if (member.split_fingerprint, member.items) != (first.split_fingerprint, first.items):
                raise DataError(
                    f"member {number} of the ensemble is made from split {member.split_fingerprint} of "
                    f"{member.items:,} items, member 0 from {first.split_fingerprint} of {first.items:,}; train all on "
                    "one data set"
                )
            if _user_inputs(member) != _user_inputs(first):
                raise DataError(
                    f"member {number} of the ensemble has other model.user_features than member 0, or another "
                    "model.max_history with them; train all with the same"
                )
        self.members = list(members)
        self.items = first.items
        self.split_fingerprint = first.split_fingerprint

    def score(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Mean log-probabilities float32 [n, N + 1] for n histories of rows, oldest first; row 0 is -inf.

        Each member's are over the rows 1..N. The exponentials of their mean sum to at most 1: a distribution needs
        another softmax.
        """
        mean = np.zeros((len(histories), self.items + 1), np.float32)
        mean[:, 0] = -np.inf
        for member in self.members:
            mean[:, 1:] += tf.nn.log_softmax(member.score(histories)[:, 1:]).numpy()
        mean /= len(self.members)
        return mean

    def inputs_of(self, targets: Targets, dataset: Dataset) -> list[np.ndarray]:
        """Input rows for each target, the same for every member."""
        return self.members[0].inputs_of(targets, dataset)

    def save(self, folder: Path) -> None:
        """Write ``ensemble.json`` and every member's model folder, ``members/0`` and so on."""
        names = [f"members/{number}" for number in range(len(self.members))]
        for name, member in zip(names, self.members, strict=True):
            (folder / name).mkdir(parents=True)
            member.save(folder / name)
        (folder / ENSEMBLE).write_text(json.dumps({"members": names}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Ensemble":
        """Read what ``save`` wrote.

        Raises:
            EdgeRecError: the folder holds no ensemble, or lacks a member.
        """
        try:
            names = json.loads((folder / ENSEMBLE).read_text())["members"]
        except FileNotFoundError:
            raise EdgeRecError(f"{folder}: no ensemble here; make one with: edgerec ensemble") from None
        except (ValueError, KeyError, TypeError):
            raise EdgeRecError(f"{folder / ENSEMBLE}: damaged; make it again with: edgerec ensemble") from None
        return cls([SequenceRecommender.load(folder / name) for name in names])


def _user_inputs(member: SequenceRecommender) -> list[object]:
    return [*member.user_features, member.architecture.max_history] if member.user_features else []


def is_ensemble(folder: Path) -> bool:
    """Whether ``folder`` holds an ensemble (and so, no single model)."""
    return (folder / ENSEMBLE).is_file()


def load_model(folder: Path) -> SequenceRecommender | Ensemble:
    """Read a model or ensemble folder.

    Raises:
        EdgeRecError: it holds neither.
    """
    return Ensemble.load(folder) if is_ensemble(folder) else SequenceRecommender.load(folder)


def members_of(model: SequenceRecommender | Ensemble) -> list[SequenceRecommender]:
    """The members of an ensemble; of a single model, itself."""
    return model.members if isinstance(model, Ensemble) else [model]
