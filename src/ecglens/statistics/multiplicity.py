# SPDX-License-Identifier: Apache-2.0
"""Many tests at once: p values that keep their promise for all of them together.

>>> holm([0.01, 0.04, 0.03]).tolist()
[0.03, 0.06, 0.06]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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
