# SPDX-License-Identifier: Apache-2.0
"""Many tests at once: p values that keep their promise for all of them together.

>>> holm([0.01, 0.04, 0.03]).tolist()
[0.03, 0.06, 0.06]
>>> false_discovery([0.01, 0.04, 0.03, float("nan"), 0.5]).round(3).tolist()
[0.04, 0.053, 0.053, nan, 0.5]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from ecglens.errors import UsageError


def holm(p: ArrayLike) -> np.ndarray:
    """Return p values corrected by Holm (1979, Scand J Stat 6:65) for all that are given; NaN are no tests.

    Below a, the chance that even one of those corrected values is a false alarm is a at most, whatever hangs together.
    """
    values = np.asarray(p, dtype=float)
    corrected = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values.ravel()))
    order = known[np.argsort(values.ravel()[known], stable=True)]
    steps = values.ravel()[order] * np.arange(len(order), 0, -1)
    corrected.ravel()[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def false_discovery(p: ArrayLike) -> NDArray[np.float64]:
    """Return q for each p, in any shape: findings with q of 0.05 and less hold 5 % chance findings, on average.

    Benjamini and Hochberg (JRSS B 57 (1995) 289). NaN are no tests: they count for nothing and stay NaN. Holds for
    independent tests and for those that go together. Raises UsageError for p outside 0..1.
    """
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    tested = values[known]
    if ((tested < 0) | (tested > 1)).any():
        raise UsageError("false_discovery", "p", float(tested.max()), "0 to 1, NaN for no test")
    q = np.full(values.shape, np.nan)
    if tested.size:
        q[known] = false_discovery_control(tested)
    return q
