# SPDX-License-Identifier: Apache-2.0
"""The 24 segments of an ECG: twelve points (one sample each) and the stretches between them, from the marks.

The classes are those of Wagner et al. 2024 (arXiv 2305.17043, table 2). With exact marks a sample is in one of them;
with marks that are known up to a standard deviation it is in several, with probabilities that add up to one: a mark m
with deviation s lies before t with probability F(t) = Phi((t - m) / s), a point holds F at the sample's end minus F at
its start, and the stretch from mark k to k + 1 the rest, F_k - F_{k+1}.

>>> import numpy as np
>>> times = np.full((1, 1, len(MARKS)), np.nan)
>>> times[0, 0] = [0.10, 0.15, 0.20, 0.26, 0.28, 0.30, 0.32, 0.35, 0.45, 0.55, 0.65]
>>> marks = Fiducials(times, ("II",), "by hand")
>>> soft = segment_probabilities(marks, np.arange(80) / 100)
>>> soft.shape, SEGMENTS[int(soft[0, 30].argmax())], SEGMENTS[int(soft[0, 50].argmax())]
((1, 80, 24), 'R_peak', 'T_rise')
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ecglens.errors import UsageError
from ecglens.fiducials import MARKS, Fiducials

SEGMENTS = (
    "P_onset", "P_rise", "P_peak", "P_fall", "P_offset", "PQ",
    "QRS_onset", "Q_rise", "Q_peak", "QR", "R_peak", "RS", "S_peak", "S_fall", "QRS_offset", "QJ",
    "J_point", "JT", "T_onset", "T_rise", "T_peak", "T_fall", "T_offset", "TP",
)  # fmt: skip
TP = SEGMENTS.index("TP")

Floats = NDArray[np.float64]

_PIECE = 128  # samples worked on at once: few marks are near them, and time grows with the length alone
_REACH = 6.0  # deviations beyond which a mark is certain


def segment_probabilities(
    marks: Fiducials, times: np.ndarray, deviation: float | np.ndarray = 0.0
) -> NDArray[np.float32]:
    """Return how probable each of `SEGMENTS` is at each of `times`, in s: float32 [lead, time, 24], summing to one.

    times      equally spaced, in s on the clock of the marks
    deviation  standard deviation of the marks, in s: one for all, or [lead, beat, mark] (NaN where a mark is absent)

    Where a wave is absent, the stretch before it goes on to the next mark there is; what lies before the first mark
    is the end of a stretch, what lies after the last one the beginning of the next. A lead without marks is all 0.
    Raises UsageError where `times` are not equally spaced or deviations negative.
    """
    times = np.asarray(times, np.float64)
    step = _step(times)
    spread = np.broadcast_to(np.asarray(deviation, np.float64), marks.times.shape)
    if (spread < 0).any():
        raise UsageError("segment_probabilities", "deviation", float(np.nanmin(spread)), "0 s or more")
    out = np.zeros((len(marks.leads), times.size, len(SEGMENTS)), np.float32)
    j_points = _j_points(marks)
    for row in range(len(marks.leads)):
        points = _points(marks.times[row], spread[row], j_points)
        for first in range(0, times.size if len(points) else 0, _PIECE):
            piece = times[first : first + _PIECE]
            _fill(out[row, first : first + _PIECE], points, piece, step)
    return out


def _step(times: Floats) -> float:
    if times.ndim != 1 or times.size < 2:
        raise UsageError("segment_probabilities", "times", f"shape {times.shape}", "two instants or more, in s")
    step = (times[-1] - times[0]) / (times.size - 1)
    if not step > 0 or np.abs(np.diff(times) - step).max() > 1e-3 * step:
        raise UsageError("segment_probabilities", "times", "unequal steps", "equally spaced, rising, in s")
    return float(step)


def _j_points(marks: Fiducials) -> Floats:
    """Return when QRS has ended in all leads [beat], in s; NaN where it is nowhere marked."""
    ends = marks.times[:, :, MARKS.index("QRS_offset")]
    last = np.where(np.isnan(ends), -np.inf, ends).max(axis=0)
    return np.where(np.isfinite(last), last, np.nan)


def _points(beats: Floats, spread: Floats, j_points: Floats) -> Floats:
    """Return (time, deviation, number of the segment) of the points of one lead, in order [point, 3]."""
    numbers = np.array([SEGMENTS.index(name) for name in MARKS], np.float64)
    marked = np.stack([beats, np.nan_to_num(spread), np.broadcast_to(numbers, beats.shape)], axis=-1).reshape(-1, 3)
    own = np.nan_to_num(spread[:, MARKS.index("QRS_offset")])
    j = np.stack([j_points, own, np.full(j_points.shape, float(SEGMENTS.index("J_point")))], axis=-1)
    points = np.concatenate([marked, j])
    points = points[~np.isnan(points[:, 0])]
    return points[np.lexsort((points[:, 2], points[:, 0]))]


def _fill(out: NDArray[np.float32], points: Floats, times: Floats, step: float) -> None:
    """Fill in `out` [time, 24] from the points that matter for these times."""
    reach = _REACH * points[:, 1].max() + step
    first = max(int(np.searchsorted(points[:, 0], times[0] - reach)) - 1, 0)
    last = int(np.searchsorted(points[:, 0], times[-1] + reach)) + 1
    near = points[first:last]
    numbers = near[:, 2].astype(int)
    edges = _before(near, np.append(times - step / 2, times[-1] + step / 2))
    start, end = edges[:, :-1], edges[:, 1:]  # [point, time]
    point = np.maximum(end - start, 0.0)
    stretch = np.maximum(start - np.concatenate([end[1:], np.zeros((1, times.size))]), 0.0)
    belongs = np.eye(len(SEGMENTS))[:, numbers]  # [segment, point]
    after = np.eye(len(SEGMENTS))[:, (numbers + 1) % len(SEGMENTS)]
    probability = belongs @ point + after @ stretch
    # A QRS without a P before it ends a TP stretch, as in the middle of a record.
    ahead = TP if SEGMENTS[numbers[0]] == "QRS_onset" else (numbers[0] - 1) % len(SEGMENTS)
    probability[ahead] += 1.0 - end[0]
    out[:] = (probability / probability.sum(axis=0)).T


def _before(points: Floats, times: Floats) -> Floats:
    """Return how probable it is that each point lies before each time [point, time]."""
    ahead = times - points[:, :1]
    certain = points[:, 1:2] == 0
    z = ahead / np.where(certain, 1.0, points[:, 1:2])
    # A time on the very edge of a sample belongs to the later one; 1e-9 s is rounding.
    return np.where(certain, (ahead > 1e-9).astype(np.float64), ndtr(z))
