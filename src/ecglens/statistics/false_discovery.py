# SPDX-License-Identifier: Apache-2.0
"""Of many findings, how many are chance? The false discovery rate (Benjamini and Hochberg, JRSS B 57 (1995) 289).

>>> false_discovery([0.01, 0.04, 0.03, float("nan"), 0.5]).round(3).tolist()
[0.04, 0.053, 0.053, nan, 0.5]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import UsageError


def false_discovery(p: ArrayLike) -> NDArray[np.float64]:
    """Return q for each p, in any shape: findings with q of 0.05 and less hold 5 % chance findings, on average.

    NaN are no tests: they count for nothing and stay NaN. Holds for independent tests and for those that go together.
    Raises UsageError for p outside 0..1.
    """
    values = np.asarray(p, np.float64)
    tested = values[~np.isnan(values)]
    if ((tested < 0) | (tested > 1)).any():
        raise UsageError("false_discovery", "p", float(tested.max()), "0 to 1, NaN for no test")
    order = np.argsort(tested, kind="stable")
    scaled = tested[order] * tested.size / np.arange(1, tested.size + 1)
    smallest_above = np.minimum.accumulate(scaled[::-1])[::-1]
    q = np.full(values.shape, np.nan)
    found = np.empty(tested.size)
    found[order] = np.minimum(smallest_above, 1.0)
    q[~np.isnan(values)] = found
    return q
