# SPDX-License-Identifier: Apache-2.0
"""How alike two maps are."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.stats import rankdata

_WINDOW = 11  # samples, of the structural similarity
_C1, _C2 = 0.01**2, 0.03**2  # Wang et al. 2004, for values in 0..1


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of two maps; 1 for two constant ones, which are one picture, 0 for one of them.

    >>> spearman(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 4.0, 9.0]]))
    1.0
    >>> spearman(np.zeros((1, 3)), np.zeros((1, 3))), spearman(np.zeros((1, 3)), np.array([[1.0, 2.0, 3.0]]))
    (1.0, 0.0)
    """
    if np.array_equal(a, b):
        return 1.0
    x, y = (rankdata(m.ravel()) for m in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x**2).sum() * (y**2).sum())
    if norm == 0:
        return 1.0 if not (x.any() or y.any()) else 0.0
    return float((x * y).sum() / norm)


def spearman_of_sizes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the rank correlation of |a| and |b|, one per case [case, lead, time]."""
    return np.array([spearman(np.abs(x), np.abs(y)) for x, y in zip(a, b, strict=True)])


def spearman_signed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the rank correlation of a and b, one per case [case, lead, time]."""
    return np.array([spearman(x, y) for x, y in zip(a, b, strict=True)])


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the structural similarity of |a| and |b| along time, mean over leads, one per case [case, lead, time].

    Each map is divided by its largest value. Wang et al. 2004, IEEE Trans Image Process 13:600, with a flat window.
    """
    x, y = (np.abs(m).astype(np.float64) for m in (a, b))
    x, y = (m / np.maximum(m.max(axis=(1, 2), keepdims=True), 1e-30) for m in (x, y))

    def mean(m: np.ndarray) -> np.ndarray:
        return uniform_filter1d(m, _WINDOW, axis=-1, mode="nearest")

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    local = (2 * mx * my + _C1) * (2 * cov + _C2) / ((mx**2 + my**2 + _C1) * (vx + vy + _C2))
    return np.asarray(local.mean(axis=(1, 2)))
