# SPDX-License-Identifier: Apache-2.0
"""Would maps that know nothing of the beat look like this? The same maps, slid along the time of each record.

Each record's map is turned round by a random time, all leads together, and averaged as before: what the map prefers
in its leads, and how peaked it is, stays; its bond with the waves goes. A cell's p is the share of such cohorts whose
mean in it is as large (one-sided, Phipson and Smyth 2010). All shifts of a record come from one Fourier transform.

Sums are whole numbers, so that no order and no number of workers changes a bit of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from ecglens.aggregation.cells import SoftCells
from ecglens.errors import SignalError, UsageError
from ecglens.runs.draws import record_keys, uniform

_UNIT = 2.0**-36  # what sums are whole multiples of: far below any map's noise
_LARGEST = 2.0**62

Floats = NDArray[np.float64]


class ShiftNull:
    """Sums of cell means over records as they are, and for `n_shifts` cohorts of shifted maps; streams and merges."""

    def __init__(self, n_leads: int, n_cells: int, n_shifts: int = 10_000, seed: int = 0) -> None:
        """Memory: 8 bytes for each lead, cell and shift."""
        self.n_shifts, self.seed = n_shifts, seed
        self._observed = np.zeros((n_leads, n_cells), np.int64)
        self._shifted = np.zeros((n_shifts, n_leads, n_cells), np.int64)
        self._n = np.zeros((n_leads, n_cells), np.int64)
        self._largest = 0.0

    def update(self, record_id: str, values: np.ndarray, cells: SoftCells, least_beats: int = 1) -> None:
        """Add a record: its map [lead, time], no negative values, and its cells. The shifts belong to its name."""
        there = np.broadcast_to(cells.there(least_beats), self._n.shape)
        means = np.where(there[:, None], all_shifts(values, cells), 0.0)  # [lead, shift, cell]
        self._largest += float(np.abs(means).max(initial=0.0))
        if not self._largest / _UNIT < _LARGEST:
            raise SignalError(record_id, "values", f"{self._largest:g} in sum", f"below {_LARGEST * _UNIT:g}")
        whole = np.rint(means / _UNIT).astype(np.int64)
        shifts = uniform(self.seed, "shift", record_keys([record_id]), self.n_shifts)[0] * values.shape[1]
        self._observed += whole[:, 0]
        self._shifted += whole.transpose(1, 0, 2)[shifts.astype(int)]
        self._n += there

    def merge(self, other: ShiftNull) -> None:
        """Add what another worker gathered. Raises UsageError where it drew otherwise."""
        mine, theirs = ((x._shifted.shape, x.seed) for x in (self, other))
        if mine != theirs:
            raise UsageError("ShiftNull", "merge", str(theirs), str(mine))
        self._observed += other._observed
        self._shifted += other._shifted
        self._n += other._n
        self._largest += other._largest

    def p_values(self) -> Floats:
        """Return p of each cell [lead, cell], one-sided (more than in shifted maps); NaN where no record has it."""
        as_large = (self._shifted >= self._observed).sum(axis=0)
        return np.where(self._n > 0, (1 + as_large) / (1 + self.n_shifts), np.nan)

    def observed(self) -> Floats:
        """Return the mean of each cell [lead, cell]."""
        return self._mean(self._observed)

    def shifted(self) -> Floats:
        """Return the mean of each cell in each shifted cohort [shift, lead, cell]."""
        return self._mean(self._shifted)

    def _mean(self, sums: NDArray[np.int64]) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums * _UNIT / np.where(self._n > 0, self._n, np.nan))


def all_shifts(values: np.ndarray, cells: SoftCells) -> NDArray[np.float32]:
    """Return the mean of each cell, the map [lead, time] turned round by 0, 1, ... samples: [lead, shift, cell]."""
    weights = cells.weights / np.maximum(cells.weights.sum(axis=1, keepdims=True), 1e-9)
    turned = rfft(np.asarray(values, np.float32), axis=1)[:, :, None] * np.conj(rfft(weights, axis=1))
    return np.asarray(irfft(turned, n=values.shape[1], axis=1), np.float32)
