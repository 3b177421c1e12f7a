"""Reasons: which event of the history contributed most to a recommended item."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# The newest events that are left out in turn; each costs one call of the model.
LEFT_OUT = 20

# What the signature ``links`` gives: ``items`` int32 [1, E, k] and ``weights`` float32 [1, E, k].
Links = Mapping[str, np.ndarray]
# Rows that the model reads -> scores of all rows, float32 [N + 1].
ItemScores = Callable[[Sequence[int]], np.ndarray]


def reasons(
    ids: np.ndarray,
    scores: np.ndarray,
    read: Sequence[int],
    items: int,
    links: Callable[[], Links] | None,
    item_scores: ItemScores,
) -> list[int]:
    """For each recommended item, the row of the event that contributed most to it, or 0 where there is none.

    That is the event whose transition to the item weighs most. For items without a transition from the newest events,
    and for models without transitions, it is the event without which the item's score is lowest, if that is lower than
    with it. Of equal events the newest counts. There are at most 1 + ``LEFT_OUT`` calls, whatever the number of items.

    Args:
        ids: int32 [n], rows of the recommended items.
        scores: float32 [n], their scores.
        read: the rows that the model read, oldest first: at most ``max_history``, without padding.
        items: the number of items N; rows above it are user features, which are no events.
        links: calls the signature ``links`` for ``read``; ``None`` for a model without transitions.
        item_scores: scores all rows for other rows to read.
    """
    if not len(ids) or all(row > items for row in read):
        return [0] * len(ids)
    found = np.zeros(len(ids), np.int64) if links is None else linked(ids, read, items, links())
    without = np.flatnonzero(found == 0)
    if len(without):
        found[without] = left_out(ids[without], scores[without], read, items, item_scores)
    return found.tolist()


def linked(ids: np.ndarray, read: Sequence[int], items: int, links: Links) -> np.ndarray:
    """The row of the event with the largest transition to each item: int64 [n], 0 where there is none."""
    targets, weights = links["items"][0], links["weights"][0]
    window = list(read)[-len(targets) :]
    # The history is left-padded, so that the newest event stands at the last position.
    events = np.array([0] * (len(targets) - len(window)) + window)
    is_event = (events > 0) & (events <= items)
    found = np.zeros(len(ids), np.int64)
    for place, row in enumerate(ids):
        largest = np.where((targets == row) & is_event[:, None], weights, 0).max(axis=1)
        newest = len(largest) - 1 - int(largest[::-1].argmax())
        if largest[newest] > 0:
            found[place] = events[newest]
    return found


def left_out(
    ids: np.ndarray, scores: np.ndarray, read: Sequence[int], items: int, item_scores: ItemScores
) -> np.ndarray:
    """The row of the event without which the score of each item falls most: int64 [n], 0 where none lowers it."""
    places = [place for place, row in enumerate(read) if row <= items][-LEFT_OUT:]
    found, most = np.zeros(len(ids), np.int64), np.zeros(len(ids))
    for place in reversed(places):
        fall = scores - item_scores([*read[:place], *read[place + 1 :]])[ids]
        larger = fall > most
        found[larger], most[larger] = read[place], fall[larger]
    return found
