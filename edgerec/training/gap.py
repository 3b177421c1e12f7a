"""How much better a model ranks what it was trained on than what it was not: the sign of over-fitting."""

import numpy as np

from edgerec.data.dataset import Dataset, Targets
from edgerec.evaluation.ranking import evaluate
from edgerec.recommenders import SequenceRecommender

# Targets of each side.
SAMPLE = 1000


def generalization_gap(recommender: SequenceRecommender, dataset: Dataset) -> dict[str, float]:
    """``train_ndcg@10`` and ``validation_ndcg@10``, each the mean over up to ``SAMPLE`` random users; 0 without any.

    The targets of training are each user's last training event, after the events before it. The two differ by what the
    model learned by heart, and by a history that is one event longer.
    """
    figures = {}
    for name, targets in (("train", _last_training_events(dataset)), ("validation", dataset.targets("validation"))):
        chosen = targets.sample(SAMPLE, seed=0)
        inputs = recommender.inputs_of(chosen, dataset)
        ranked = evaluate(recommender.score, chosen, dataset, inputs=inputs)
        figures[f"{name}_ndcg@10"] = float(ranked.ndcg(10).mean()) if len(chosen) else 0.0
    return figures


def _last_training_events(dataset: Dataset) -> Targets:
    histories = dataset.training_histories()
    users = np.array([user for user, history in enumerate(histories) if len(history) > 1], int)
    lasts = np.array([histories[user][-1] for user in users], np.int32)
    return Targets(users, [histories[user][:-1] for user in users], lasts)
