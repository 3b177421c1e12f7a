"""Labelled rows scored by a bundle, through the code that runs on the device."""

from collections.abc import Callable

import numpy as np

from device_runner import Ranker
from edgerec.data.labelled_rows import LabelledRows
from edgerec.rankers.inputs import ITEM, InputFeature, Inputs
from edgerec.rankers.row_inputs import RowInputs


def inputs_of(ranker: Ranker) -> Inputs:
    """What a bundle reads, as the workstation describes it."""
    found = [
        InputFeature(f.input, f.name, f.of, f.type, f.values, f.size)  # type: ignore[arg-type]
        for f in ranker.features
        if f.input != ITEM
    ]
    history = [feature for feature in found if feature.of == "history"]
    return Inputs(tuple(feature for feature in found if feature.of != "history"), tuple(history))


def score_rows(ranker: Ranker, inputs: RowInputs, rows: LabelledRows, advance: Callable[[int], None]) -> np.ndarray:
    """Scores float32 [n] of labelled rows by a bundle: each group is a request, in as many calls as it needs."""
    by_candidate = {feature.input: feature for feature in ranker.features if feature.of in ("item", "retrieval")}
    size, scores = ranker.contract.candidates, []
    for batch in inputs.batches(rows):
        for number in range(len(batch[ITEM]) // rows.group):
            for start in range(0, rows.group, size):
                part = slice(number * rows.group + start, number * rows.group + min(start + size, rows.group))
                given = {}
                for name, values in batch.items():
                    if name not in by_candidate:
                        given[name] = values[number : number + 1]
                        continue
                    given[name] = by_candidate[name].empty(size)
                    given[name][: part.stop - part.start] = values[part]
                scores.append(ranker.invoke(given)[: part.stop - part.start])
        advance(len(batch[ITEM]))
    return np.concatenate([np.zeros(0, np.float32), *scores])
