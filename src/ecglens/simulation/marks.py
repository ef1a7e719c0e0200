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

from collections.abc import Mapping

import numpy as np

from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.segments import SEGMENTS
from ecglens.simulation.dipole import WAVE_NAMES, Waves, twelve_leads

METHOD = "exact (simulated)"
STEP = 0.001  # s
# Times around the beat's reference at which a wave is looked at, in s: P, QRS, and ST and T.
_LATE = np.arange(-20, 781) * STEP
GRIDS = {"P": np.arange(-520, 61) * STEP, "QRS": np.arange(-180, 241) * STEP, "ST": _LATE, "T": _LATE}
TANGENT = float(np.exp(-2.0))
QRS_LEVEL, QRS_LEAST, WAVE_LEAST = 0.02, 0.04, 0.02  # mV


def beat_curves(waves: Waves, beats: np.ndarray, matrix: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return each beat's own noise-free waves around its reference: wave -> [beat, 12, time of `GRIDS`], in mV.

    matrix  [12, 12], of a fault that mixes the leads
    """
    matrix = np.eye(12) if matrix is None else matrix
    curves = {name: np.zeros((len(beats), 12, len(grid))) for name, grid in GRIDS.items()}
    leads = matrix @ twelve_leads(waves.amplitude.T)
    for number, name in enumerate(WAVE_NAMES):
        rows = np.flatnonzero(waves.kind == number)
        since = GRIDS[name] + beats[waves.beat[rows], None] - waves.centre[rows, None]
        gaussians = np.exp(np.maximum(-0.5 * (since / waves.width[rows, None]) ** 2, -300.0))  # no slow denormals
        for beat in range(len(beats)):
            own = waves.beat[rows] == beat
            curves[name][beat] = np.einsum("ck,kt->ct", leads[:, rows[own]], gaussians[own])
    return curves


def mark_beats(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the marks of each beat, in s from its reference [beat, 12, mark]; NaN where a wave is absent."""
    n = len(curves["QRS"])
    p, t = (_waves(curves[name].reshape(12 * n, -1), GRIDS[name]) for name in ("P", "T"))
    qrs = _complexes(curves["QRS"].reshape(12 * n, -1))
    with np.errstate(invalid="ignore"):
        p, t = np.fmin(p, qrs[:, :1]) + 0 * p, np.fmax(t, qrs[:, -1:]) + 0 * t  # what is absent stays NaN
    return np.concatenate([p, qrs, t], axis=1).reshape(n, 12, len(MARKS))


def fiducials(
    marks: np.ndarray, beats: np.ndarray, duration: float, reasons: Mapping[tuple[int, str], str]
) -> Fiducials:
    """Return the marks [beat, 12, mark] of the beats whose reference lies inside the recording, on its clock, in s.

    reasons  why a wave of a beat is absent in all leads, by (index into `beats`, wave)
    """
    inside = np.flatnonzero((beats >= 0) & (beats < duration))
    times = (marks[inside] + beats[inside, None, None]).transpose(1, 0, 2)
    outside = (times < 0) | (times >= duration)
    times = np.where(outside, np.nan, times)
    absent: dict[tuple[str, int | None, str], str] = {}
    for wave, names in WAVES.items():
        columns = [MARKS.index(name) for name in names]
        beyond = outside[:, :, columns].any(axis=2)
        least = QRS_LEAST if wave == "QRS" else WAVE_LEAST
        for row, beat in np.argwhere(np.isnan(times[:, :, columns]).all(axis=2)):
            usual = "beyond the recording" if beyond[row, beat] else f"below {least:g} mV in this lead"
            absent[STANDARD_LEADS[row], int(beat), wave] = reasons.get((int(inside[beat]), wave), usual)
    return Fiducials(times, STANDARD_LEADS, METHOD, absent=absent)


def segment_samples(marks: Fiducials, times: np.ndarray) -> np.ndarray:
    """Return which of `SEGMENTS` each sample at `times`, in s, belongs to: int8 [lead, time]; -1 where none is known.

    Of each mark it is the nearest sample. Before the first P and after the last T nothing is known. Where a wave is
    absent, the stretch before it goes on to the next mark there is.
    """
    labels = np.full((len(marks.leads), len(times)), -1, np.int8)
    ends = marks.times[:, :, MARKS.index("QRS_offset")]
    last = np.where(np.isnan(ends), -np.inf, ends).max(axis=0)
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
        of_beat += [] if not np.isfinite(j_point) else [(float(j_point), SEGMENTS.index("J_point"))]
        pairs += of_beat
    return np.array(sorted(pairs)).reshape(-1, 2)


def _waves(curves: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return onset, peak and offset of P or T in each row of `curves` [row, time], in s [row, 3]."""
    size = np.abs(curves)
    peak = size.argmax(axis=1)
    level = TANGENT * size.max(axis=1)
    marks = np.stack([_first(size, level, grid), grid[peak], _last(size, level, grid)], axis=1)
    marks[size.max(axis=1) < WAVE_LEAST] = np.nan
    return marks


def _complexes(curves: np.ndarray) -> np.ndarray:
    """Return onset, Q, R, S and offset of QRS in each row of `curves` [row, time], in s [row, 5]."""
    grid, size = GRIDS["QRS"], np.abs(curves)
    level = np.full(len(curves), QRS_LEVEL)
    marks = [_first(size, level, grid)]
    for lobe in lobes(curves):
        inside = np.where(lobe, size, -1.0)
        marks.append(np.where(lobe.any(axis=1), grid[inside.argmax(axis=1)], np.nan))
    found = np.stack([*marks, _last(size, level, grid)], axis=1)
    found[size.max(axis=1) < QRS_LEAST] = np.nan
    return found


def lobes(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where in each row of QRS curves [row, time] Q, R and S are, three times bool [row, time].

    R is the first positive lobe, Q the deepest negative lobe before it (or of all, where there is no R), S the first
    negative lobe after it.
    """
    up: np.ndarray = curves >= QRS_LEVEL
    down: np.ndarray = curves <= -QRS_LEVEL
    at = np.arange(curves.shape[1])
    has_r = np.any(up, axis=1, keepdims=True)
    first_up = np.where(has_r[:, 0], up.argmax(axis=1), curves.shape[1])[:, None]
    r = _run(up, first_up)
    before = down & (at < first_up)
    deepest = np.where(before, -curves, -1.0).argmax(axis=1)[:, None]
    q = _run(before, deepest, backwards=True)
    after = down & (at > first_up) & has_r
    s = _run(after, after.argmax(axis=1)[:, None])
    return q, r, s


def _run(inside: np.ndarray, start: np.ndarray, backwards: bool = False) -> np.ndarray:
    """Return the unbroken run of `inside` [row, time] that holds `start` [row, 1]; from `start` on, or both ways."""
    at = np.arange(inside.shape[1])
    breaks: np.ndarray = ~inside
    next_break = np.where(breaks & (at >= start), at, inside.shape[1]).min(axis=1)[:, None]
    first = start
    if backwards:
        first = np.where(breaks & (at <= start), at, -1).max(axis=1)[:, None] + 1
    return inside & (at >= first) & (at < next_break)


def _first(size: np.ndarray, level: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return when each row first passes its level, in s, interpolated between grid points."""
    after = (size >= level[:, None]).argmax(axis=1)
    return _crossing(size, np.maximum(after - 1, 0), level, grid)


def _last(size: np.ndarray, level: np.ndarray, grid: np.ndarray) -> np.ndarray:
    before = size.shape[1] - 1 - np.argmax(size[:, ::-1] >= level[:, None], axis=1)
    return _crossing(size, np.minimum(before, size.shape[1] - 2), level, grid)


def _crossing(size: np.ndarray, before: np.ndarray, level: np.ndarray, grid: np.ndarray) -> np.ndarray:
    rows = np.arange(len(size))
    low, high = size[rows, before], size[rows, before + 1]
    step = np.where(high == low, 1.0, high - low)
    return grid[before] + np.clip((level - low) / step, 0.0, 1.0) * STEP
