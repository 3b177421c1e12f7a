"""Late fusion: how the parts of a score are weighted against each other, decided on the validation targets.

The network is trained alone. The weights of the sum then maximise the likelihood of the validation targets, as in
stacked generalisation (Wolpert 1992; Jannach & Ludewig 2017 add neural and neighbourhood scores with a fixed weight).
Training the network on top of the transitions was no better on films, and worse on purchases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from device_runner.ranking import exclude
from edgerec.baselines.recent_popularity import TICKS_A_DAY
from edgerec.data.dataset import TRAIN, Dataset
from edgerec.evaluation.ranking import rank_of
from edgerec.recipe import Model
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.recommenders.prior import Prior
from edgerec.recommenders.transitions import fit_transitions

# Scores that are looked at: users times items. More would only take longer.
SCORES = 8_000_000
DECAYS = (0.5, 0.7, 0.85)
REPEAT_DECAYS = (0.9, 0.97, 1.0)
HALF_LIVES = (7.0, 28.0, 90.0, 365.0)
# Shares of the likeliest weight of the prior that are tried: likelihood asks for more of it than ranking does.
PRIOR_SHARES = (1.0, 0.5, 0.25)
# Where the search begins: the logarithms of 1 / temperature, strength, the smallest share that matters, repeats.
START = np.log([1.0, 0.5, 1e-3, 1e-2])
# The square of the distance from there costs this much log-likelihood, so that few targets cannot go far.
PULL = 1.0


def fit_parts(recommender: SequenceRecommender, dataset: Dataset, model: Model) -> Parts:
    """The parts that ``[model]`` asks for, weighted for this recommender's network."""
    if not model.transitions.neighbours and not model.prior:
        return Parts()
    sample = _Sample.of(recommender, dataset)
    best = _Fitted(START, sample.loss(START, None, None, None)[0])
    parts, sums, repeats = Parts(), None, None
    if model.transitions.neighbours:
        settings = model.transitions
        recent = min(settings.recent, recommender.architecture.max_history)
        table = fit_transitions(dataset.training_histories(), dataset.items, settings.neighbours, recent)
        tried = [(sample.fit(table.sums(sample.histories, decay), None, None), decay) for decay in DECAYS]
        best, decay = min(tried, key=lambda entry: entry[0].loss)
        sums = table.sums(sample.histories, decay)
        own_weights = np.zeros(0, np.float32)
        if not dataset.exclude_seen:
            length = recommender.architecture.max_history
            again = [
                (sample.fit(sums, repeat_sums(sample.histories, dataset.items, length, d), None), d)
                for d in REPEAT_DECAYS
            ]
            best, repeat_decay = min(again, key=lambda entry: entry[0].loss)
            repeats = repeat_sums(sample.histories, dataset.items, length, repeat_decay)
            own_weights = best.repeats * np.float32(repeat_decay) ** np.arange(length, dtype=np.float32)
        weights = np.float32(decay) ** np.arange(recent, dtype=np.float32)
        table = replace(
            table,
            weights=(weights / best.floor).astype(np.float32),
            repeats=(own_weights / best.floor).astype(np.float32),
            strength=best.strength,
        )
        parts = replace(parts, transitions=table)
    if model.prior:
        prior = _fit_prior(sample, dataset, best, sums, repeats)
        parts = replace(parts, prior=prior)
    return parts


def _fit_prior(
    sample: "_Sample", dataset: Dataset, before: "_Fitted", sums: np.ndarray | None, repeats: np.ndarray | None
) -> Prior | None:
    """The prior that ranks the validation targets best, if it does so by more than a standard error (paired)."""
    without = sample.ndcg(before, sums, repeats, 0.0, None)
    options = []
    for half_life in (None, *(HALF_LIVES if dataset.info.get("time_unit") in TICKS_A_DAY else ())):
        counts = decayed_counts(dataset, half_life)
        logs = np.log1p(counts).astype(np.float32)
        logs[0] = 0
        fitted = sample.fit(sums, repeats, logs)
        for share in PRIOR_SHARES:
            strength = share * fitted.prior
            options.append((sample.ndcg(before, sums, repeats, strength, logs), strength, half_life, counts))
    ndcg, strength, half_life, counts = max(options, key=lambda option: option[0].mean())
    gain = ndcg - without
    if gain.mean() <= gain.std(ddof=1) / len(gain) ** 0.5:
        return None
    return Prior.of_counts(counts, strength, half_life)


def decayed_counts(dataset: Dataset, half_life: float | None) -> np.ndarray:
    """Training interactions of each item row, float64 [N + 1], one of ``half_life`` days ago counting half."""
    if half_life is None:
        return dataset.popularity.astype(np.float64)
    training = dataset.parts == TRAIN
    times = dataset.times[training]
    days = (times.max() - times) / TICKS_A_DAY[dataset.info["time_unit"]]
    return np.bincount(dataset.events[training], np.exp2(-days / half_life), dataset.items + 1)


def repeat_sums(histories: Sequence[np.ndarray], items: int, length: int, decay: float) -> np.ndarray:
    """How often each item is among the last ``length`` events, ``decay ** age`` each: float32 [n, N + 1]."""
    sums = np.zeros((len(histories), items + 1), np.float32)
    for line, history in zip(sums, histories, strict=True):
        newest = history[: -length - 1 : -1]
        np.add.at(line, newest, np.float32(decay) ** np.arange(len(newest), dtype=np.float32))
    return sums


@dataclass(frozen=True)
class _Fitted:
    """The weights of a sum, ``point`` as the search sees them, and the loss that they have."""

    point: np.ndarray
    loss: float

    @property
    def strength(self) -> float:
        """Of the transitions, against the network's scores as they are."""
        return float(np.exp(self.point[1] - self.point[0]))

    @property
    def floor(self) -> float:
        """The share from which on the transitions matter."""
        return float(np.exp(self.point[2]))

    @property
    def repeats(self) -> float:
        """Weight of a repeat against a share of 1."""
        return float(np.exp(self.point[3]))

    @property
    def prior(self) -> float:
        """Of the logarithm of the counts, against the network's scores as they are."""
        return float(self.point[4] * np.exp(-self.point[0])) if len(self.point) > 4 else 0.0


@dataclass(frozen=True)
class _Sample:
    """Validation targets with what the network gives for them.

    Attributes:
        histories: n arrays of item rows.
        items: int [n], the targets.
        scores: of the network, float32 [n, N + 1].
        banned: bool [n, N + 1], what cannot be recommended.
    """

    histories: list[np.ndarray]
    items: np.ndarray
    scores: np.ndarray
    banned: np.ndarray

    @classmethod
    def of(cls, recommender: SequenceRecommender, dataset: Dataset) -> "_Sample":
        targets = dataset.targets("validation")
        targets = targets.subset(np.flatnonzero(targets.items > 0))
        targets = targets.sample(max(1, SCORES // (dataset.items + 1)), seed=0)
        inputs = recommender.inputs_of(targets, dataset)
        batches = [recommender.score(inputs[start : start + 256]) for start in range(0, len(inputs), 256)]
        scores = np.concatenate(batches) if batches else np.zeros((0, dataset.items + 1), np.float32)
        allowed = np.zeros_like(scores)
        exclude(allowed, targets.histories if dataset.exclude_seen else ())
        return cls(targets.histories, targets.items, scores, allowed < 0)

    def fit(self, sums: np.ndarray | None, repeats: np.ndarray | None, prior: np.ndarray | None) -> _Fitted:
        """The likeliest weights of what is given: float32 [n, N + 1] twice, and [N + 1]."""
        start = START if prior is None else np.append(START, 0.1)
        bounds = [(None, None)] * len(START) + [(0, None)] * (len(start) - len(START))
        found = minimize(
            self.loss, start, (sums, repeats, prior), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 30}
        )
        return _Fitted(found.x, float(found.fun))

    def loss(
        self, point: np.ndarray, sums: np.ndarray | None, repeats: np.ndarray | None, prior: np.ndarray | None
    ) -> tuple[float, np.ndarray]:
        """Cross-entropy of the targets, drawn towards ``START``, and its gradient by ``point``."""
        n = max(1, len(self.items))
        places = np.arange(len(self.items)), self.items
        sharpness, strength = np.exp(point[:2]).astype(np.float32)
        scores = sharpness * self.scores
        if sums is not None:
            odds = _odds(point, sums, repeats)
            gain = strength * np.log1p(odds)
            scores += gain
        if prior is not None:
            scores += np.float32(point[4]) * prior
        scores[self.banned] = -1e9
        scores -= scores.max(1, keepdims=True)
        error = np.exp(scores)
        totals = error.sum(1, keepdims=True)
        loss = float((np.log(totals[:, 0]) - scores[places]).sum()) / n
        error /= totals
        error[places] -= 1
        gradient = np.zeros(len(point))
        gradient[0] = sharpness * np.vdot(error, self.scores) / n
        if sums is not None:
            gradient[1] = np.vdot(error, gain) / n
            error_by_log = error * (strength / (1 + odds))
            gradient[2] = -np.vdot(error_by_log, odds) / n
            if repeats is not None:
                gradient[3] = np.exp(point[3] - point[2]) * np.vdot(error_by_log, repeats) / n
        if prior is not None:
            gradient[4] = float((error @ prior).sum()) / n
        away = point[: len(START)] - START
        gradient[: len(START)] += 2 * PULL * away / n
        return loss + PULL * float(away @ away) / n, gradient

    def ndcg(
        self,
        fitted: _Fitted,
        sums: np.ndarray | None,
        repeats: np.ndarray | None,
        strength: float,
        prior: np.ndarray | None,
    ) -> np.ndarray:
        """NDCG@10 of each target, float64 [n], with a prior of the given strength."""
        scores = self.scores.copy()
        if sums is not None:
            scores += np.float32(fitted.strength) * np.log1p(_odds(fitted.point, sums, repeats))
        if prior is not None:
            scores += np.float32(strength) * prior
        scores[self.banned] = -np.inf
        ranks = rank_of(scores, self.items)
        return np.where(ranks <= 10, 1 / np.log2(ranks + 1.0), 0.0)


def _odds(point: np.ndarray, sums: np.ndarray, repeats: np.ndarray | None) -> np.ndarray:
    odds = sums * np.float32(np.exp(-point[2]))
    return odds if repeats is None else odds + repeats * np.float32(np.exp(point[3] - point[2]))
