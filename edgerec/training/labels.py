"""The objective of ranking models: squared error of ratings, cross-entropy of clicks."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import LabelledRows, labelled_rows, part_seed
from edgerec.evaluation.scored_rows import ScoredRows
from edgerec.rankers import RankingModel
from edgerec.recipe import RankingRecipe
from edgerec.training.objective import Figure

# Positive rows of validation that are scored after each epoch, at most.
VALIDATED = 20_000
FIGURES = {"rating": Figure("rmse", "RMSE", higher_is_better=False)}
AUC = Figure("auc", "AUC")


class Labels:
    """The labels of rows: mean squared error, or binary cross-entropy, plus ``l2`` times the squared vectors that a row
    reads. Negatives are drawn anew for each epoch (not by ``Reranking``, whose rows were retrieved before).

    Args:
        model: what is fitted; ``network`` may stand in for its own, over the same layers.
        parts: whose rows are fitted.
        validation: rows to validate on, if not those of the validation part.
    """

    def __init__(
        self,
        model: RankingModel,
        dataset: Dataset,
        recipe: RankingRecipe,
        network: keras.Model | None = None,
        parts: tuple[str, ...] = ("train",),
        validation: LabelledRows | None = None,
    ) -> None:
        self.model, self.dataset = model, dataset
        self.network = network or model.network
        self.weights: Sequence[tf.Variable] = model.network.weights
        self.name = "mean squared error" if recipe.task.kind == "rating" else "binary cross-entropy"
        self.figure = FIGURES.get(recipe.task.kind, AUC)
        self._task, self._train, self.parts = recipe.task, recipe.train, parts
        self._inputs = model.row_inputs(dataset, parts)
        types = model.architecture.inputs.dtypes()
        sizes = {feature.input: [feature.size] if feature.size else [] for feature in model.architecture.inputs.all}
        self.signature = [
            *(tf.TensorSpec([None, *sizes.get(name, [])], types[name]) for name in types),
            tf.TensorSpec([None], tf.float32),
        ]
        if validation is None:
            validation = labelled_rows(dataset, recipe.task, ("validation",), part_seed("validation"))
        self._validation = validation.sample(VALIDATED, seed=0)
        self._validation_inputs = list(self._inputs.batches(self._validation))
        self._rows: LabelledRows | None = None
        self._rows_of = -1

    def batches(self, epoch: int) -> list[LabelledRows]:
        rows = self._rows_in(epoch)
        order = np.random.default_rng([self._train.seed, epoch]).permutation(rows.groups)[: self._train.sample]
        starts = range(0, len(order), self._train.batch)
        return [rows.subset(order[start : start + self._train.batch]) for start in starts]

    def tensors(self, batch: LabelledRows) -> tuple[tf.Tensor, ...]:
        arrays = self._inputs.of(batch)
        return (*(tf.constant(values) for values in arrays.values()), tf.constant(batch.labels))

    def loss(self, *tensors: tf.Tensor) -> tf.Tensor:
        *inputs, labels = tensors
        raw = self.model.raw(*inputs, training=True, network=self.network)
        if self._task.kind == "rating":
            errors = tf.reduce_mean((raw - labels) ** 2)
        else:
            errors = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, raw))
        return errors + self._train.l2 * tf.add_n([tf.constant(0.0), *self.network.losses])

    def validate(self) -> float:
        return self.validated().main_figure()

    def validated(self) -> ScoredRows:
        """The validation rows with their scores."""
        scores = [self.model.predict_batch(batch) for batch in self._validation_inputs]
        return ScoredRows.of(self._task.kind, self._validation, np.concatenate(scores))

    def sample(self, rows: int) -> LabelledRows:
        """Random rows of what is fitted."""
        return self._rows_in(1).sample(max(1, rows // self._rows_in(1).group), seed=0)

    def _rows_in(self, epoch: int) -> LabelledRows:
        """The rows of an epoch; only those with negatives differ from one to the next."""
        if self._rows is None or (self._task.kind == "implicit" and self._rows_of != epoch):
            self._rows = labelled_rows(self.dataset, self._task, self.parts, 1000 * self._train.seed + epoch)
            self._rows_of = epoch
        return self._rows


def ranking_gap(objective: Labels, rows: int = 5_000) -> dict[str, float]:
    """The main figure on training and on validation rows, ``train_FIGURE`` and ``validation_FIGURE``: the sign of
    over-fitting. Where validation rows were trained on, only the first.
    """
    model, sample = objective.model, objective.sample(rows)
    trained = ScoredRows.of(objective.model.architecture.label, sample, model.predict(sample, objective._inputs))
    figure = trained.main.name
    gap = {f"train_{figure}": trained.main_figure()}
    if "validation" not in objective.parts:
        gap[f"validation_{figure}"] = objective.validated().main_figure()
    return gap
