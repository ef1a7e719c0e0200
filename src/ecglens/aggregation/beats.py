# SPDX-License-Identifier: Apache-2.0
"""The beats behind an average: mean and median beat of a cohort, named for what they are.

mean beat    of each record the mean over its beats, then the mean over records
median beat  of each record the median over its beats, then the median over records, sample by sample; the band holds
             the middle 90 % of the records' median beats
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.aggregation.cells import SoftCells
from ecglens.ecg import ECG
from ecglens.explanation import BAND

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Beats of a cohort [lead, phase], in mV; the level of each record's beat is its own median."""

    mean_beat: Floats
    median_beat: Floats
    band_low: Floats
    band_high: Floats


class Beats:
    """Gathers the beats of records; the result is the same in any order."""

    def __init__(self, n_leads: int, n_phases: int) -> None:
        self._shape = n_leads, n_phases
        self._records: dict[str, tuple[Floats, Floats]] = {}

    def update(self, record_id: str, signal: np.ndarray, cells: SoftCells) -> None:
        """Add a record: its signal [lead, time] in mV on the grid of the cells."""
        first = np.flatnonzero(cells.weights[0, :, 0])
        if first.size:
            windows = signal[:, first[:, None] + np.arange(self._shape[1])]  # [lead, beat, phase]
            level = np.median(windows, axis=2, keepdims=True)
            self._records[record_id] = (windows - level).mean(axis=1), np.median(windows - level, axis=1)

    def compute(self) -> Trace | None:
        """Return the cohort's beats; None where there are none."""
        if not self._records:
            return None
        means, medians = (np.stack([self._records[name][k] for name in sorted(self._records)]) for k in (0, 1))
        low, high = np.quantile(medians, BAND, axis=0)
        return Trace(means.mean(axis=0), np.median(medians, axis=0), low, high)


def signal_at(ecg: ECG, times: Floats, leads: tuple[str, ...]) -> Floats:
    """Return the signal of `leads` at `times`, in mV [lead, time]; 0 in gaps and in leads the ECG does not have."""
    out = np.zeros((len(leads), len(times)))
    for row, lead in enumerate(leads):
        if lead in ecg.leads:
            values = ecg[lead].astype(np.float64)
            known = np.isfinite(values)
            if known.any():
                out[row] = np.interp(times, ecg.times[known], values[known])
    return out
