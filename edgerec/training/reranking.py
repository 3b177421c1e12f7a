"""The objective of rankers that put the candidates of a retrieval model in order.

The retrieval model has learned from the very rows that the ranker is trained on, so there its scores are better than
they will be, and a network that read them would trust them too much. It never does: the score is the sum of the
network's and retrieval's, and how much retrieval counts is decided on validation, which neither was trained on, as in
stacked generalisation (Wolpert 1992); the epochs of both, and how retrieval weights its own parts, were chosen there,
too. Retrieval alone is weighted first; the network is trained on top of it, so that it learns what is missing; at the
end both are weighted again. A network that is trained without retrieval learns little but what retrieval has selected
by: on grocery its likeliest weight beside retrieval was negative.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import LabelledRows
from edgerec.data.retrieved import Retrieved
from edgerec.evaluation.calibration import calibrated
from edgerec.rankers import RankingModel
from edgerec.rankers.layers import Blend, standardise
from edgerec.recipe import RankingRecipe
from edgerec.training.labels import Labels
from edgerec.training.objective import Figure

LIKELIHOOD = Figure("log_likelihood", "log-likelihood")
WEIGHT_L2 = 1e-4


class Reranking(Labels):
    """Cross-entropy of each purchase among its negatives. Validated by the mean log-likelihood of the targets among
    their candidates, with the weights of :meth:`blend`: NDCG@10 of a thousand lists is mostly chance.

    Args:
        retrieved: rows with scores of the retrieval model.
    """

    def __init__(
        self,
        model: RankingModel,
        dataset: Dataset,
        recipe: RankingRecipe,
        retrieved: Retrieved,
        network: keras.Model | None = None,
    ) -> None:
        super().__init__(model, dataset, recipe, network, validation=retrieved.rows("validation"))
        self.name, self.figure = "cross-entropy among candidates", LIKELIHOOD
        self._rows: LabelledRows = retrieved.rows("train")
        self._lists = retrieved.rows("lists")
        self._list_inputs = list(self._inputs.batches(self._lists))
        self._targets = len(dataset.targets("validation"))
        self._alone = tf.function(lambda *inputs: model.alone(list(inputs), training=False), reduce_retracing=True)

    def begin(self) -> None:
        """Weight the retrieval model for the network to be trained on top of it: alone, or before fine-tuning as
        :meth:`blend` has weighted it against the network, if that had a positive weight. The network itself counts
        once, as its gradient shrinks with its weight.
        """
        of_network, of_retrieval, _ = self._blend.weighting.numpy().tolist()
        if of_network > 0 and of_retrieval != 0:  # 0 in a new model
            weight = of_retrieval / of_network
        else:
            retrieval = self._standardised(self._lists)
            weight = likeliest(np.zeros_like(retrieval), retrieval, self._lists.labels, self._lists.group)[1]
        self._blend.weighting.assign([1.0, weight, 0.0])

    def loss(self, *tensors: tf.Tensor) -> tf.Tensor:
        *inputs, labels = tensors
        logits = tf.reshape(self.model.raw(*inputs, training=True, network=self.network), [-1, self._rows.group])
        labels = tf.reshape(labels, [-1, self._rows.group])
        errors = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
        return errors + self._train.l2 * tf.add_n([tf.constant(0.0), *self.network.losses])

    def validate(self) -> float:
        own, retrieval = self._own(self._list_inputs), self._standardised(self._lists)
        weights = likeliest(own, retrieval, self._lists.labels, self._lists.group)
        lists = (np.stack([own, retrieval], 1) @ weights).reshape(-1, self._lists.group)
        hits = lists[self._lists.labels.reshape(lists.shape) > 0]
        return float((hits - logsumexp(lists, axis=1)).mean()) if len(hits) else 0.0

    def blend(self) -> dict[str, float]:
        """Weight the network and the retrieval model in the model: against each other for order, together for
        calibration.

        Returns:
            ``of_network`` and ``of_retrieval``, the weights of the log-odds, and the NDCG@10 on validation of both
            and of retrieval alone. That of both is in sample: their weights were fitted to the same lists.
        """
        validation, group = self._validation, self._lists.group
        own, retrieval = self._own(self._list_inputs), self._standardised(self._lists)
        weights = likeliest(own, retrieval, self._lists.labels, group)
        scores = np.stack([self._own(self._validation_inputs), self._standardised(validation)], 1) @ weights
        scale, shift = calibrated(scores, validation.labels)
        self._blend.weighting.assign([*(scale * weights), shift - self.model.centre])
        both = np.stack([own, retrieval], 1) @ weights
        return {
            "of_network": float(scale * weights[0]),
            "of_retrieval": float(scale * weights[1]),
            "ndcg@10": ndcg_of_lists(both, self._lists.labels, group) / self._targets,
            "ndcg@10_of_retrieval": ndcg_of_lists(retrieval, self._lists.labels, group) / self._targets,
        }

    def _rows_in(self, epoch: int) -> LabelledRows:
        return self._rows

    @property
    def _blend(self) -> Blend:
        return self.model.network.get_layer("blend")

    def _own(self, batches: list[dict[str, np.ndarray]]) -> np.ndarray:
        """Scores of the network alone, float64 [n]."""
        found = [self._alone(*map(tf.constant, batch.values())).numpy()[:, 0] for batch in batches]
        return np.concatenate([np.zeros(0), *found]).astype(np.float64)

    def _standardised(self, rows: LabelledRows) -> np.ndarray:
        """Scores of retrieval as the network adds them, float64 [n]."""
        feature = self.model.architecture.inputs.retrieval
        assert feature is not None
        return standardise(tf.constant(rows.retrieval), feature.mean, feature.std).numpy().astype(np.float64)


def likeliest(own: np.ndarray, retrieval: np.ndarray, labels: np.ndarray, group: int) -> np.ndarray:
    """The weights float64 [2] of two scores [n] by which the positive row of each group is likeliest among its group,
    with a slight preference for small ones.
    """
    columns = np.stack([own, retrieval], 1).reshape(-1, group, 2)
    hits = columns[labels.reshape(-1, group) > 0]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = columns @ weights
        chances = softmax(scores, axis=1)
        expected = (chances[:, :, None] * columns).sum(1)
        value = (logsumexp(scores, axis=1) - hits @ weights).mean()
        return value + WEIGHT_L2 * weights @ weights, (expected - hits).mean(0) + 2 * WEIGHT_L2 * weights

    if not len(hits):
        return np.array([0.0, 1.0])
    return np.asarray(minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B").x)


def ndcg_of_lists(scores: np.ndarray, labels: np.ndarray, group: int) -> float:
    """The sum of NDCG@10 over lists with one positive row each; of equal scores, the first row comes first."""
    order = np.argsort(-scores.reshape(-1, group), axis=1, kind="stable")[:, :10]
    return float(
        (np.take_along_axis(labels.reshape(-1, group), order, 1) / np.log2(np.arange(order.shape[1]) + 2)).sum()
    )
