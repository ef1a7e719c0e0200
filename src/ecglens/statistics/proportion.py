# SPDX-License-Identifier: Apache-2.0
"""How common something is among records of which several may come from one person.

Wilson's interval (Wilson 1927, JASA 22:209) keeps its promise for rare labels and for none at all, where resampling
patients gives intervals that are too short, or of no width. Records of one person resemble each other, so the number
of records in it is replaced by the number of independent ones that would be as sure: p (1 - p) over the variance of p
between people (Kish 1965, Survey Sampling, chapter 8; for Wilson's interval Dean and Pagano 2015, J Surv Stat
Methodol 3:484).

>>> estimate = proportion([1, 0, 0, 0, 1, 0, 0, 0, 0, 0], list("abcdefghij"))
>>> print(estimate, estimate.n_patients)  # one record each: Wilson's interval as it stands in textbooks
0.20 [0.06, 0.51] 10
>>> print(proportion([1, 1, 1, 1, 0, 0, 0, 0], list("aaaabbbb")))  # eight records, but two people
0.50 [0.09, 0.91]
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.boundary import wilson


def proportion(positive: ArrayLike, patient_ids: Sequence[Hashable]) -> Estimate:
    """Return the share of records that are positive, with its 95 % interval.

    positive     1 or 0 per record [record]; NaN where unknown, which leaves the record out
    patient_ids  whose record it is [record]
    """
    values = np.asarray(positive, float)
    if values.shape != (len(patient_ids),):
        raise UsageError("proportion", "positive", f"shape {values.shape}", f"({len(patient_ids)},)")
    known = ~np.isnan(values)
    n = int(known.sum())
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, 0, "no record is known")
    people = pd.factorize(np.asarray(patient_ids, dtype=object)[known])[0]
    records = np.bincount(people).astype(float)
    carried = np.bincount(people, values[known])
    share = float(carried.sum() / n)
    independent = _independent_records(share, carried, records)
    low, high = wilson(share * independent, independent)
    method = f"95 % Wilson interval, {independent:.0f} independent records by the spread between patients"
    return Estimate(share, low, high, n, len(records), method)


def _independent_records(share: float, carried: np.ndarray, records: np.ndarray) -> float:
    """Return how many independent records would tell the share as surely; at most as many as there are."""
    n = float(records.sum())
    variance = float(np.square(carried - share * records).sum()) / n**2
    if share in (0.0, 1.0) or variance == 0:
        return float(len(records))  # nothing to be seen between people: as if each gave one record
    return min(n, share * (1 - share) / variance)
