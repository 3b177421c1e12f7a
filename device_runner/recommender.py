"""Recommendations from a bundle and a history of raw item ids."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_runner.backends import Signature, choose_backend, load_signatures
from device_runner.bundle import Bundle
from device_runner.errors import BundleError
from device_runner.ranking import top_rows
from device_runner.user_features import rows_of, user_rows


@dataclass(frozen=True)
class Recommendation:
    """One recommended item: its raw id, its score (higher is better, comparable within one call) and its title
    (``""`` where the bundle has none).
    """

    item: str
    score: float
    title: str


# Excluded rows -> the outputs of a signature.
Run = Callable[[Sequence[int]], dict[str, np.ndarray]]


class Recommendations(list[Recommendation]):
    """The list that ``recommend`` returns, best first, with two facts about how it came to be.

    Attributes:
        unknown: how many events of the history are not in the catalogue and were skipped.
        source: ``"model"``, or ``"popularity"`` when nothing was left to score: no event, nothing known of the user.
    """

    def __init__(self, items: Iterable[Recommendation], unknown: int, source: str) -> None:
        super().__init__(items)
        self.unknown = unknown
        self.source = source


class Recommender:
    """A loaded bundle.

    >>> recommender = Recommender.load("model.tflite")          # doctest: +SKIP
    >>> recommender.recommend(["1029743", "995242"], k=3)       # doctest: +SKIP
    [Recommendation(item='1106523', score=4.1, title='...'), ...]
    """

    def __init__(self, bundle: Bundle, backend: str, signatures: dict[str, Signature]) -> None:
        self.bundle = bundle
        self.backend = backend
        self._signatures = signatures
        self._row_of = {item: row for row, item in enumerate(bundle.items) if row}
        self._history = np.zeros((1, bundle.contract.max_history), np.int32)
        self._exclude = np.zeros((1, bundle.contract.max_exclude), np.int32)

    @classmethod
    def load(cls, path: str | Path, backend: str = "auto", threads: int = 1) -> "Recommender":
        """Check the bundle and load its model.

        Args:
            path: the ``.tflite`` bundle.
            backend: ``"litert"``, ``"tflite-runtime"``, or ``"auto"`` for the first installed one that the
                bundle was verified on.
            threads: threads of the interpreter; one is fastest at usual catalogue sizes.

        Raises:
            BundleError: the file is no bundle, damaged, or does not fit its own vocabulary.
            BackendError: no runtime, or the runtime refuses the file.
        """
        bundle = Bundle.read(path)
        backend = choose_backend(backend, bundle.runtimes)
        signatures = load_signatures(bundle.path, backend, threads, bundle.contract.signatures)
        recommender = cls(bundle, backend, signatures)
        recommender._check_shapes()
        return recommender

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        exclude: Iterable[str] | None = None,
        exclude_history: bool | None = None,
        user: Mapping[str, object] | None = None,
    ) -> Recommendations:
        """The ``k`` best items after ``history``.

        Args:
            history: raw item ids, oldest first. The model reads the last known ones, up to ``max_history`` with the
                known values of ``user``; ids that are not in the catalogue are skipped and counted.
            k: how many; the list is shorter only when fewer items remain.
            exclude: raw ids never to return.
            exclude_history: never return an item of the history. By default as the model was measured: true, unless
                its data set keeps repeated interactions.
            user: what is known of the user, by name of the model's user features (``bundle.user_features``), such as
                ``{"gender": "F", "age": 31}``; all of it is optional, and values that are not known are skipped.

        Returns:
            The items, best first. With nothing known, neither event nor user feature, the most popular (score 0).

        Raises:
            ValueError: ``k`` is below 1, or ``user`` names a feature that the model does not have.
        """
        rows = self.rows(history)
        banned = set(self.rows(exclude or ()))
        if self.bundle.exclude_history if exclude_history is None else exclude_history:
            banned.update(rows)
        unknown = len(history) - len(rows)
        read = self.read(rows, user)
        return self._listed(self._after(read) if read else None, banned, k, unknown)

    def new_state(self, user: Mapping[str, object] | None = None) -> np.ndarray:
        """The state before any event, float32 [1, S], for ``advance`` and ``recommend_from_state``; of ``user``, as
        ``recommend`` takes it.

        A device that keeps the state pays one step a new event, not the whole history: keep the array as it is (it
        belongs to this very file: see ``bundle.fingerprint``). Unlike ``recommend`` it never forgets: after more than
        ``max_history`` events the two are different.

        Raises:
            BundleError: the model is not recurrent, and has no state.
            ValueError: ``user`` names a feature that the model does not have.
        """
        state = np.zeros(self._state_shape(), np.float32)
        for row in self.read((), user):
            state = self.advance_row(state, row)
        return state

    def advance(self, state: np.ndarray, item: str) -> np.ndarray:
        """The state after one more event (a raw item id; one that is not in the catalogue changes nothing).

        Raises:
            ValueError: the state has not the shape of this model's.
        """
        row = self._row_of.get(item)
        return state if row is None else self.advance_row(state, row)

    def advance_row(self, state: np.ndarray, row: int) -> np.ndarray:
        """As ``advance``, for an item or a user's value given as its row."""
        self._check_state(state)
        return np.array(self._signatures["advance"](state=state, item=np.array([row], np.int32))["state"])

    def recommend_from_state(
        self, state: np.ndarray, k: int = 10, exclude: Iterable[str] | None = None
    ) -> Recommendations:
        """The ``k`` best items after a kept state; ``exclude`` should hold the history's ids where it should not be
        recommended again. A new state of an unknown user gives the most popular items.

        Raises:
            ValueError: the state has not the shape of this model's.
        """
        self._check_state(state)
        return self._listed(self._after_state(state) if state.any() else None, set(self.rows(exclude or ())), k, 0)

    def rows(self, items: Iterable[str]) -> list[int]:
        """Rows of the known ids, in order."""
        return [row for item in items if (row := self._row_of.get(item)) is not None]

    def read(self, history: Sequence[int], user: Mapping[str, object] | None = None) -> list[int]:
        """Rows that the model reads: those of the user's known values, then the last events that find a place.

        Raises:
            ValueError: ``user`` names a feature that the model does not have.
        """
        known = user_rows(self.bundle.user_features, user or {})
        room = self.bundle.contract.max_history - len(known)
        return [*known, *history[-room:]]

    def recommend_rows(self, history: Sequence[int], exclude: Iterable[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int32 [≤ k]) and scores (float32 [≤ k]) of the best items, best first, for histories given as rows
        (such as ``read`` returns).

        The graph's own top-k is used where ``k`` and ``exclude`` fit it; otherwise the same order is taken from
        ``item_scores``, so neither is limited by what was fixed at conversion.
        """
        return self._best(self._after(history), exclude, k)

    def state_scores(self, state: np.ndarray) -> np.ndarray:
        """As ``item_scores``, after a kept state."""
        return _item_scores(self._after_state(state))

    def _best(self, run: Run, exclude: Iterable[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        contract = self.bundle.contract
        banned = sorted(row for row in set(exclude) if row <= contract.items)  # rows of user features never come
        if k <= contract.top_k and len(banned) <= contract.max_exclude:
            out = run(banned)
            ids, scores = out["ids"][0, :k], out["scores"][0, :k]
            kept = ids > 0
            return ids[kept], scores[kept]
        scores = _item_scores(run)
        scores[[0, *banned]] = -np.inf
        ids = top_rows(scores[None], k)[0]
        ids = ids[ids > 0]
        return ids, scores[ids]

    def item_scores(self, history: Sequence[int]) -> np.ndarray:
        """Scores of all rows before exclusion, float32 [N + 1]; row 0 is padding and means nothing."""
        return _item_scores(self._after(history))

    def inputs(self, history: Sequence[int], exclude: Sequence[int] = ()) -> dict[str, np.ndarray]:
        """The signature's inputs: the last ``max_history`` rows left-padded with 0, and the excluded rows."""
        last = history[-self._history.shape[1] :]
        self._history.fill(0)
        self._history[0, self._history.shape[1] - len(last) :] = last
        return {"history": self._history, "exclude": self._excluded(exclude)}

    def invoke(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The bare signature call, as the benchmark times it."""
        return self._signatures["recommend"](**inputs)

    def _after(self, history: Sequence[int]) -> Run:
        return lambda exclude: self.invoke(self.inputs(history, exclude))

    def _after_state(self, state: np.ndarray) -> Run:
        run = self._signatures["recommend_from_state"]
        return lambda exclude: run(state=state, exclude=self._excluded(exclude))

    def _excluded(self, rows: Sequence[int]) -> np.ndarray:
        self._exclude.fill(0)
        self._exclude[0, : len(rows)] = rows
        return self._exclude

    def _listed(self, run: Run | None, banned: set[int], k: int, unknown: int) -> Recommendations:
        """What ``run`` finds best; what is popular without one."""
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one item")
        if run is None:
            return Recommendations(self._popular(k, banned), unknown, "popularity")
        ids, scores = self._best(run, banned, k)
        found = (self._recommendation(int(row), float(score)) for row, score in zip(ids, scores, strict=True))
        return Recommendations(found, unknown, "model")

    def _state_shape(self) -> tuple[int, int]:
        if not self.bundle.contract.state:
            raise BundleError(f"{self.bundle.path}: not a recurrent model, so it has no state; use recommend()")
        return 1, self.bundle.contract.state

    def _check_state(self, state: np.ndarray) -> None:
        expected = self._state_shape()
        if state.shape != expected or state.dtype != np.float32:
            raise ValueError(f"the state is {state.dtype} {state.shape}, this model's is float32 {expected}")

    def _popular(self, k: int, banned: set[int]) -> Iterable[Recommendation]:
        rows = (row for row in range(1, len(self.bundle.items)) if row not in banned)
        return (self._recommendation(row, 0.0) for row, _ in zip(rows, range(k), strict=False))

    def _recommendation(self, row: int, score: float) -> Recommendation:
        return Recommendation(self.bundle.items[row], score, self.bundle.titles[row] if self.bundle.titles else "")

    def _check_shapes(self) -> None:
        contract = self.bundle.contract
        last = contract.items + rows_of(self.bundle.user_features)
        try:
            out = self._after([last])(())
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{self.bundle.path}: the model fails on row {last}, its last ({error})") from None
        expected = {
            "ids": (1, contract.top_k),
            "scores": (1, contract.top_k),
            "item_scores": (1, contract.items + 1),
        }
        for name, shape in expected.items():
            if name not in out or out[name].shape != shape:
                actual = out[name].shape if name in out else "absent"
                raise BundleError(f"{self.bundle.path}: output {name} is {actual}, the manifest says {shape}")


def _item_scores(run: Run) -> np.ndarray:
    return np.array(run(())["item_scores"][0], np.float32)
