"""Golden vectors of a ranking bundle: raw values with the scores that the file gave at conversion, tried here."""

import numpy as np

from device_runner.errors import BundleError
from device_runner.ranker import Ranker

# How far scores may be off, relative to the largest, where a case does not say it.
TOLERANCE = 0.02


def check_ranking_golden(ranker: Ranker) -> int:
    """Compare what the model scores on this device with the bundle's golden vectors.

    Returns:
        How many were compared; 0 when the bundle has none.

    Raises:
        BundleError: a score is not as expected, or a case is malformed.
    """
    bundle = ranker.bundle
    cases = bundle.golden()
    for place, case in enumerate(cases, 1):
        said = f"{bundle.path}: golden vector {place} of {len(cases)}"
        try:
            expected = np.array(case["scores"], np.float64)
            found = np.array(
                ranker.score(
                    case["user"], case["candidates"], case["context"], case["history"], case.get("history_values")
                )
            )
            tolerance = float(case.get("tolerance", TOLERANCE)) * float(np.abs(expected).max(initial=1e-6))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"{said} is malformed ({error})") from None
        worst = np.abs(found - expected).max(initial=0.0) if found.shape == expected.shape else np.inf
        if not worst <= tolerance:
            raise BundleError(
                f"{said} gives scores that are off by {worst:.3g} on {ranker.backend}, more than {tolerance:.3g}; "
                "do not use this file on this device with this runtime"
            )
    return len(cases)
