"""Quality by slice: for whom, and for which items, a scorer is good."""

from typing import Any

import numpy as np

from edgerec.data.dataset import Dataset, Targets
from edgerec.evaluation import bootstrap
from edgerec.evaluation.ranking import Evaluation, drop_figures

# Head: the most popular items, which together hold half of the training interactions; torso: the next, up to four
# fifths; tail: the others.
HEAD, TORSO = 0.5, 0.8
# Longest history of each bucket but the last.
HISTORY_LENGTHS = (20, 50, 100, 200)
# A relative loss is of nothing where the reference hits hardly any target.
MIN_HITS = 10


def tiers(dataset: Dataset) -> np.ndarray:
    """Popularity tier of each row, int8 [N + 1]: 0 head, 1 torso, 2 tail, and 3 (cold) for row 0.

    An item's tier is decided by the share of the training interactions that go to more popular ones.
    """
    # Row 0 counts for nothing: it is padding, and what stands for every cold item.
    counts = dataset.popularity * (np.arange(dataset.items + 1) > 0)
    before = (np.cumsum(counts) - counts) / max(1, counts.sum())
    tier = np.searchsorted([HEAD, TORSO], before, side="right").astype(np.int8)
    tier[0] = 3
    return tier


def members(targets: Targets, dataset: Dataset) -> dict[str, dict[str, np.ndarray]]:
    """Which targets are in each slice, bool [n], by kind (``popularity`` of the target, ``history`` length) and name.

    Each target is in one slice of a kind. Slices without targets are left out.
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

    With a ``reference``, also the paired relative loss of NDCG@10 against it, ``None`` where the reference hits
    fewer than ``MIN_HITS`` targets in its top-10. An interval is drawn over the slice's targets: a slice that was
    never hit has the interval (0, 0), and one of a single target (0, 1), which says nothing.
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
                row |= _loss(reference.subset(inside), part)
            found[kind].append(row)
    return found


def _loss(reference: Evaluation, part: Evaluation) -> dict[str, Any]:
    if reference.hits(10).sum() < MIN_HITS:
        return {"ndcg_drop": None, "ndcg_drop_ci": None}
    return drop_figures(reference, part)
