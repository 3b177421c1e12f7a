"""The ranking model: a network over the inputs of a row, with the link that makes its output a score."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from device_runner.errors import EdgeRecError, plain_reason
from edgerec.data.dataset import TRAIN, Dataset
from edgerec.data.labelled_rows import Histories, LabelledRows, labelled_rows
from edgerec.rankers.architecture import RankerArchitecture
from edgerec.rankers.dcn import dcn
from edgerec.rankers.deepfm import deepfm
from edgerec.rankers.fields import Fields, fields
from edgerec.rankers.inputs import fit_inputs
from edgerec.rankers.layers import Blend
from edgerec.rankers.mlp import mlp
from edgerec.rankers.row_inputs import RowInputs, a_day
from edgerec.recipe import RankingRecipe

# Fields of a network -> scores [C, 1] before the link.
RANKERS: dict[str, Callable[[Fields, RankerArchitecture], tf.Tensor]] = {"mlp": mlp, "deepfm": deepfm, "dcn": dcn}
# Rankers that have a weight for each code.
LINEAR = {"deepfm"}
# Added to the number of an item's values before their mean is taken, which draws it to the mean of all.
USUAL_SHRINKAGE = 10.0


class RankingModel:
    """A Keras network that scores items for a user at a moment.

    Args:
        centre: what the network's output is added to: the mean training label, or of clicks its log-odds.
        limits: the smallest and the largest training label, between which ratings are cut.
        usual: each item's usual value, float32 [N + 1], where interactions have values: the mean of its training
            values, drawn to the mean of all where it has few.

    Attributes:
        network: the functional model, with the inputs ``architecture.inputs.names`` and the output [C].
        alone: the same without the score of the retrieval model.
    """

    def __init__(
        self,
        architecture: RankerArchitecture,
        split_fingerprint: str,
        centre: float,
        limits: tuple[float, float],
        usual: np.ndarray | None,
    ) -> None:
        self.architecture, self.split_fingerprint = architecture, split_fingerprint
        self.centre, self.limits, self.usual = centre, limits, usual
        read = fields(architecture, usual, architecture.ranker in LINEAR)
        output = RANKERS[architecture.ranker](read, architecture)
        self.alone = keras.Model(read.inputs, output)
        if feature := architecture.inputs.retrieval:
            given = dict(zip(architecture.inputs.names, read.inputs, strict=True))
            output = Blend(feature.mean, feature.std)([output, given[feature.input]])
        self.network = keras.Model(read.inputs, output, name=architecture.ranker)
        self._predict = tf.function(self.scores, reduce_retracing=True)

    @classmethod
    def of_dataset(
        cls,
        recipe: RankingRecipe,
        dataset: Dataset,
        parts: tuple[str, ...] = ("train",),
        rows: LabelledRows | None = None,
    ) -> "RankingModel":
        """A new model of ``[model]``, with all parameters of its inputs learned on the rows of ``parts``, which may be
        given as ``rows``.
        """
        rows = labelled_rows(dataset, recipe.task, parts, recipe.train.seed) if rows is None else rows
        histories = Histories(dataset, recipe.model.max_history, parts)
        recency = None
        if "recency" in (recipe.model.context or ()) and dataset.info["time_unit"]:
            recency = histories.days_since(rows.sample(20_000, seed=0), a_day(dataset))
        reads_values = recipe.reads_values
        inputs = fit_inputs(recipe.model, dataset, reads_values, recency, rows.retrieval)
        shape = RankerArchitecture.of_recipe(recipe.model, recipe.task.kind, dataset.items, inputs)
        mean = float(rows.labels.mean())
        centre = mean if recipe.task.kind == "rating" else float(np.log(max(mean, 1e-6) / max(1 - mean, 1e-6)))
        limits = (float(rows.labels.min()), float(rows.labels.max()))
        usual = usual_values(dataset, parts) if inputs.reads_values else None
        return cls(shape, dataset.split_fingerprint, centre, limits, usual)

    @property
    def items(self) -> int:
        """N: items with a row of their own."""
        return self.architecture.items

    def raw(self, *inputs: tf.Tensor, training: bool = False, network: keras.Model | None = None) -> tf.Tensor:
        """What the link is applied to, [C]: a rating, or the log-odds of a click; ``network`` may stand in for the own
        one, over the same layers.
        """
        found = (network or self.network)(list(inputs), training=training)
        return tf.squeeze(found, 1) + self.centre

    def scores(self, *inputs: tf.Tensor, network: keras.Model | None = None) -> tf.Tensor:
        """Scores [C]: ratings within the limits, or probabilities; ``network`` as in :meth:`raw`."""
        raw = self.raw(*inputs, network=network)
        if self.architecture.label == "rating":
            return tf.clip_by_value(raw, *self.limits)
        return tf.sigmoid(raw)

    def row_inputs(self, dataset: Dataset, known: tuple[str, ...] = ("train",)) -> RowInputs:
        """Makes the inputs of rows of a Dataset, with histories of the parts ``known``."""
        history = self.architecture.inputs.history
        return RowInputs(
            dataset, self.architecture.inputs, Histories(dataset, history[0].size if history else 1, known)
        )

    def predict(
        self, rows: LabelledRows, inputs: RowInputs, advance: Callable[[int], None] = lambda steps: None
    ) -> np.ndarray:
        """Scores float32 [n] of labelled rows; ``advance`` is told how many were scored, after each batch."""
        found = []
        for batch in inputs.batches(rows):
            found.append(self.predict_batch(batch))
            advance(len(found[-1]))
        return np.concatenate([np.zeros(0, np.float32), *found])

    def predict_batch(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores float32 [C] for the inputs of the graph by name, in its order."""
        return np.asarray(self._predict(*(tf.constant(values) for values in inputs.values())))

    def reshaped(self, architecture: RankerArchitecture) -> "RankingModel":
        """A new model of another shape, with new weights."""
        return RankingModel(architecture, self.split_fingerprint, self.centre, self.limits, self.usual)

    def with_hidden(self, hidden: tuple[int, ...]) -> "RankingModel":
        """A new model with dense layers of other widths."""
        return self.reshaped(replace(self.architecture, hidden=hidden))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``model.weights.h5``.

        Raises:
            EdgeRecError: the disk is full.
        """
        saved = {
            "kind": "ranking",
            "split_fingerprint": self.split_fingerprint,
            "architecture": self.architecture.to_json(),
            "centre": self.centre,
            "limits": self.limits,
        }
        try:
            (folder / "model.json").write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            self.network.save_weights(folder / "model.weights.h5")
        except (OSError, RuntimeError) as error:  # what HDF5 says of a disk that is full
            raise EdgeRecError(f"{folder}: the weights cannot be written: {plain_reason(error)}") from None

    @classmethod
    def load(cls, folder: Path) -> "RankingModel":
        """Read what ``save`` wrote.

        Raises:
            EdgeRecError: the folder holds no ranking model.
        """
        try:
            saved = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EdgeRecError(f"{folder}: no model here; make one with: edgerec train") from None
        except ValueError:
            raise EdgeRecError(f"{folder / 'model.json'}: damaged; train again with: edgerec train") from None
        try:
            if saved.get("kind") != "ranking":
                raise EdgeRecError(f"{folder}: a retrieval model, not a ranking model")
            architecture = RankerArchitecture.from_json(saved["architecture"])
            low, high = saved["limits"]
            split, centre = saved["split_fingerprint"], float(saved["centre"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise EdgeRecError(f"{folder}: made by another version; train again with: edgerec train") from None
        reads_values = architecture.inputs.reads_values
        usual = np.zeros(architecture.items + 1, np.float32) if reads_values else None  # read with the weights
        model = cls(architecture, split, centre, (low, high), usual)
        model.network.load_weights(folder / "model.weights.h5")
        if reads_values:
            model.usual = model.network.get_layer("of_history").usual.numpy()[:, 0]
        return model


def usual_values(dataset: Dataset, parts: tuple[str, ...]) -> np.ndarray:
    """See :class:`RankingModel`: float32 [N + 1]; row 0 has the mean of all."""
    chosen = dataset.parts == TRAIN if parts == ("train",) else dataset.parts < 2
    values, items = dataset.values[chosen].astype(np.float64), dataset.events[chosen]
    mean = values.mean()
    counts = np.bincount(items, minlength=dataset.items + 1)
    sums = np.bincount(items, values - mean, minlength=dataset.items + 1)
    usual = mean + sums / (counts + USUAL_SHRINKAGE)
    usual[0] = mean
    return usual.astype(np.float32)
