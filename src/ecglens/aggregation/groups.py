# SPDX-License-Identifier: Apache-2.0
"""Two groups of maps, cell by cell: how far their lifts lie apart, with intervals over patients.

Lifts are compared, not values: an even spread is 1 in any unit, so that networks, methods and folds can be compared.
The interval resamples patients, those in both groups together; p is that of a t with the smaller group's patients
less one as degrees of freedom, and q holds the false discovery rate over cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ecglens.explanation import Rows
from ecglens.statistics.bootstrap import patient_weights
from ecglens.statistics.least_group import is_too_small
from ecglens.statistics.multiplicity import false_discovery

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Difference:
    """The lift of group a less that of group b, [lead, cell]; NaN where a group lacks a cell.

    n_left_out  records that were to be compared and are in neither group: why depends on who was compared
    """

    a: str
    b: str
    lift_a: Floats
    lift_b: Floats
    value: Floats
    low: Floats
    high: Floats
    p: Floats
    q: Floats
    n_a: int
    n_b: int
    n_patients_a: int
    n_patients_b: int
    n_left_out: int = 0

    def differs(self, level: float = 0.05) -> NDArray[np.bool_]:
        """Which cells differ, at this false discovery rate [lead, cell]."""
        return np.nan_to_num(self.q, nan=1.0) <= level


@dataclass(frozen=True)
class NotCompared:
    """A comparison that was left out: of whom, how many they are, and the reason."""

    a: str
    b: str
    n_a: int
    n_b: int
    n_patients_a: int
    n_patients_b: int
    reason: str


def difference(a: str, first: Rows, b: str, second: Rows, *, n_resamples: int = 2000, seed: int = 0) -> Difference:
    """Compare two groups of records; a cell that fewer than 20 records or 10 patients of a group have is not compared.

    Where both hold the same records (two networks, two methods), the comparison is paired by patient.
    """
    patients = [*first.patients, *second.patients]
    weights = patient_weights(patients, n_resamples, seed).astype(np.float64)
    n_first = len(first.patients)
    lift_a, drawn_a = _lifts(first, weights[:, :n_first])
    lift_b, drawn_b = _lifts(second, weights[:, n_first:])
    value, drawn = lift_a - lift_b, drawn_a - drawn_b
    usable = np.isfinite(value)
    low, high, p = np.full(value.shape, np.nan), np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    n_a, n_b = len(set(first.patients)), len(set(second.patients))
    if usable.any():
        own = drawn[:, usable]
        low[usable], high[usable] = np.nanquantile(own, [0.025, 0.975], axis=0)
        error = np.maximum(np.nanstd(own, axis=0, ddof=1), 1e-12)
        p[usable] = 2 * student.sf(np.abs(value[usable]) / error, df=max(min(n_a, n_b) - 1, 1))
    return Difference(
        a, b, lift_a, lift_b, value, low, high, p, false_discovery(p), n_first, len(second.patients), n_a, n_b
    )


def _lifts(rows: Rows, weights: Floats) -> tuple[Floats, Floats]:
    """Return the lift of each cell [lead, cell], as it is and resampled [resample, lead, cell]."""
    seen, filled = ~np.isnan(rows.values), np.nan_to_num(rows.values)
    even = seen * rows.level[:, None, None]
    people = np.array(rows.patients)
    n_patients = np.sum([seen[people == one].any(axis=0) for one in sorted(set(rows.patients))], axis=0)
    few = is_too_small(seen.sum(axis=0), n_patients)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = np.where(few, np.nan, filled.sum(0) / even.sum(0))
        return lift, np.tensordot(weights, filled, 1) / np.tensordot(weights, even, 1)
