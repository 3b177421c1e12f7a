"""Symmetric integer grids: the codes and scales that stand for float weights with the least squared error."""

import numpy as np

# Scales that clip the largest values to this share of them. With few levels that pays: of 64 normal values, 4 bits lose
# 13 % of their squared error by it, and 2 bits 64 %.
CLIPPING = np.linspace(1.0, 0.2, 17)[1:]
# Rows that are searched at once, which bounds the memory.
ROWS = 1 << 16
# Errors below this share of a row's largest value are those of float32, and as good as none.
EXACT = 1e-6


def nearest_grid(values: np.ndarray, bits: int, by_row: bool) -> tuple[np.ndarray, np.ndarray]:
    """The grid ``codes * scales`` nearest to ``values``; its levels are ``-m .. m`` with ``m = 2 ** (bits - 1) - 1``.

    Each scale is the best of the largest magnitude divided by 1 .. m, and of some that clip it. So values that lie on
    such a grid already, as quantization-aware training leaves them, are found again without error, whatever the code
    of the largest one is.

    Args:
        values: float32 [n, ...].
        bits: 2 to 8.
        by_row: whether each of the n rows has a scale, or the whole has one.

    Returns:
        Codes int8 [n, ...], and scales float32 [n], or [1]; a row of zeros has the scale 1.
    """
    rows = np.asarray(values, np.float32).reshape(len(values) if by_row else 1, -1)
    parts = [_nearest(rows[start : start + ROWS], 2 ** (bits - 1) - 1) for start in range(0, max(len(rows), 1), ROWS)]
    codes, scales = (np.concatenate(found) for found in zip(*parts, strict=True))
    return codes.reshape(np.shape(values)), scales


def _nearest(rows: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    largest = np.abs(rows).max(1, initial=0)
    negligible = (EXACT * largest) ** 2 * rows.shape[1]
    scales, errors = np.ones(len(rows), np.float32), np.full(len(rows), np.inf)
    # The finest unclipped grid comes first: of equal errors, the first one is kept.
    for divisor in [*range(levels, 0, -1), *(levels / CLIPPING)]:
        candidates = (largest / divisor).astype(np.float32)
        candidates[candidates < np.finfo(np.float32).tiny] = 1
        error = ((_codes(rows, candidates, levels) * candidates[:, None] - rows) ** 2).sum(1)
        better = np.maximum(error, negligible) < errors
        scales[better], errors[better] = candidates[better], np.maximum(error, negligible)[better]
    return _codes(rows, scales, levels).astype(np.int8), scales


def _codes(rows: np.ndarray, scales: np.ndarray, levels: int) -> np.ndarray:
    return np.clip(np.rint(rows / scales[:, None]), -levels, levels)
