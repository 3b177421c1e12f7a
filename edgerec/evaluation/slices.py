"""Quality by slice: how well a scorer serves short and long histories, popular and rare items."""

from typing import Any

import numpy as np

from edgerec.data.dataset import Dataset, Targets
from edgerec.evaluation import bootstrap
from edgerec.evaluation.fidelity import fidelity
from edgerec.evaluation.ranking import Evaluation

# Head: the most popular items, which together have half of the training interactions; torso: the next, up to four
# fifths; tail: the rest.
HEAD, TORSO = 0.5, 0.8
# The longest history of each bucket; the last bucket, of longer ones, has no limit.
HISTORY_LENGTHS = (20, 50, 100, 200)
# With fewer hits of the reference in a slice, a relative loss is noise and is left out.
MIN_HITS = 10


def tiers(dataset: Dataset) -> np.ndarray:
    """Popularity tier of each row, int8 [N + 1]: 0 head, 1 torso, 2 tail, and 3 (cold) for row 0.

    The tier of an item depends on the share of the training interactions that more popular items have.
    """
    # Row 0 does not count: it is padding, and it stands for every cold item.
    counts = dataset.popularity * (np.arange(dataset.items + 1) > 0)
    before = (np.cumsum(counts) - counts) / max(1, counts.sum())
    tier = np.searchsorted([HEAD, TORSO], before, side="right").astype(np.int8)
    tier[0] = 3
    return tier


def members(targets: Targets, dataset: Dataset) -> dict[str, dict[str, np.ndarray]]:
    """Which users are in each slice, bool [n], by kind and name of the slice.

    Kinds are ``popularity`` (the tier of the user's target; of a basket, of its first item) and ``history`` (the
    length of the user's history). Every user is in exactly one slice of each kind. Empty slices are left out.
    """
    tier = tiers(dataset)[targets.items]
    lengths = np.array([len(history) for history in targets.histories], np.int64)
    bucket = np.searchsorted(HISTORY_LENGTHS, lengths)
    names = [*(f"<={length}" for length in HISTORY_LENGTHS), f">{HISTORY_LENGTHS[-1]}"]
    kinds = {"popularity": (tier, ["head", "torso", "tail", "cold"]), "history": (bucket, names)}
    return {
        kind: {name: of == number for number, name in enumerate(labels) if (of == number).any()}
        for kind, (of, labels) in kinds.items()
    }


def by_slice(
    evaluation: Evaluation, targets: Targets, dataset: Dataset, reference: Evaluation | None = None
) -> dict[str, list[dict[str, Any]]]:
    """NDCG@10 and HR@10 of each slice with 95 % bootstrap intervals, ready for JSON.

    The interval of a slice without a hit is (0, 0), and that of a slice of a single user is (0, 1), which tells
    nothing.

    Args:
        reference: if given, each slice also gets ``overlap@10`` and ``rbo@10`` of the lists with its lists, and
            ``ndcg_drop`` and ``ndcg_drop_ci``, the relative loss of NDCG@10 against it, user by user; the loss is
            ``None`` where the reference has hits for fewer than ``MIN_HITS`` users.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, slices in members(targets, dataset).items():
        found[kind] = []
        for name, inside in slices.items():
            part = evaluation.subset(inside)
            figures = np.stack([part.ndcg(10), part.hits(10)])
            low, high = bootstrap.interval((figures,), np.mean) if figures.shape[1] > 1 else (np.zeros(2), np.ones(2))
            row: dict[str, Any] = {"name": name, "targets": int(inside.sum())}
            for place, figure in enumerate(("ndcg@10", "hr@10")):
                row[figure] = float(figures[place].mean())
                row[f"{figure}_ci"] = [float(low[place]), float(high[place])]
            if reference is not None:
                row |= _against(reference.subset(inside), part)
            found[kind].append(row)
    return found


def _against(reference: Evaluation, part: Evaluation) -> dict[str, Any]:
    found = fidelity(reference, part)
    if reference.hits(10).sum() < MIN_HITS:
        found |= {"ndcg_drop": None, "ndcg_drop_ci": None}
    return found
