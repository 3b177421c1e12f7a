"""Scores as chances."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit


def calibrated(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The scale and the shift by which scores become log-odds of the labels (Platt 1999)."""

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        odds = point[0] * scores + point[1]
        errors = expit(odds) - (labels > 0)
        return np.logaddexp(0, odds).mean() - (odds * labels).mean(), np.array(
            [(errors * scores).mean(), errors.mean()]
        )

    scale, shift = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
    return float(scale), float(shift)
