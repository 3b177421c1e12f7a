"""What is in a Dataset, for people and programs."""

from typing import Any

import numpy as np

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, Dataset

QUANTILES = (0, 0.25, 0.5, 0.75, 0.9, 0.99, 1)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts, density, history lengths, popularity skew, time range, ties and features, ready for JSON."""
    lengths = np.diff(dataset.offsets)
    times = dataset.times
    popularity = np.sort(dataset.popularity[1:])[::-1]
    share = popularity / popularity.sum()
    gini = float(1 - 2 * (np.cumsum(share[::-1]).sum() - 0.5) / len(share))
    return {
        **dataset.info,
        "density": len(dataset.events) / (dataset.users * dataset.items),
        "history_length": {f"p{round(100 * q)}": float(np.quantile(lengths, q)) for q in QUANTILES},
        "popularity": {
            "top_1_percent_share": float(share[: max(1, len(share) // 100)].sum()),
            "top_10_percent_share": float(share[: max(1, len(share) // 10)].sum()),
            "gini": gini,
        },
        "parts": {
            name: int((dataset.parts == part).sum())
            for name, part in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
        },
        "targets": {part: len(dataset.targets(part)) for part in ("validation", "test")},
        "time_range": _time_range(times, dataset.info["time_unit"]),
        "ties": _ties(times, dataset.offsets),
        "features": {
            of: {
                feature.name: {
                    "kind": feature.kind,
                    "missing": feature.missing,
                    **(
                        {"mean": feature.mean, "std": feature.std}
                        if feature.kind == "numeric"
                        else {"values": len(feature.vocabulary), "most_common": feature.vocabulary[:5]}
                    ),
                }
                for feature in dataset.features(of)
            }
            for of in ("items", "users")
        },
    }


def _time_range(times: np.ndarray, unit: str | None) -> list[Any] | None:
    if not len(times) or np.issubdtype(times.dtype, np.floating):  # all NULL: no time column
        return None
    first, last = int(times.min()), int(times.max())
    return [str(np.datetime64(t, unit)) for t in (first, last)] if unit else [first, last]


def _ties(times: np.ndarray, offsets: np.ndarray) -> float:
    """Share of events with the same user and time as the event before them: their order is the file's."""
    same = times[1:] == times[:-1]
    inside = np.ones(len(same), bool)
    inside[offsets[1:-1] - 1] = False
    return float((same & inside).sum() / max(1, len(times)))
