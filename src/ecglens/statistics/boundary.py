# SPDX-License-Identifier: Apache-2.0
"""Intervals of figures that stand at 0 or 1: there no resample differs, and percentiles would promise certainty.

Four patients of four found are no proof of a sensitivity of 1. Wilson's interval (Wilson 1927, JASA 22:209) says how
much they are, with one draw per patient: what is all right, or all wrong, cannot show how alike the records of one
patient are, and may not count them apart.

>>> [round(bound, 3) for bound in wilson(4, 4)]
[0.51, 1.0]
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import UsageError

SAME = "no interval: the same in every resample"
Z_95 = 1.959963984540054  # standard normal quantile at 0.975


class Bound(NamedTuple):
    """Lower and upper bound, and what they rest on, in words."""

    low: float
    high: float
    method: str


def wilson(positive: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's interval for `positive` out of `n` independent draws; `n` need not be whole.

    >>> [round(bound, 4) for bound in wilson(0, 10)]
    [0.0, 0.2775]
    """
    if not 0 <= positive <= n or n <= 0:
        raise UsageError("wilson", "positive, n", f"{positive} of {n}", "0 <= positive <= n, n > 0")
    p, spread = positive / n, z * z / n
    centre, half = p + spread / 2, z * np.sqrt(p * (1 - p) / n + spread / (4 * n))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    # At the ends the formula gives 0 and 1 up to rounding.
    return (0.0 if positive == 0 else float(low)), (1.0 if positive == n else float(high))


def check_level(level: float) -> None:
    """Raise UsageError for a level of confidence that is none."""
    if not 0 < level < 1:
        raise UsageError("level", "value", level, "between 0 and 1, both excluded", "for 95 % give 0.95")


def all_or_none(value: float, n: int, what: str = "people", level: float = 0.95) -> Bound | None:
    """Return the bounds of a share that is 0 or 1 of `n` independent draws; None of any other share.

    >>> bound = all_or_none(1.0, 10)
    >>> round(bound.low, 3), bound.high, bound.method
    (0.722, 1.0, '95 % Wilson interval, 10 people')
    """
    check_level(level)
    value = round(value, 12)  # a mean of ones may fall short by rounding
    if value not in (0.0, 1.0) or n < 1:
        return None
    low, high = wilson(value * n, n, NormalDist().inv_cdf((1 + level) / 2))
    return Bound(low, high, f"{100 * level:g} % Wilson interval, {n} {what}")


def at_the_boundary(
    metric: str, value: float, labels: NDArray, said: NDArray[np.bool_], patients: NDArray, level: float = 0.95
) -> Bound | None:
    """Return the bounds of one class's figure that is 0 or 1; None of any other.

    labels     [record] 0, 1, NaN for unknown
    said       [record] whether the answer was yes; not used for AUROC
    patients   [record] whose record it is

    Sensitivity, specificity and positive predictive value are shares of the patients they are about. F1 is 2J / (1 + J)
    of J, the share of right answers among those who have the class or are said to; balanced accuracy has the mean
    of its two bounds. An AUROC of 1 ranks every patient who has it above every one who has it not: paired one to one,
    that is as many independent right answers as there are such pairs. An average precision of 1 has no bound.
    """
    if value not in (0.0, 1.0):
        return None
    if metric == "average_precision":
        return Bound(np.nan, np.nan, SAME)
    has, lacks = labels == 1, labels == 0
    if metric == "auroc":
        sides = [np.unique(patients[side]) for side in (has, lacks)]
        pairs = min(len(sides[0]), len(sides[1]), len(np.union1d(*sides)) // 2)
        return all_or_none(value, pairs, "pairs of patients", level)
    if metric == "balanced_accuracy":
        both = [all_or_none(value, len(np.unique(patients[side])), "patients", level) for side in (has, lacks)]
        if both[0] is None or both[1] is None:
            return None
        words = f"mean of both sides' bounds: {both[0].method} with it, {both[1].method} without"
        return Bound((both[0].low + both[1].low) / 2, (both[0].high + both[1].high) / 2, words)
    about = {"sensitivity": has, "specificity": lacks, "ppv": said & (has | lacks), "f1": has | (said & lacks)}[metric]
    bound = all_or_none(value, len(np.unique(patients[about])), "patients", level)
    return bound._replace(low=_f1_of(bound.low), high=_f1_of(bound.high)) if bound and metric == "f1" else bound


def _f1_of(share: float) -> float:
    return 2 * share / (1 + share)
