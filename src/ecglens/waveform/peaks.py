# SPDX-License-Identifier: Apache-2.0
"""Peaks between the onset and the offset of waves.

Of P and T it is the farthest point from the line between both ends. QRS is measured from the level right before its
onset: R is the first positive lobe, Q the deepest negative lobe before it, S the first negative lobe after it; a
complex without a positive lobe (QS) has its lowest point as Q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG

Floats = NDArray[np.float64]

LEVEL = 0.02  # s before QRS whose mean is its level
END = 0.01  # s before the end of QRS in which a growing lobe is ST, not QRS
LOBE_LEAST, LOBE_SHARE = 0.025, 0.03  # mV, and of the complex's range: what is smaller is no lobe
_P, _Q, _R, _S, _T = 1, 4, 5, 6, 9  # columns of Fiducials


def mark_peaks(ecg: ECG, times: Floats, certainty: Floats, fs: float) -> None:
    """Fill in the peaks in `times` [lead, beat, mark], in samples at `fs` from the ECG's first; NaN stays NaN."""
    for onset, peak, offset in ((0, _P, 2), (8, _T, 10)):
        away, at = _stretches(ecg, times[..., onset], times[..., offset], fs)
        _set(times, certainty, peak, onset, _summit(np.abs(away), at, away > -1))
    away, at = _stretches(ecg, times[..., 3], times[..., 7], fs, from_level=True)
    for column, lobe in zip((_Q, _R, _S), _lobes(away, round(END / _step(ecg))), strict=True):
        _set(times, certainty, column, 3, _summit(np.abs(away), at, lobe))
    times[..., _Q : _S + 1] = np.clip(times[..., _Q : _S + 1], times[..., 3:4], times[..., 7:8])


def _set(times: Floats, certainty: Floats, column: int, onset: int, found: Floats) -> None:
    times[..., column] = found
    certainty[..., column] = np.where(np.isnan(found), np.nan, certainty[..., onset])


def _stretches(
    ecg: ECG, onset: Floats, offset: Floats, fs: float, from_level: bool = False
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the signal from onset to offset [lead, beat, step], in mV, and its times, in samples at `fs`.

    It is measured over the line between both ends, or from the level before the onset. Beyond the offset, in gaps and
    where there is no wave it is NaN. Steps of 2 ms at most, or one sample.
    """
    scale = ecg.fs / fs
    first, last = np.ceil(onset * scale), np.floor(offset * scale)
    width = int(np.nanmax(last - first, initial=0)) + 1
    steps = np.arange(0, width, round(_step(ecg) * ecg.fs))
    start, end = np.nan_to_num(first).astype(int), np.nan_to_num(last).astype(int)
    index = start[..., None] + steps
    values = _values(ecg, index)
    if from_level:
        line = _values(ecg, start[..., None] - np.arange(round(LEVEL * ecg.fs) + 1)).mean(axis=-1, keepdims=True)
    else:
        left, right = _values(ecg, start[..., None]), _values(ecg, end[..., None])
        line = left + (right - left) * (steps / np.maximum(last - first, 1)[..., None])
    inside = steps <= (last - first)[..., None]  # NaN compares as outside
    return np.where(inside, values - line, np.nan), index / scale


def _step(ecg: ECG) -> float:
    """Return the time between the samples that are looked at, in s."""
    return max(int(ecg.fs // 500), 1) / ecg.fs


def _values(ecg: ECG, index: np.ndarray) -> Floats:
    """Return the samples [lead, beat, step] at `index`, in mV; the nearest one where that lies beyond an end."""
    rows = np.arange(len(ecg.leads))[:, None, None]
    return ecg.signal[rows, index.clip(0, ecg.n_samples - 1)].astype(np.float64)


def _summit(size: Floats, at: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """Return where `size` [..., step] is largest among the allowed steps; NaN where none is."""
    usable = allowed & ~np.isnan(size)
    best = np.where(usable, size, -1.0).argmax(axis=-1)[..., None]
    return np.where(usable.any(axis=-1), np.take_along_axis(at, best, axis=-1)[..., 0], np.nan)


def _lobes(away: Floats, margin: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where in each complex [..., step] its Q, R and S are; `margin` steps before its end are the end."""
    values = np.nan_to_num(away)
    least = np.maximum(LOBE_LEAST, LOBE_SHARE * np.ptp(values, axis=-1))[..., None]
    inside = ~np.isnan(away)
    up = _without_ramp(values >= least, values, inside, margin)
    down = _without_ramp(values <= -least, -values, inside, margin)
    steps = np.arange(values.shape[-1])
    first_up = np.where(up.any(axis=-1), up.argmax(axis=-1), values.shape[-1])[..., None]
    r = up & (_next(~up, first_up) > steps) & (steps >= first_up)
    before = down & (steps < first_up)
    s = down & (steps > first_up)
    first_down = np.where(s.any(axis=-1), s.argmax(axis=-1), values.shape[-1])[..., None]
    return before, r, s & (_next(~down, first_down) > steps)


def _without_ramp(
    lobe: NDArray[np.bool_], size: Floats, inside: NDArray[np.bool_], margin: int
) -> NDArray[np.bool_]:  # fmt: skip
    """Leave out the run that reaches the end of QRS still growing: there ST has left the level, that is no lobe."""
    tail = np.logical_and.accumulate((lobe | ~inside)[..., ::-1], axis=-1)[..., ::-1] & inside
    summit = np.where(tail, size, -np.inf).argmax(axis=-1)[..., None]
    grows = summit >= inside.sum(axis=-1, keepdims=True) - 1 - margin
    return lobe & ~(tail & grows)


def _next(broken: NDArray[np.bool_], start: np.ndarray) -> np.ndarray:
    """Return the first step at or after `start` [..., 1] at which `broken` [..., step] is True."""
    steps = np.arange(broken.shape[-1])
    return np.where(broken & (steps >= start), steps, broken.shape[-1]).min(axis=-1, keepdims=True)
