# SPDX-License-Identifier: Apache-2.0
"""What a map is averaged over in one record: soft cells, either the 24 segments or the phases around each beat.

Both are weights [lead, time, cell]: how much each sample belongs to each cell. A segment's weights are probabilities,
so that what the marks leave open is shared among neighbours; a phase of the beat holds one sample of each beat.

>>> cells = beat_cells(np.array([1.0, 2.0]), np.arange(300) / 100)
>>> values = np.zeros((1, 300))
>>> values[0, [100, 200]] = 1.0, 3.0
>>> cells.names[30], float(cell_means(values, cells)[0, 30])
('0', 2.0)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.fiducials import MARKS, Fiducials
from ecglens.segments import SEGMENTS, segment_probabilities

WAVES_OF = {  # the 24 segments as the six that reports of single ECGs have
    "P": ("P_onset", "P_offset"), "PQ": ("PQ", "PQ"), "QRS": ("QRS_onset", "QRS_offset"), "ST": ("QJ", "JT"),
    "T": ("T_onset", "T_offset"), "rest": ("TP", "TP"),
}  # fmt: skip
BEFORE, AFTER = 0.3, 0.5  # s around a beat (Wagner et al. 2024)
LEAST_MASS = 0.5  # samples: a cell that holds less of a record is not there

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SoftCells:
    """The cells of one record.

    names    of the cells
    weights  float32 [lead, time, cell], or [1, time, cell] where all leads have the same
    n_beats  beats behind each cell [lead, cell], or [1, cell]
    """

    names: tuple[str, ...]
    weights: NDArray[np.float32]
    n_beats: NDArray[np.int64]

    def there(self, least_beats: int = 1) -> NDArray[np.bool_]:
        """Which cells the record has [lead, cell]: enough beats, and half a sample at least."""
        return (self.n_beats >= least_beats) & (self.weights.sum(axis=1) >= LEAST_MASS)


def segment_cells(marks: Fiducials, deviation: Floats, times: Floats, leads: tuple[str, ...]) -> SoftCells:
    """Return the 24 segments as cells of `leads`, on a grid of `times` in s.

    deviation   of the marks, in s [lead, beat, mark]

    A lead that is not marked has no cells. A segment's beats are those whose mark it is, or begins at.
    """
    found = segment_probabilities(marks, times, deviation)
    beats = _beats_with(marks)
    weights = np.zeros((len(leads), len(times), len(SEGMENTS)), np.float32)
    n_beats = np.zeros((len(leads), len(SEGMENTS)), np.int64)
    for row, lead in enumerate(leads):
        if lead in marks.leads:
            own = marks.leads.index(lead)
            weights[row], n_beats[row] = found[own], beats[own]
    return SoftCells(SEGMENTS, weights, n_beats)


def _beats_with(marks: Fiducials) -> NDArray[np.int64]:
    """Return how many beats have the point of a segment, or the one that a stretch begins at [lead, segment]."""
    marked = (~np.isnan(marks.times)).sum(axis=1)
    out = np.zeros((len(marks.leads), len(SEGMENTS)), np.int64)
    for k, name in enumerate(SEGMENTS):
        point = name if name in MARKS else SEGMENTS[k - 1]
        out[:, k] = marked[:, MARKS.index(point if point in MARKS else "QRS_offset")]  # the J point ends the last QRS
    return out


def coarse(cells: SoftCells) -> SoftCells:
    """Return the 24 segments merged into P, PQ, QRS, ST, T and the rest."""
    parts = [slice(SEGMENTS.index(a), SEGMENTS.index(b) + 1) for a, b in WAVES_OF.values()]
    weights = np.stack([cells.weights[:, :, part].sum(axis=2) for part in parts], axis=2)
    n_beats = np.stack([cells.n_beats[:, part].max(axis=1) for part in parts], axis=1)
    return SoftCells(tuple(WAVES_OF), weights, n_beats)


def beat_cells(beats: Floats, times: Floats) -> SoftCells:
    """Return the phases from 300 ms before to 500 ms after each beat as cells, named by their ms; all leads alike.

    beats   in s [beat]. One whose window is not wholly inside `times` (in s, equally spaced) is passed over
    """
    fs = (len(times) - 1) / (times[-1] - times[0])
    first, n = -round(BEFORE * fs), round((BEFORE + AFTER) * fs)
    start = np.rint((beats[np.isfinite(beats)] - times[0]) * fs).astype(int) + first
    start = start[(start >= 0) & (start + n <= len(times))]
    weights = np.zeros((1, len(times), n), np.float32)
    phase = np.arange(n)
    for begin in start:  # phases of one beat never meet
        weights[0, begin + phase, phase] += 1.0
    names = tuple(f"{1000 * (first + k) / fs:.0f}" for k in range(n))
    return SoftCells(names, weights, np.full((1, n), len(start)))


def cell_means(values: np.ndarray, cells: SoftCells, least_beats: int = 1) -> Floats:
    """Return the weighted mean of `values` [lead, time] in each cell [lead, cell]; NaN where the record lacks it."""
    total = (values[:, None, :] @ cells.weights.astype(values.dtype))[:, 0]
    mass = cells.weights.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(cells.there(least_beats), total / mass, np.nan)
