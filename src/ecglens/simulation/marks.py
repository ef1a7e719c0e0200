# SPDX-License-Identifier: Apache-2.0
"""Exact marks: onset, peak and offset of P, QRS and T of each beat in each lead, and the 24 segments between them.

A sum of Gaussians has no end, so onset and offset need a rule. It is, for each wave by itself, without noise and in
each lead (found on a grid of 1 ms, crossings interpolated):

- QRS begins and ends where its absolute value last was, and first is again, below 0.02 mV. Its lobes are cut there: the
  first positive lobe is R, a negative lobe before it Q, the first negative lobe after it S. A complex without a
  positive lobe (QS) has its lowest point marked as Q. Lobes of a later R' have no mark.
- P and T begin and end where the absolute value passes exp(-2) = 13.5 % of its largest: for one Gaussian that is
  where the steepest tangent meets the baseline. T begins no earlier than QRS ends, P ends no later than QRS begins.
- A wave that stays below 0.02 mV (QRS 0.04 mV) in a lead is absent there, with that reason.

The J point is where QRS has ended in all leads, so that between a lead's own QRS offset and J there may be time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.simulation.dipole import WAVE_NAMES, Waves, twelve_leads

METHOD = "exact (simulated)"
GRID = np.arange(-520, 761) / 1000.0  # s around the beat's reference
TANGENT = float(np.exp(-2.0))
QRS_LEVEL, QRS_LEAST, WAVE_LEAST = 0.02, 0.04, 0.02  # mV

# Points (one sample) and the stretches between them, in time's order, after the 24 classes of Wagner et al. 2024.
SEGMENTS = (
    "P_onset", "P_rise", "P_peak", "P_fall", "P_offset", "PQ",
    "QRS_onset", "Q_rise", "Q_peak", "QR", "R_peak", "RS", "S_peak", "S_fall", "QRS_offset", "QJ",
    "J_point", "JT", "T_onset", "T_rise", "T_peak", "T_fall", "T_offset", "TP",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class BeatShape:
    """The noise-free waves of one beat on `GRID` around its reference: float64 [12, grid], in mV, by wave name."""

    waves: Mapping[str, np.ndarray]

    @property
    def total(self) -> np.ndarray:
        """All waves of the beat together [12, grid]."""
        return np.asarray(sum(self.waves.values()))


def beat_shapes(waves: Waves, beats: np.ndarray, matrix: np.ndarray | None = None) -> list[BeatShape]:
    """Return the shape of each beat, of its own waves only; `matrix` [12, 12] is that of a fault of the leads."""
    matrix = np.eye(12) if matrix is None else matrix
    shapes = []
    for index, beat in enumerate(beats):
        rows = np.flatnonzero(waves.beat == index)
        curves = np.exp(-0.5 * ((GRID + beat - waves.centre[rows, None]) / waves.width[rows, None]) ** 2)
        kinds, amplitudes = waves.kind[rows], matrix @ twelve_leads(waves.amplitude[rows].T)
        shapes.append(
            BeatShape({
                name: amplitudes[:, kinds == number] @ curves[kinds == number]
                for number, name in enumerate(WAVE_NAMES)
            })
        )  # fmt: skip
    return shapes


def mark_beat(shape: BeatShape) -> np.ndarray:
    """Return the marks of one beat, in s from its reference [12, mark]; NaN where a wave is absent."""
    times = np.full((12, len(MARKS)), np.nan)
    for lead in range(12):
        qrs = _qrs(shape.waves["QRS"][lead])
        p, t = (_wave(shape.waves[name][lead]) for name in ("P", "T"))
        p, t = np.minimum(p, qrs[0]) if qrs is not None else p, np.maximum(t, qrs[-1]) if qrs is not None else t
        times[lead, :3], times[lead, 8:] = p, t
        if qrs is not None:
            times[lead, 3:8] = qrs
    return times


def fiducials(
    shapes: Sequence[BeatShape], beats: np.ndarray, duration: float, reasons: Mapping[tuple[int, str], str]
) -> Fiducials:
    """Return the marks of the beats whose reference lies inside the recording, in s on its clock.

    reasons  why a wave of a beat is absent in all leads, by (index into `beats`, wave)
    """
    inside = np.flatnonzero((beats >= 0) & (beats < duration))
    times = np.full((12, len(inside), len(MARKS)), np.nan)
    absent: dict[tuple[str, int, str], str] = {}
    for column, index in enumerate(inside):
        marks = mark_beat(shapes[index]) + beats[index]
        outside = (marks < 0) | (marks >= duration)
        times[:, column] = np.where(outside, np.nan, marks)
        for wave, names in WAVES.items():
            columns = [MARKS.index(name) for name in names]
            for row in np.flatnonzero(np.isnan(times[:, column, columns]).all(axis=1)):
                beyond = bool(outside[row, columns].any())
                usual = "beyond the recording" if beyond else f"below {_least(wave):g} mV in this lead"
                absent[STANDARD_LEADS[row], column, wave] = reasons.get((int(index), wave), usual)
    return Fiducials(times, STANDARD_LEADS, METHOD, absent=absent)


def segment_samples(marks: Fiducials, times: np.ndarray) -> np.ndarray:
    """Return which of `SEGMENTS` each sample at `times`, in s, belongs to: int8 [lead, time]; -1 where none is known.

    Of each mark it is the nearest sample. Before the first P and after the last T nothing is known. Where a wave is
    absent, the stretch before it goes on to the next mark there is.
    """
    labels = np.full((len(marks.leads), len(times)), -1, np.int8)
    ends = marks.times[:, :, MARKS.index("QRS_offset")]
    known = ~np.isnan(ends).all(axis=0)
    last = np.where(known, np.nanmax(np.where(np.isnan(ends), -np.inf, ends), axis=0), np.nan)
    for row in range(len(marks.leads)):
        points = _points(marks.times[row], last)
        at = np.clip(np.rint((points[:, 0] - times[0]) / (times[1] - times[0])), 0, len(times) - 1).astype(int)
        names = points[:, 1].astype(int)
        for name, start, stop in zip(names[:-1], at[:-1], at[1:], strict=True):
            labels[row, start + 1 : stop] = name + 1
        labels[row, at] = names
    return labels


def _points(beats: np.ndarray, j_points: np.ndarray) -> np.ndarray:
    """Return (time, segment number) of each mark of one lead in time's order [point, 2]."""
    numbers = [SEGMENTS.index(name) for name in MARKS]
    pairs = []
    for marks, j_point in zip(beats, j_points, strict=True):
        of_beat = [(time, number) for time, number in zip(marks, numbers, strict=True) if not np.isnan(time)]
        of_beat += [] if np.isnan(j_point) else [(float(j_point), SEGMENTS.index("J_point"))]
        pairs += of_beat
    return np.array(sorted(pairs)).reshape(-1, 2)


def _wave(curve: np.ndarray) -> np.ndarray:
    """Return onset, peak and offset of P or T, in s [3]; NaN where it is too small to see."""
    size = np.abs(curve)
    peak = int(size.argmax())
    if size[peak] < WAVE_LEAST:
        return np.full(3, np.nan)
    above = np.flatnonzero(size >= TANGENT * size[peak])
    level = TANGENT * size[peak]
    return np.array([_crossing(size, above[0] - 1, level), GRID[peak], _crossing(size, above[-1], level)])


def _qrs(curve: np.ndarray) -> np.ndarray | None:
    """Return onset, Q, R, S and offset, in s [5]; None where there is no complex in this lead."""
    size = np.abs(curve)
    if size.max() < QRS_LEAST:
        return None
    loud = np.flatnonzero(size >= QRS_LEVEL)
    q, r, s = lobes(curve)
    peaks = [np.nan if lobe is None else GRID[lobe[0] + int(size[lobe[0] : lobe[1]].argmax())] for lobe in (q, r, s)]
    return np.array([_crossing(size, loud[0] - 1, QRS_LEVEL), *peaks, _crossing(size, loud[-1], QRS_LEVEL)])


def lobes(curve: np.ndarray) -> tuple[tuple[int, int] | None, tuple[int, int] | None, tuple[int, int] | None]:
    """Return the stretches [start, stop) of the grid that are Q, R and S of a QRS curve, or None where there is none."""
    sign = np.where(np.abs(curve) >= QRS_LEVEL, np.sign(curve), 0.0)
    edges = np.flatnonzero(np.diff(np.r_[0.0, sign, 0.0]))
    runs = [(int(a), int(b), sign[a]) for a, b in zip(edges[:-1], edges[1:], strict=True) if sign[a]]
    first_up = next((k for k, run in enumerate(runs) if run[2] > 0), None)
    down = [k for k, run in enumerate(runs) if run[2] < 0]
    before = [k for k in down if first_up is None or k < first_up]
    after = [k for k in down if first_up is not None and k > first_up]
    deepest = max(before, key=lambda k: -curve[runs[k][0] : runs[k][1]].min()) if before else None

    def stretch(k: int | None) -> tuple[int, int] | None:
        return None if k is None else runs[k][:2]

    return stretch(deepest), stretch(first_up), stretch(after[0] if after else None)


def _crossing(size: np.ndarray, before: int, level: float) -> float:
    """Return when the curve passes `level` between grid points `before` and `before` + 1, in s."""
    before = min(max(before, 0), len(GRID) - 2)
    low, high = size[before], size[before + 1]
    part = 0.0 if high == low else np.clip((level - low) / (high - low), 0.0, 1.0)
    return float(GRID[before] + part * (GRID[1] - GRID[0]))


def _least(wave: str) -> float:
    return QRS_LEAST if wave == "QRS" else WAVE_LEAST
