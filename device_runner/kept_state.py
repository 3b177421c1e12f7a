"""The state of a recurrent model, kept in the history store: a new event costs one step of the model.

A kept state has read the newest events of the store, one after another, from some event on. It belongs to one model (by
fingerprint and vocabulary), to one set of user features and to one choice of event types. It is computed anew from the
last ``max_history`` events, which are those that ``recommend`` reads, so that both then give the same list,

- when the store has no state of this kind, as after a model update;
- when an event that it has read was removed, or has left the store by its limits;
- when an event was put before one that it has read;
- when it has read more than four times ``max_history`` events, so that it stays near what the model was measured on.

In between, it also remembers events that ``recommend`` no longer reads.
"""

import json
from collections.abc import Iterable, Mapping

from device_runner.history_store import History, KeptState, Position, Snapshot
from device_runner.recommendations import Recommendations
from device_runner.recommender import Recommender
from device_runner.state import State
from device_runner.user_features import user_rows

# A state that has read more than so many times ``max_history`` events is computed anew.
LONGEST = 4


def kept_state(
    history: History,
    recommender: Recommender,
    user: Mapping[str, object] | None = None,
    types: Iterable[str] | None = None,
) -> State:
    """The model's state after the events of the store, which is kept there.

    Args:
        user: values of user features, as in ``Recommender.recommend``.
        types: only events of these types.

    Raises:
        BundleError: the model is not recurrent.
        HistoryError: the store cannot be read or written.
        ValueError: ``user`` names a feature that the model does not have.
    """
    wanted = None if types is None else sorted(set(types))
    key = _key(recommender, user, wanted)
    snapshot = history.snapshot(key, wanted)
    found = _continued(snapshot, recommender)
    if found is None:
        if snapshot.state is not None:  # it cannot be used, so all events are needed
            snapshot = history.snapshot(None, wanted)
        found = _begun(snapshot, key, recommender, user)
    state, kept = found
    if kept is not None and kept != snapshot.state:
        history.keep(kept, snapshot.edits)
    return state


def recommend_stored(
    recommender: Recommender,
    history: History,
    k: int = 10,
    exclude: Iterable[str] | None = None,
    exclude_history: bool | None = None,
    user: Mapping[str, object] | None = None,
    types: Iterable[str] | None = None,
    allow: Iterable[str] | None = None,
    at_most: Mapping[str, int] | None = None,
) -> Recommendations:
    """The ``k`` best items after the events of the store: for a recurrent model by the kept state, for any other like
    ``recommender.recommend(history.items())``. The arguments are those of ``Recommender.recommend``.

    Raises:
        HistoryError: the store cannot be read or written.
        TypeError, ValueError: see ``Recommender.recommend``.
    """
    wanted = None if types is None else sorted(set(types))
    if not recommender.contract.state:
        items = history.items(types=wanted)
        return recommender.recommend(items, k, exclude, exclude_history, user, allow=allow, at_most=at_most)
    state = kept_state(history, recommender, user, wanted)
    items = history.items(types=wanted)  # after the state: an event that is added meanwhile is excluded all the same
    banned = recommender.bundle.exclude_history if exclude_history is None else exclude_history
    if isinstance(exclude, str | bytes):
        raise TypeError(f"exclude is one string, {exclude!r}; pass a list of item ids")
    excluded = [*(exclude or ()), *(items if banned else ())]
    found = recommender.recommend_from_state(state, k, excluded, allow, at_most)
    found.unknown = len(items) - len(recommender.rows(items))
    return found


def _key(recommender: Recommender, user: Mapping[str, object] | None, types: list[str] | None) -> str:
    """What a state depends on besides the events. Item ids are part of it: the rows of a model may be renamed."""
    bundle = recommender.bundle
    vocabulary = [bundle.manifest["members"].get(name) for name in ("items.txt", "items.bin")]
    return json.dumps([bundle.fingerprint, vocabulary, user_rows(bundle.user_features, user or {}), types])


def _continued(snapshot: Snapshot, recommender: Recommender) -> tuple[State, KeptState | None] | None:
    """The kept state after the events that it has not read; ``None`` if there is none, or it must be computed anew."""
    kept = snapshot.state
    if kept is None:
        return None
    rows = recommender.rows([item for _, item in snapshot.events])
    if kept.covered + len(rows) > LONGEST * recommender.contract.max_history:
        return None
    try:
        state = State.from_bytes(kept.content)
        for row in rows:
            state = recommender.advance_row(state, row)
    except ValueError:  # damaged content
        return None
    last = snapshot.events[-1][0] if snapshot.events else kept.last
    return state, KeptState(kept.key, state.to_bytes(), kept.covered + len(rows), kept.first, last)


def _begun(
    snapshot: Snapshot, key: str, recommender: Recommender, user: Mapping[str, object] | None
) -> tuple[State, KeptState | None]:
    """A state computed from the last events that ``recommend`` would read."""
    state = recommender.new_state(user)
    room = recommender.contract.max_history - len(user_rows(recommender.bundle.user_features, user or {}))
    read: list[tuple[Position, int]] = []
    for position, item in reversed(snapshot.events):
        if len(read) == room:
            break
        read += [(position, row) for row in recommender.rows([item])]
    for _, row in reversed(read):
        state = recommender.advance_row(state, row)
    if not read:
        return state, None
    return state, KeptState(key, state.to_bytes(), len(read), read[-1][0], snapshot.events[-1][0])
