"""Recommendations from a bundle and a history of raw item ids."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from device_runner.bundle import Bundle
from device_runner.contract import Retrieval
from device_runner.errors import BundleError
from device_runner.explain import Links, reasons
from device_runner.loaded import LoadedBundle, ServedModel
from device_runner.recommendations import Recommendation, Recommendations
from device_runner.selection import NO_ROWS, Selection, caps_of
from device_runner.state import State
from device_runner.typical import typical_scores
from device_runner.user_features import rows_of, user_rows
from device_runner.vocabulary import Vocabulary, listed

# Excluded rows int32 [n] and the name of an output that is not wanted, or "" -> the outputs of a signature.
Run = Callable[[np.ndarray, str], dict[str, np.ndarray]]
# Rows and scores of the recommended items, [n] each -> the row of the reason for each, 0 for none.
Explain = Callable[[np.ndarray, np.ndarray], Sequence[int]]


class Recommender(ServedModel[Retrieval]):
    """A loaded retrieval bundle. Several threads may share it; their calls to the model wait for each other. A process
    that was forked from this one may go on using it.

    >>> recommender = Recommender.load("model.tflite")          # doctest: +SKIP
    >>> recommender.recommend(["1029743", "995242"], k=3)       # doctest: +SKIP
    [Recommendation(item='1106523', score=4.1, title='...', because=None), ...]

    ``with Recommender.load(…) as recommender:`` gives the runtime's memory back at the end, as ``close()`` does.

    "Rows" are row numbers of the item table: 1..N for the items by descending popularity, the values of user features
    behind them, and 0 for padding.

    Attributes:
        contract: the sizes of the model's inputs and outputs.
    """

    def __init__(self, loaded: LoadedBundle[Retrieval]) -> None:
        super().__init__(loaded)
        self._vocabulary = Vocabulary(loaded.bundle.items)
        self._typical: np.ndarray | None = None
        # Read in every call.
        self._exclude_history = self.bundle.exclude_history

    @classmethod
    def load(cls, source: str | Path | bytes | Bundle, backend: str = "auto", threads: int = 1) -> "Recommender":
        """Check the bundle, load its model, and run it once to see that it fits its vocabulary.

        Args:
            source: the ``.tflite`` bundle, its content, or a ``Bundle`` that was read from it.
            backend: ``"litert"``, ``"tflite-runtime"``, or ``"auto"`` for the first installed one that the
                bundle was verified on.
            threads: threads of the interpreter; one is fastest at usual catalogue sizes.

        Raises:
            BundleError: the file is not a retrieval bundle, is damaged, or does not fit its own vocabulary.
            BackendError: no runtime is installed, or the runtime refuses the file.
        """
        recommender = cls(LoadedBundle.load(source, Retrieval, backend, threads))
        recommender._check_inputs()
        recommender._check_outputs()
        return recommender

    def recommend(
        self,
        history: Iterable[str],
        k: int = 10,
        exclude: Iterable[str] | None = None,
        exclude_history: bool | None = None,
        user: Mapping[str, object] | None = None,
        explain: bool = False,
        allow: Iterable[str] | None = None,
        at_most: Mapping[str, int] | None = None,
    ) -> Recommendations:
        """The ``k`` best items after ``history``.

        Args:
            history: raw item ids, oldest first. The model reads the last known ones, up to ``max_history`` together
                with the known values of ``user``; ids that are not in the catalogue are skipped and counted.
            k: how many items; the list is shorter only when fewer remain.
            exclude: raw ids never to return, as many as you like.
            exclude_history: never return an item of the history. By default as the model was measured: true, unless
                its data set keeps repeated interactions.
            user: values of the model's user features (``bundle.user_features``) by name, such as
                ``{"gender": "F", "age": 31}``. All are optional; unknown values are skipped.
            explain: also say which event contributed most to each item (``because``): the one with the largest
                transition to it, or else the one without which its score falls most, among the newest 20 events. This
                takes up to 21 more calls of the model.
            allow: the only raw ids to return, as many as you like; ids that are not in the catalogue are ignored.
                ``exclude`` and ``exclude_history`` apply to them too.
            at_most: how many items of the list may share a value of an attribute of the items
                (``bundle.attributes``), such as ``{"category": 3}``. Items that would exceed it are left out and the
                list goes on with the next best ones of the whole catalogue. An item with several values counts for each
                of them; one whose value is unknown is not limited.

        Returns:
            The items, best first. Without any known event or user feature, the most popular items, with score 0.

        Raises:
            TypeError: ``history``, ``exclude`` or ``allow`` is one string, or holds an id that is not a string.
            ValueError: ``k`` is below 1, ``user`` names a feature that the model does not have, or ``at_most`` an
                attribute that the items do not have.
            RuntimeError: the recommender was closed.
        """
        history = history if isinstance(history, Sized) else listed(history)
        rows = self._vocabulary.array(history, "history")
        seen = self._exclude_history if exclude_history is None else exclude_history
        selection = self._selection(exclude, allow, at_most, rows if seen else NO_ROWS)
        unknown = len(history) - len(rows)
        known = self._user_rows(user)
        run = self._after(self._history(rows, known)) if known or len(rows) else None
        return self._listed(run, selection, k, unknown, self._reasons_of(rows, known) if explain else None)

    def score(
        self, history: Iterable[str], candidates: Iterable[str], user: Mapping[str, object] | None = None
    ) -> list[float]:
        """The scores of given items after ``history``, in their order, as ``recommend`` would give them.

        Args:
            history, user: as in ``recommend``.
            candidates: raw item ids, as many as you like; one may be there more than once.

        Returns:
            A score for each candidate, NaN for one that is not in the catalogue. Without any known event or user
            feature, 0 for each known candidate.

        Raises:
            TypeError: ``history`` or ``candidates`` is one string, or holds an id that is not a string.
            ValueError: ``user`` names a feature that the model does not have.
            RuntimeError: the recommender was closed.
        """
        rows, known = self._vocabulary.array(history, "history"), self._user_rows(user)
        wanted = np.array(self._vocabulary.rows_or_none(candidates, "candidates"), np.int32)
        scores = np.zeros(len(self.bundle.items), np.float32)
        if known or len(rows):
            scores = self._after(self._history(rows, known))(NO_ROWS, "")["item_scores"][0]
        found: list[float] = np.where(wanted > 0, scores[wanted], np.nan).tolist()
        return found

    def similar(
        self,
        item: str,
        k: int = 10,
        exclude: Iterable[str] | None = None,
        allow: Iterable[str] | None = None,
        at_most: Mapping[str, int] | None = None,
    ) -> Recommendations:
        """The ``k`` items nearest to ``item`` in the eyes of the model: those that it expects after a history of this
        item alone so much more than after an average item. ``item`` itself is left out.

        The score is that of ``recommend([item])`` less the mean score after each of 64 items that are spread over the
        catalogue; without that, what is popular would be similar to everything. So the network, the transitions and the
        prior all have their say, which they would not if rows of the item table were compared, and no quantized table
        has to be read. It is what a shop shows as "goes with this": items that are used together, not substitutes.

        The first call runs the model 65 times, later ones once.

        Args:
            item: a raw id.
            k, exclude, allow, at_most: as in ``recommend``.

        Raises:
            TypeError: an id is not a string.
            ValueError: ``item`` is not in the catalogue; and as in ``recommend``.
            RuntimeError: the recommender was closed.
        """
        rows = self._vocabulary.array((item,), "item")
        if not len(rows):
            raise ValueError(f"{item!r} is not in the catalogue, so the model knows nothing like it")
        selection = self._selection(exclude, allow, at_most, rows)
        _check_k(k)
        if self._typical is None:
            self._typical = typical_scores(self.item_scores, self.contract.items)
        scores = self.item_scores(rows.tolist()) - self._typical
        ids = selection.best(scores, k)
        return Recommendations(self._entries(ids.tolist(), scores[ids].tolist()), 0, "model")

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
        try:
            return State(out["state"], state.fingerprint, recent)
        except ValueError as error:
            raise BundleError(f"{self.bundle.path}: the model fails on row {row} ({error})") from None

    def recommend_from_state(
        self,
        state: State,
        k: int = 10,
        exclude: Iterable[str] | None = None,
        allow: Iterable[str] | None = None,
        at_most: Mapping[str, int] | None = None,
    ) -> Recommendations:
        """The ``k`` best items after a stored state; the most popular items after an empty one.

        Args:
            exclude: raw ids never to return. The state cannot name the items of the history: pass them here unless
                they may be recommended again.
            allow, at_most: as in ``recommend``.

        Raises:
            TypeError: ``exclude`` or ``allow`` is one string or holds an id that is not a string, or ``state`` is not a
                ``State``.
            ValueError: ``k`` is below 1, the state belongs to another bundle, or ``at_most`` names an attribute that
                the items do not have.
            RuntimeError: the recommender was closed.
        """
        self._check_state(state)
        selection = self._selection(exclude, allow, at_most, NO_ROWS)
        return self._listed(None if state.empty else self._after_state(state), selection, k, 0)

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
        known = self._user_rows(user)
        room = self.contract.max_history - len(known)
        return [*known, *history[-room:]]

    def recommend_rows(self, history: Sequence[int], exclude: Iterable[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int32 [≤ k]) and scores (float32 [≤ k]) of the best items, best first, for a history of rows (such as
        ``input_rows`` returns).

        Neither ``k`` nor ``exclude`` is limited by the sizes that were fixed at conversion: where they exceed them,
        the same order is taken from ``item_scores`` instead of the graph's own list.
        """
        banned = [row for row in set(exclude) if row <= self.contract.items]  # user features are never recommended
        selection = Selection(np.array(banned, np.int32))
        ids, scores = self._best(self._after(_left_padded(history, self.contract.max_history)), selection, k)
        return np.array(ids, np.int32), np.array(scores, np.float32)

    def item_scores(self, history: Sequence[int]) -> np.ndarray:
        """Scores of all rows before exclusion, float32 [N + 1]; row 0 is padding, its score means nothing."""
        return self._after(_left_padded(history, self.contract.max_history))(NO_ROWS, "")["item_scores"][0]

    def state_scores(self, state: State) -> np.ndarray:
        """Like ``item_scores``, after a stored state.

        Raises:
            ValueError: the state belongs to another bundle.
        """
        self._check_state(state)
        return self._after_state(state)(NO_ROWS, "")["item_scores"][0]

    def inputs(self, history: Sequence[int], exclude: Sequence[int] = ()) -> dict[str, np.ndarray]:
        """Inputs of the signature ``recommend``: ``history`` int32 [1, max_history], the last rows left-padded with 0,
        and ``exclude`` int32 [1, max_exclude], of at most as many rows.
        """
        return {"history": _left_padded(history, self.contract.max_history), "exclude": self._excluded(exclude)}

    def invoke(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of the signature ``recommend`` for ready ``inputs``: ``ids``, ``scores`` and ``item_scores``."""
        return self._loaded.run("recommend", "", **inputs)

    def _selection(
        self,
        exclude: Iterable[str] | None,
        allow: Iterable[str] | None,
        at_most: Mapping[str, int] | None,
        seen: np.ndarray,
    ) -> Selection:
        """What the caller's rules permit, without the rows ``seen`` either."""
        banned = seen
        if exclude is not None:
            own = self._vocabulary.array(exclude, "exclude")
            banned = np.concatenate([seen, own]) if len(seen) else own
        if len(banned) > self.contract.max_exclude:
            banned = np.unique(banned)
        allowed = None if allow is None else self._vocabulary.array(allow, "allow")
        return Selection(banned, allowed, caps_of(at_most, self.bundle.attributes) if at_most is not None else ())

    def _best(self, run: Run, selection: Selection, k: int) -> tuple[list[int], list[float]]:
        """Rows and scores of the best items of a selection, at most ``k``."""
        contract = self.contract
        if selection.allowed is None and k <= contract.top_k and len(selection.banned) <= contract.max_exclude:
            out = run(selection.banned, "item_scores")
            listed = contract.top_k if selection.caps else k
            ids, scores = out["ids"][0, :listed].tolist(), out["scores"][0, :listed].tolist()
            if not 0 < min(ids) <= max(ids) <= contract.items:
                ids = self._remaining(ids)
            if not selection.caps:
                return ids, scores[: len(ids)]
            places = selection.within_caps(ids, k)
            if len(places) == k or len(ids) < contract.top_k:
                return [ids[place] for place in places], [scores[place] for place in places]
        all_scores = run(NO_ROWS, "")["item_scores"][0]
        best = selection.best(all_scores, k)
        return best.tolist(), all_scores[best].tolist()

    def _remaining(self, ids: list[int]) -> list[int]:
        """The rows of a list that ends with zeros, as fewer items remain.

        Raises:
            BundleError: it has other rows than those of items.
        """
        rows = ids[: ids.index(0)] if 0 in ids else ids
        if any(ids[len(rows) :]) or any(not 0 < row <= self.contract.items for row in rows):
            raise BundleError(f"{self.bundle.path}: the model gives rows that no item has; convert it again")
        return rows

    def _user_rows(self, user: Mapping[str, object] | None) -> list[int]:
        return [] if user is None else user_rows(self.bundle.user_features, user)

    def _history(self, rows: np.ndarray, known: Sequence[int]) -> np.ndarray:
        """The input ``history`` for the rows of a history int32 [n] and of what is known of the user."""
        length = self.contract.max_history
        if not known:
            return _left_padded(rows, length)
        return _left_padded([*known, *rows[-(length - len(known)) :].tolist()], length)

    def _after(self, history: np.ndarray) -> Run:
        """The model after a ready input ``history``."""
        return lambda exclude, unwanted: self._loaded.run(
            "recommend", unwanted, history=history, exclude=self._excluded(exclude)
        )

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

    def _reasons_of(self, rows: np.ndarray, known: Sequence[int]) -> Explain:
        read = [*known, *rows[-(self.contract.max_history - len(known)) :].tolist()]
        links = partial(self._links, read) if self.contract.neighbours else None
        return lambda ids, scores: reasons(ids, scores, read, self.contract.items, links, self.item_scores)

    def _excluded(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        padded = np.zeros((1, self.contract.max_exclude), np.int32)
        padded[0, : len(rows)] = rows
        return padded

    def _listed(
        self, run: Run | None, selection: Selection, k: int, unknown: int, explain: Explain | None = None
    ) -> Recommendations:
        """The best items by ``run``, or the most popular ones, which need no explanation, if it is ``None``."""
        _check_k(k)
        items, titles = self.bundle.items, self.bundle.titles
        if run is None:
            rows = self._popular(selection, k)
            popular = (Recommendation(items[row], 0.0, titles[row] if titles else "") for row in rows)
            return Recommendations(popular, unknown, "popularity")
        ids, scores = self._best(run, selection, k)
        found = self._entries(ids, scores)
        if explain:
            because = [items[row] if row else None for row in explain(np.array(ids), np.array(scores))]
            found = [replace(entry, because=why) for entry, why in zip(found, because, strict=True)]
        return Recommendations(found, unknown, "model")

    def _entries(self, ids: Sequence[int], scores: Sequence[float]) -> list[Recommendation]:
        items, titles = self.bundle.items, self.bundle.titles
        if not titles:
            return [Recommendation(items[row], score, "") for row, score in zip(ids, scores, strict=True)]
        return [Recommendation(items[row], score, titles[row]) for row, score in zip(ids, scores, strict=True)]

    def _popular(self, selection: Selection, k: int) -> list[int]:
        """Rows of the most popular items of a selection, which are the lowest."""
        banned = set(selection.banned.tolist())
        rows = range(1, len(self.bundle.items)) if selection.allowed is None else np.unique(selection.allowed).tolist()
        permitted = list(islice((row for row in rows if row not in banned), None if selection.caps else k))
        return [permitted[place] for place in selection.within_caps(permitted, k)]

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
            out = self._after(_left_padded([last], contract.max_history))(NO_ROWS, "item_scores")
            links = self._links([last]) if contract.neighbours else None
        except (RuntimeError, ValueError, BundleError) as error:
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


def _check_k(k: int) -> None:
    if not isinstance(k, int | np.integer) or isinstance(k, bool):
        raise TypeError(f"k is {k!r}, not a whole number")
    if k < 1:
        raise ValueError(f"k is {k}; ask for at least one item")


def _left_padded(rows: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    """The last ``length`` rows, int32 [1, length], left-padded with 0."""
    padded = np.zeros((1, length), np.int32)
    last = rows[-length:]
    padded[0, length - len(last) :] = last
    return padded
