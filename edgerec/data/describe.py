"""What is in a Dataset, for people and programs."""

import math
from typing import Any

import numpy as np

from edgerec.data.dataset import TEST, TRAIN, VALIDATION, Dataset

QUANTILES = (0, 0.25, 0.5, 0.75, 0.9, 0.99, 1)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts, the funnel from rows read to events kept, density, history lengths, popularity skew, time range, ties and
    features, ready for JSON.
    """
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


def describe_lines(description: dict[str, Any]) -> list[str]:
    """A description as lines for people: a name and its value in each, numbers in plain decimals."""
    lines = [f"{name:<20}{_shown(value)}" for name, value in description.items() if name not in ("features", "source")]
    for source in description.get("source", []):
        place = ", ".join(f"{key} {value}" for key, value in source.items() if key != "table" and value is not None)
        lines.append(f"{source['table'] + ' from':<20}{place}")
    for of, features in description["features"].items():
        lines += [f"{of}: {name:<20}{_shown(facts)}" for name, facts in features.items()]
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        parts = (f"{key} ({_shown(v)})" if isinstance(v, dict) else f"{key} {_shown(v)}" for key, v in value.items())
        return ", ".join(parts) or "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return _plain(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(number: float) -> str:
    """A number with two decimals, or three significant digits if that is more, never with an exponent."""
    decimals = max(2, 2 - math.floor(math.log10(abs(number)))) if number and math.isfinite(number) else 0
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
