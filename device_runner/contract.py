"""Contracts: the signatures of a bundle, and how agreement with its Keras model is measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from device_runner.ranking import overlaps

# What a model gives for n inputs, by name; every kind has ``scores`` float32 [n, m].
Outputs = Mapping[str, np.ndarray]


class Contract(Protocol):
    """What runtimes and targets rely on. Kinds: :class:`Retrieval`, :class:`Ranking`."""

    kind: ClassVar[str]

    @property
    def signatures(self) -> tuple[str, ...]:
        """Names of the model's signatures."""

    def to_json(self) -> dict[str, Any]:
        """The entry ``contract`` of the manifest."""

    def agreement(self, expected: Outputs, actual: Outputs) -> dict[str, float]:
        """How well a file's outputs agree with the Keras model's, by figure (NaN where outputs are not finite)."""


@dataclass(frozen=True)
class Retrieval:
    """Scores the whole catalogue: the signature ``recommend`` with the inputs ``history [1, max_history]`` and
    ``exclude [1, max_exclude]`` and the outputs ``ids`` and ``scores [1, top_k]`` and ``item_scores [1, items + 1]``.

    With a state, ``advance`` and ``recommend_from_state`` with ``state [1, state]`` as well. With transitions, a sparse
    item-to-item table, ``links`` with the input ``history``: its outputs ``items`` (int32) and ``weights`` (float32),
    both ``[1, E, neighbours]``, say for each of the newest E <= ``max_history`` positions of the history, oldest first,
    which rows it raises and by how much (before the logarithm; 0 for padding and unused entries).

    Attributes:
        state: floats of the state; 0: there is none.
        recent: how many of the newest item rows (never rows of user features) ``recommend_from_state`` reads beside the
            state, as the input ``recent`` int32 ``[1, recent]``, oldest first, left-padded with 0; 0: no such input.
        neighbours: entries of the transitions for each item; 0: there are none.
    """

    kind: ClassVar[str] = "retrieval"

    max_history: int
    max_exclude: int
    top_k: int
    items: int
    state: int = 0
    recent: int = 0
    neighbours: int = 0

    @property
    def signatures(self) -> tuple[str, ...]:
        by_state = ("advance", "recommend_from_state") if self.state else ()
        return ("recommend", *by_state, *(("links",) if self.neighbours else ()))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def agreement(self, expected: Outputs, actual: Outputs) -> dict[str, float]:
        """``overlap@10`` and ``worst_overlap@10``: mean and least share of common rows in the lists ``top`` int
        [n, 10]; ``score_error`` of ``scores`` [n, N + 1] (see :func:`score_errors`), of the worst history.
        """
        shares = overlaps(expected["top"], actual["top"])
        return {
            "overlap@10": float(shares.mean()),
            "worst_overlap@10": float(shares.min()),
            "score_error": float(score_errors(expected["scores"][:, 1:], actual["scores"][:, 1:]).max()),
        }

    @classmethod
    def from_json(cls, sizes: Mapping[str, Any]) -> "Retrieval":
        """From the manifest's entry.

        Raises:
            ValueError: a size is absent or not positive, an optional one is not a count, or there are neighbours
                without recent rows.
        """
        names = ("max_history", "max_exclude", "top_k", "items")
        if not all(_is_count(sizes.get(name)) and sizes[name] > 0 for name in names):
            raise ValueError(f"lacks the sizes of the signature ({', '.join(names)})")
        state, recent, neighbours = (sizes.get(name, 0) for name in ("state", "recent", "neighbours"))
        if not _is_count(state):
            raise ValueError(f"gives the state a size of {state!r}")
        if not _is_count(recent):
            raise ValueError(f"gives the recent rows a number of {recent!r}")
        if not _is_count(neighbours):
            raise ValueError(f"gives each item a number of neighbours of {neighbours!r}")
        if neighbours and not recent:
            raise ValueError(f"gives each item {neighbours} neighbours, but no recent rows to read them for")
        return cls(**{name: sizes[name] for name in names}, state=state, recent=recent, neighbours=neighbours)


@dataclass(frozen=True)
class Ranking:
    """Scores given candidates: the signature ``score`` with the inputs ``inputs`` (name -> dtype), each
    ``[candidates, ...]``, and the output ``scores`` float32 ``[candidates]``.
    """

    kind: ClassVar[str] = "ranking"

    candidates: int
    inputs: Mapping[str, str]

    @property
    def signatures(self) -> tuple[str, ...]:
        return ("score",)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "candidates": self.candidates, "inputs": dict(self.inputs)}

    def agreement(self, expected: Outputs, actual: Outputs) -> dict[str, float]:
        """``kendall_tau`` and ``worst_kendall_tau`` of the order of ``scores`` [n, C], mean and least; and
        ``score_error`` (see :func:`score_errors`), of the worst line.
        """
        taus = np.array([kendall_tau(*pair) for pair in zip(expected["scores"], actual["scores"], strict=True)])
        return {
            "kendall_tau": float(taus.mean()),
            "worst_kendall_tau": float(taus.min()),
            "score_error": float(score_errors(expected["scores"], actual["scores"]).max()),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Ranking":
        """From the manifest's entry.

        Raises:
            ValueError: the number of candidates or the inputs are absent or malformed.
        """
        inputs = entry.get("inputs")
        named = isinstance(inputs, dict) and all(isinstance(dtype, str) for dtype in inputs.values())
        if not _is_count(entry.get("candidates")) or entry["candidates"] < 1 or not named or not inputs:
            raise ValueError("lacks the number of candidates or the inputs of the signature score")
        return cls(entry["candidates"], inputs)


# The names of all figures of agreement.
FIGURES = frozenset({"overlap@10", "worst_overlap@10", "kendall_tau", "worst_kendall_tau", "score_error"})

KINDS: dict[str, type[Retrieval] | type[Ranking]] = {kind.kind: kind for kind in (Retrieval, Ranking)}


def contract_from_json(entry: object) -> Retrieval | Ranking:
    """The contract of a manifest. A manifest without a kind is for retrieval.

    Raises:
        ValueError: it is malformed or of an unknown kind.
    """
    if not isinstance(entry, dict):
        raise ValueError("has no contract")
    kind = entry.get("kind", Retrieval.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"is of the unknown kind {kind!r}; this version knows {', '.join(KINDS)}")
    return KINDS[kind].from_json(entry)


def score_errors(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Root mean square difference of each line of scores [n, m], in standard deviations of the line's expected scores:
    float64 [n]. 0 is exact, about 1.4 is what unrelated scores have, and NaN says that a score is not finite.
    """
    difference = np.sqrt(np.mean((actual.astype(np.float64) - expected) ** 2, axis=1))
    return difference / np.maximum(expected.astype(np.float64).std(axis=1), 1e-12)


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau of two score vectors [m]: the share of pairs in the same order, or tied in both, less that in the
    opposite order; 1.0 for fewer than two scores.
    """
    if len(first) < 2:
        return 1.0
    upper = np.triu_indices(len(first), 1)
    signs = [np.sign(scores[upper[0]] - scores[upper[1]]) for scores in (first, second)]
    return float(np.mean(np.where(signs[0] == signs[1], 1.0, signs[0] * signs[1])))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
