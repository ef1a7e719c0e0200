# SPDX-License-Identifier: Apache-2.0
"""Figures of an audit: means over records with a 95 % interval by patient bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecglens.auditing.verdict import On, TestResult
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import json_number

N_RESAMPLES = 2000
_SEED = 0


def estimate(
    values: np.ndarray, patients: Sequence[str], on: On, chance: float | None = None, seed: int = _SEED
) -> TestResult:
    """Return the mean of `values` [record]; NaN is left out and not counted.

    >>> found = estimate(np.array([1.0, 2.0, np.nan]), ["a", "b", "c"], "weights")
    >>> found.value, found.n, found.n_patients
    (1.5, 2, 2)
    """
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    people = [patient for patient, here in zip(patients, known, strict=True) if here]
    if not people:
        return TestResult(on, chance=chance, reason="no record has a figure")
    values = values[known]
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    drawn = interval((weights @ values) / weights.sum(axis=1))
    single = len(set(people)) < 2  # one patient resampled is always the same patient
    low, high = (None, None) if single else (json_number(drawn.low), json_number(drawn.high))
    return TestResult(on, float(values.mean()), low, high, chance, n=len(values), n_patients=len(set(people)))
