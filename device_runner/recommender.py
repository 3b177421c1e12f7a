"""Recommendations from a bundle and a history of raw item ids."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from device_runner.bundle import Bundle
from device_runner.contract import Retrieval
from device_runner.errors import BundleError
from device_runner.explain import Links, reasons
from device_runner.loaded import LoadedBundle
from device_runner.ranking import exclude as exclude_rows
from device_runner.ranking import top_rows
from device_runner.state import State
from device_runner.user_features import rows_of, user_rows
from device_runner.vocabulary import Vocabulary


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item: its raw id.
        score: higher is better; comparable within one call.
        title: ``""`` where the bundle has none.
        because: raw id of the event of the history that contributed most to it; ``None`` unless it was asked for
            (``recommend(…, explain=True)``) and there is one.
    """

    item: str
    score: float
    title: str
    because: str | None = None


# Excluded rows and the name of an output that is not wanted, or "" -> the outputs of a signature.
Run = Callable[[Sequence[int], str], dict[str, np.ndarray]]
# Rows and scores of the recommended items, [n] each -> the row of the reason for each, 0 for none.
Explain = Callable[[np.ndarray, np.ndarray], Sequence[int]]


class Recommendations(list[Recommendation]):
    """The list that ``recommend`` returns, best first.

    Attributes:
        unknown: how many events of the history are not in the catalogue and were skipped.
        source: ``"model"``, or ``"popularity"`` without any known event or user feature.
    """

    def __init__(self, items: Iterable[Recommendation], unknown: int, source: str) -> None:
        super().__init__(items)
        self.unknown = unknown
        self.source = source


class Recommender:
    """A loaded retrieval bundle. Several threads may share it; their calls to the model wait for each other.

    >>> recommender = Recommender.load("model.tflite")          # doctest: +SKIP
    >>> recommender.recommend(["1029743", "995242"], k=3)       # doctest: +SKIP
    [Recommendation(item='1106523', score=4.1, title='...', because=None), ...]

    "Rows" are row numbers of the item table: 1..N for the items by descending popularity, the values of user features
    behind them, and 0 for padding.

    Attributes:
        contract: the sizes of the model's inputs and outputs.
    """

    def __init__(self, loaded: LoadedBundle[Retrieval]) -> None:
        self.contract = loaded.contract
        self._loaded = loaded
        self._vocabulary = Vocabulary(loaded.bundle.items)

    @property
    def bundle(self) -> Bundle:
        return self._loaded.bundle

    @property
    def backend(self) -> str:
        """Name of the runtime."""
        return self._loaded.backend

    @classmethod
    def load(cls, path: str | Path, backend: str = "auto", threads: int = 1) -> "Recommender":
        """Check the bundle, load its model, and run it once to see that it fits its vocabulary.

        Args:
            path: the ``.tflite`` bundle.
            backend: ``"litert"``, ``"tflite-runtime"``, or ``"auto"`` for the first installed one that the
                bundle was verified on.
            threads: threads of the interpreter; one is fastest at usual catalogue sizes.

        Raises:
            BundleError: the file is not a retrieval bundle, is damaged, or does not fit its own vocabulary.
            BackendError: no runtime is installed, or the runtime refuses the file.
        """
        recommender = cls(LoadedBundle.load(path, Retrieval, backend, threads))
        recommender._check_inputs()
        recommender._check_outputs()
        return recommender

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        exclude: Iterable[str] | None = None,
        exclude_history: bool | None = None,
        user: Mapping[str, object] | None = None,
        explain: bool = False,
    ) -> Recommendations:
        """The ``k`` best items after ``history``.

        Args:
            history: raw item ids, oldest first. The model reads the last known ones, up to ``max_history`` together
                with the known values of ``user``; ids that are not in the catalogue are skipped and counted.
            k: how many items; the list is shorter only when fewer remain.
            exclude: raw ids never to return.
            exclude_history: never return an item of the history. By default as the model was measured: true, unless
                its data set keeps repeated interactions.
            user: values of the model's user features (``bundle.user_features``) by name, such as
                ``{"gender": "F", "age": 31}``. All are optional; unknown values are skipped.
            explain: also say which event contributed most to each item (``because``): the one with the largest
                transition to it, or else the one without which its score falls most, among the newest 20 events. This
                takes up to 21 more calls of the model.

        Returns:
            The items, best first. Without any known event or user feature, the most popular items, with score 0.

        Raises:
            TypeError: ``history`` or ``exclude`` is one string, or holds an id that is not a string.
            ValueError: ``k`` is below 1, or ``user`` names a feature that the model does not have.
        """
        rows = self._vocabulary.rows(history, "history")
        banned = set(self._vocabulary.rows(() if exclude is None else exclude, "exclude"))
        if self.bundle.exclude_history if exclude_history is None else exclude_history:
            banned.update(rows)
        unknown = len(history) - len(rows)
        given = self.input_rows(rows, user)
        run = self._after(given) if given else None
        return self._listed(run, banned, k, unknown, self._reasons_of(given) if explain else None)

    def new_state(self, user: Mapping[str, object] | None = None) -> State:
        """The state before any event, for ``advance`` and ``recommend_from_state``.

        With a stored state, a new event costs one step of the model instead of the whole history. Unlike
        ``recommend``, which reads the last ``max_history`` events, a state never forgets, so the two may differ after
        more events than that.

        Args:
            user: values of user features, as in ``recommend``.

        Raises:
            BundleError: the model is not recurrent, so it has no state.
            ValueError: ``user`` names a feature that the model does not have.
        """
        state = State(np.zeros((1, self._state_size()), np.float32), self.bundle.fingerprint)
        for row in self.input_rows((), user):
            state = self.advance_row(state, row)
        return state

    def advance(self, state: State, item: str) -> State:
        """The state after one more event: ``item`` is a raw id. An id that is not in the catalogue changes nothing.

        Raises:
            TypeError: ``item`` is not a string, or ``state`` not a ``State``.
            ValueError: the state belongs to another bundle.
        """
        self._check_state(state)
        known = self._vocabulary.rows((item,), "item")
        return self.advance_row(state, known[0]) if known else state

    def advance_row(self, state: State, row: int) -> State:
        """Like ``advance``, for the row of an item or of a user feature's value."""
        self._check_state(state)
        out = self._loaded.run("advance", state=state.values, item=np.array([row], np.int32))
        recent = state.recent
        if self.contract.recent and 0 < row <= self.contract.items:
            recent = np.append(recent, np.int32(row))[-self.contract.recent :]
        return State(out["state"], state.fingerprint, recent)

    def recommend_from_state(self, state: State, k: int = 10, exclude: Iterable[str] | None = None) -> Recommendations:
        """The ``k`` best items after a stored state; the most popular items after an empty one.

        Args:
            exclude: raw ids never to return. The state cannot name the items of the history: pass them here unless
                they may be recommended again.

        Raises:
            TypeError: ``exclude`` is one string or holds an id that is not a string, or ``state`` is not a ``State``.
            ValueError: ``k`` is below 1, or the state belongs to another bundle.
        """
        self._check_state(state)
        banned = set(self._vocabulary.rows(() if exclude is None else exclude, "exclude"))
        return self._listed(None if state.empty else self._after_state(state), banned, k, 0)

    def rows(self, items: Iterable[str]) -> list[int]:
        """Rows of the known ids, in order.

        Raises:
            TypeError: ``items`` is one string, or holds something that is not a string.
        """
        return self._vocabulary.rows(items, "items")

    def input_rows(self, history: Sequence[int], user: Mapping[str, object] | None = None) -> list[int]:
        """The rows that the model reads, at most ``max_history``: the user's known values, then the last events.

        Raises:
            ValueError: ``user`` names a feature that the model does not have.
        """
        known = user_rows(self.bundle.user_features, user or {})
        room = self.contract.max_history - len(known)
        return [*known, *history[-room:]]

    def recommend_rows(self, history: Sequence[int], exclude: Iterable[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int32 [≤ k]) and scores (float32 [≤ k]) of the best items, best first, for a history of rows (such as
        ``input_rows`` returns).

        Neither ``k`` nor ``exclude`` is limited by the sizes that were fixed at conversion: where they exceed them,
        the same order is taken from ``item_scores`` instead of the graph's own list.
        """
        return self._best(self._after(history), exclude, k)

    def item_scores(self, history: Sequence[int]) -> np.ndarray:
        """Scores of all rows before exclusion, float32 [N + 1]; row 0 is padding, its score means nothing."""
        return self._after(history)((), "")["item_scores"][0]

    def state_scores(self, state: State) -> np.ndarray:
        """Like ``item_scores``, after a stored state.

        Raises:
            ValueError: the state belongs to another bundle.
        """
        self._check_state(state)
        return self._after_state(state)((), "")["item_scores"][0]

    def inputs(self, history: Sequence[int], exclude: Sequence[int] = ()) -> dict[str, np.ndarray]:
        """Inputs of the signature ``recommend``: ``history`` int32 [1, max_history], the last rows left-padded with 0,
        and ``exclude`` int32 [1, max_exclude], of at most as many rows.
        """
        return {"history": _left_padded(history, self.contract.max_history), "exclude": self._excluded(exclude)}

    def invoke(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of the signature ``recommend`` for ready ``inputs``: ``ids``, ``scores`` and ``item_scores``."""
        return self._loaded.run("recommend", "", **inputs)

    def _best(self, run: Run, exclude: Iterable[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        contract = self.contract
        banned = sorted(row for row in set(exclude) if row <= contract.items)  # user features are never recommended
        if k <= contract.top_k and len(banned) <= contract.max_exclude:
            out = run(banned, "item_scores")
            ids, scores = out["ids"][0, :k], out["scores"][0, :k]
            kept = ids > 0
            return ids[kept], scores[kept]
        all_scores = run((), "")["item_scores"]
        exclude_rows(all_scores, [banned])
        ids = top_rows(all_scores, k)[0]
        ids = ids[ids > 0]
        return ids, all_scores[0, ids]

    def _after(self, history: Sequence[int]) -> Run:
        return lambda exclude, unwanted: self._loaded.run("recommend", unwanted, **self.inputs(history, exclude))

    def _after_state(self, state: State) -> Run:
        given = {"state": state.values}
        if self.contract.recent:
            given["recent"] = _left_padded(state.recent, self.contract.recent)
        return lambda exclude, unwanted: self._loaded.run(
            "recommend_from_state", unwanted, **given, exclude=self._excluded(exclude)
        )

    def _links(self, history: Sequence[int]) -> Links:
        """Outputs of the signature ``links`` for a history of rows."""
        return self._loaded.run("links", history=_left_padded(history, self.contract.max_history))

    def _reasons_of(self, read: Sequence[int]) -> Explain:
        links = partial(self._links, read) if self.contract.neighbours else None
        return lambda ids, scores: reasons(ids, scores, read, self.contract.items, links, self.item_scores)

    def _excluded(self, rows: Sequence[int]) -> np.ndarray:
        padded = np.zeros((1, self.contract.max_exclude), np.int32)
        padded[0, : len(rows)] = rows
        return padded

    def _listed(
        self, run: Run | None, banned: set[int], k: int, unknown: int, explain: Explain | None = None
    ) -> Recommendations:
        """The best items by ``run``, or the most popular ones, which need no explanation, if it is ``None``."""
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one item")
        if run is None:
            return Recommendations(self._popular(k, banned), unknown, "popularity")
        ids, scores = self._best(run, banned, k)
        because = explain(ids, scores) if explain else [0] * len(ids)
        found = (
            self._recommendation(int(row), float(score), why)
            for row, score, why in zip(ids, scores, because, strict=True)
        )
        return Recommendations(found, unknown, "model")

    def _state_size(self) -> int:
        if not self.contract.state:
            raise BundleError(f"{self.bundle.path}: not a recurrent model, so it has no state; use recommend()")
        return self.contract.state

    def _check_state(self, state: State) -> None:
        if not isinstance(state, State):
            raise TypeError(f"state is {type(state).__name__}, not State; begin with new_state()")
        if state.fingerprint != self.bundle.fingerprint:
            raise ValueError("the state belongs to another bundle; begin again with new_state() and the history")
        if state.values.shape[1] != self._state_size():
            raise ValueError(f"the state has {state.values.shape[1]} values, this model's has {self._state_size()}")
        if len(state.recent) > self.contract.recent:
            raise ValueError(f"the state has {len(state.recent)} recent rows, this model reads {self.contract.recent}")
        if (state.recent > self.contract.items).any():
            raise ValueError(
                f"the state has the recent row {state.recent.max()}, the items end at {self.contract.items}"
            )

    def _popular(self, k: int, banned: set[int]) -> Iterable[Recommendation]:
        rows = (row for row in range(1, len(self.bundle.items)) if row not in banned)
        return (self._recommendation(row, 0.0) for row, _ in zip(rows, range(k), strict=False))

    def _recommendation(self, row: int, score: float, because: int = 0) -> Recommendation:
        items, titles = self.bundle.items, self.bundle.titles
        return Recommendation(items[row], score, titles[row] if titles else "", items[because] if because else None)

    def _check_inputs(self) -> None:
        history, exclude = (1, self.contract.max_history), (1, self.contract.max_exclude)
        self._loaded.check_inputs("recommend", history=history, exclude=exclude)
        if self.contract.state:
            state = (1, self.contract.state)
            self._loaded.check_inputs("advance", state=state, item=(1,))
            recent = {"recent": (1, self.contract.recent)} if self.contract.recent else {}
            self._loaded.check_inputs("recommend_from_state", state=state, exclude=exclude, **recent)
        if self.contract.neighbours:
            self._loaded.check_inputs("links", history=history)

    def _check_outputs(self) -> None:
        """Run the model on its last row: a table that is shorter than the vocabulary fails here, not later."""
        contract, path = self.contract, self.bundle.path
        last = contract.items + rows_of(self.bundle.user_features)
        try:
            out = self._after([last])((), "item_scores")
            links = self._links([last]) if contract.neighbours else None
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{path}: the model fails on row {last}, its last ({error})") from None
        self._check_shapes(out, ids=(1, contract.top_k), scores=(1, contract.top_k))
        # Of a large catalogue, scores for no use would be the largest array at loading.
        self._loaded.check_output("recommend", "item_scores", (1, contract.items + 1))
        if links is not None:
            events = links["items"].shape[1] if "items" in links and links["items"].ndim == 3 else 1
            if not 0 < events <= contract.max_history:
                raise BundleError(f"{path}: links gives {events} events, the model reads up to {contract.max_history}")
            shape = (1, events, contract.neighbours)
            self._check_shapes(links, items=shape, weights=shape)

    def _check_shapes(self, outputs: Mapping[str, np.ndarray], **expected: tuple[int, ...]) -> None:
        for name, shape in expected.items():
            if name not in outputs or outputs[name].shape != shape:
                actual = outputs[name].shape if name in outputs else "absent"
                raise BundleError(f"{self.bundle.path}: output {name} is {actual}, the manifest says {shape}")


def _left_padded(rows: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    """The last ``length`` rows, int32 [1, length], left-padded with 0."""
    padded = np.zeros((1, length), np.int32)
    last = rows[-length:]
    padded[0, length - len(last) :] = last
    return padded
