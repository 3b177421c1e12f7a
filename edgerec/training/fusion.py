"""Late fusion: how the parts of a score are weighted against each other, decided on the validation targets.

The network is trained alone. The weights of the sum then maximise the likelihood of the validation targets, as in
stacked generalisation (Wolpert 1992; Jannach & Ludewig 2017 add neural and neighbourhood scores with a fixed weight).
Training the network on top of the transitions was no better (models/BASELINES.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from device_runner.ranking import exclude
from edgerec.baselines.recent_popularity import TICKS_A_DAY
from edgerec.baselines.windowed_counts import WindowedCounts
from edgerec.data.dataset import TRAIN, Dataset
from edgerec.evaluation.ranking import rank_of
from edgerec.recipe import Model
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.recommenders.prior import Prior
from edgerec.recommenders.transitions import Transitions, fit_transitions

# Scores that are looked at, users times items: 2,300 users at 3,400 items. Large catalogues get LEAST users, as far as
# MOST scores go (240 MB each of a few arrays), because the weights of a few dozen users would be chance.
SCORES, LEAST, MOST = 8_000_000, 300, 60_000_000
# Fewer targets say too little about a prior.
PRIOR_TARGETS = 30
DECAYS = (0.5, 0.7, 0.85)
REPEAT_DECAYS = (0.9, 0.97, 1.0)
HALF_LIVES = (7.0, 28.0, 90.0, 365.0)
# Shares of the likeliest weight of the prior that are tried: likelihood asks for more of it than ranking does.
PRIOR_SHARES = (1.0, 0.5, 0.25)
# Where the search begins: the logarithms of 1 / temperature, strength, the smallest share that matters, repeats.
START = np.log([1.0, 0.5, 1e-3, 1e-2])
# The square of the distance from there costs this much log-likelihood, so that few targets cannot go far.
L2_PENALTY = 1.0


def fit_parts(recommender: SequenceRecommender, dataset: Dataset, model: Model) -> Parts:
    """The parts that ``[model]`` asks for, weighted for this recommender, which has no part but the network yet."""
    if not model.transitions.neighbours and not model.prior:
        return Parts()
    sample = _Sample.of(recommender, dataset)
    if not len(sample.items):
        return Parts()  # nothing says how to weigh them
    transitions, terms, fitted = None, _Terms(), _Fitted(START, 0.0)
    if model.transitions.neighbours:
        length = recommender.architecture.max_history
        recent = min(model.transitions.recent, length)
        table = fit_transitions(dataset, model.transitions.neighbours, recent)
        transitions, terms, fitted = _weighted(table, sample, 0 if dataset.exclude_seen else length)
    return Parts(transitions, _fit_prior(sample, dataset, terms, fitted) if model.prior else None)


def _weighted(table: Transitions, sample: "_Sample", repeats_of: int) -> tuple[Transitions, "_Terms", "_Fitted"]:
    """The transitions with the likeliest weights, and what they give for the sample.

    Args:
        repeats_of: events of the history whose repeats count.
    """
    options = [(decay, _Terms(table.counts(decay).score(sample.histories))) for decay in DECAYS]
    decay, terms, fitted = sample.likeliest(options)
    repeat_weights = np.zeros(0)
    if repeats_of:
        counted = {d: repeat_sums(sample.histories, sample.scores.shape[1] - 1, repeats_of, d) for d in REPEAT_DECAYS}
        repeat_decay, terms, fitted = sample.likeliest([(d, replace(terms, repeats=c)) for d, c in counted.items()])
        repeat_weights = fitted.repeats * repeat_decay ** np.arange(repeats_of)
    weighted = replace(
        table,
        weights=(decay ** np.arange(len(table.weights)) / fitted.floor).astype(np.float32),
        repeats=(repeat_weights / fitted.floor).astype(np.float32),
        strength=fitted.strength,
    )
    return weighted, terms, fitted


def _fit_prior(sample: "_Sample", dataset: Dataset, terms: "_Terms", fitted: "_Fitted") -> Prior | None:
    """The prior that ranks the validation targets best, if it does so by more than a standard error (paired)."""
    if len(sample.items) < PRIOR_TARGETS:
        return None
    without = sample.ndcg(terms, fitted, 0.0)
    options = []
    for half_life in (None, *(HALF_LIVES if dataset.info.get("time_unit") in TICKS_A_DAY else ())):
        counts = decayed_counts(dataset, half_life)
        logs = np.log1p(counts).astype(np.float32)
        logs[0] = 0
        with_prior = replace(terms, prior=logs)
        likeliest = sample.fit(with_prior).prior
        for strength in (share * likeliest for share in PRIOR_SHARES):
            options.append((sample.ndcg(with_prior, fitted, strength), strength, half_life, counts))
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
    return WindowedCounts(sparse.identity(items + 1, np.float32, "csr"), length, decay).score(histories)


@dataclass(frozen=True)
class _Terms:
    """What is added to the network's scores of a sample, before it is weighted.

    Attributes:
        sums: shares of the transitions, float32 [n, N + 1].
        repeats: float32 [n, N + 1]; only beside ``sums``.
        prior: float32 [N + 1].
    """

    sums: np.ndarray | None = None
    repeats: np.ndarray | None = None
    prior: np.ndarray | None = None


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
        rows = dataset.items + 1
        targets = targets.sample(max(1, SCORES // rows, min(LEAST, MOST // rows)), seed=0)
        inputs = recommender.inputs_of(targets, dataset)
        batches = [recommender.score(inputs[start : start + 256]) for start in range(0, len(inputs), 256)]
        scores = np.concatenate(batches) if batches else np.zeros((0, dataset.items + 1), np.float32)
        allowed = np.zeros_like(scores)
        exclude(allowed, targets.histories if dataset.exclude_seen else ())
        return cls(targets.histories, targets.items, scores, allowed < 0)

    def likeliest(self, options: Sequence[tuple[float, _Terms]]) -> tuple[float, _Terms, _Fitted]:
        """The decay and terms of ``options`` with the smallest loss, and their weights."""
        fitted = [(*option, self.fit(option[1])) for option in options]
        return min(fitted, key=lambda entry: entry[2].loss)

    def fit(self, terms: _Terms) -> _Fitted:
        """The likeliest weights."""
        start = START if terms.prior is None else np.append(START, 0.1)
        bounds = [(None, None)] * len(START) + [(0, None)] * (len(start) - len(START))
        found = minimize(self.loss, start, terms, "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 30})
        return _Fitted(found.x, float(found.fun))

    def loss(self, point: np.ndarray, terms: _Terms) -> tuple[float, np.ndarray]:
        """Cross-entropy of the targets, drawn towards ``START``, and its gradient by ``point``."""
        n = max(1, len(self.items))
        places = np.arange(len(self.items)), self.items
        sharpness, strength = np.exp(point[:2]).astype(np.float32)
        scores = sharpness * self.scores
        sums = _scaled_sums(point, terms)
        gain = strength * np.log1p(sums)
        scores += gain
        if terms.prior is not None:
            scores += np.float32(point[4]) * terms.prior
        scores[self.banned] = -1e9
        scores -= scores.max(1, keepdims=True)
        error = np.exp(scores)
        totals = error.sum(1, keepdims=True)
        loss = float((np.log(totals[:, 0]) - scores[places]).sum()) / n
        error /= totals
        error[places] -= 1
        gradient = np.zeros(len(point))
        gradient[0] = sharpness * np.vdot(error, self.scores) / n
        if terms.sums is not None:
            gradient[1] = np.vdot(error, gain) / n
            by_log = error * (strength / (1 + sums))
            gradient[2] = -np.vdot(by_log, sums) / n
            if terms.repeats is not None:
                gradient[3] = np.exp(point[3] - point[2]) * np.vdot(by_log, terms.repeats) / n
        if terms.prior is not None:
            gradient[4] = float((error @ terms.prior).sum()) / n
        away = point[: len(START)] - START
        gradient[: len(START)] += 2 * L2_PENALTY * away / n
        return loss + L2_PENALTY * float(away @ away) / n, gradient

    def ndcg(self, terms: _Terms, fitted: _Fitted, prior_strength: float) -> np.ndarray:
        """NDCG@10 of each target, float64 [n]."""
        scores = self.scores + np.float32(fitted.strength) * np.log1p(_scaled_sums(fitted.point, terms))
        if terms.prior is not None:
            scores += np.float32(prior_strength) * terms.prior
        scores[self.banned] = -np.inf
        ranks = rank_of(scores, self.items)
        return np.where(ranks <= 10, 1 / np.log2(ranks + 1.0), 0.0)


def _scaled_sums(point: np.ndarray, terms: _Terms) -> np.ndarray:
    """What the logarithm is taken of, less 1: float32 [n, N + 1], or [1, 1] of zero without transitions."""
    if terms.sums is None:
        return np.zeros((1, 1), np.float32)
    sums = terms.sums * np.float32(np.exp(-point[2]))
    return sums if terms.repeats is None else sums + terms.repeats * np.float32(np.exp(point[3] - point[2]))
