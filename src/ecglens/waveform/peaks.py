# SPDX-License-Identifier: Apache-2.0
"""Peaks between the onset and the offset of waves: of P and T the farthest point from the line between both ends, of
QRS its lobes. R is the first positive lobe, Q the deepest negative lobe before it, S the first negative lobe after
it; a complex without a positive lobe (QS) has its lowest point as Q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG

Floats = NDArray[np.float64]

LOBE_LEAST, LOBE_SHARE = 0.02, 0.06  # mV, and of the complex's range: what is smaller is no lobe
_P, _Q, _R, _S, _T = 1, 4, 5, 6, 9  # columns of Fiducials


def mark_peaks(ecg: ECG, times: Floats, certainty: Floats, fs: float) -> None:
    """Fill in the peaks in `times` [lead, beat, mark], in samples at `fs` from the ECG's first; NaN stays NaN."""
    for onset, peak, offset in ((0, _P, 2), (8, _T, 10)):
        away, at = _stretches(ecg, times[..., onset], times[..., offset], fs)
        _set(times, certainty, peak, onset, _summit(np.abs(away), at, away > -1))
    away, at = _stretches(ecg, times[..., 3], times[..., 7], fs)
    for column, lobe in zip((_Q, _R, _S), _lobes(away), strict=True):
        _set(times, certainty, column, 3, _summit(np.abs(away), at, lobe))
    times[..., _Q : _S + 1] = np.clip(times[..., _Q : _S + 1], times[..., 3:4], times[..., 7:8])


def _set(times: Floats, certainty: Floats, column: int, onset: int, found: Floats) -> None:
    times[..., column] = found
    certainty[..., column] = np.where(np.isnan(found), np.nan, certainty[..., onset])


def _stretches(ecg: ECG, onset: Floats, offset: Floats, fs: float) -> tuple[Floats, Floats]:
    """Return the signal from onset to offset over the line between both [lead, beat, step], in mV, and its times.

    Beyond the offset, in gaps and where there is no wave it is NaN. Steps of 2 ms at most, or one sample.
    """
    scale = ecg.fs / fs
    first, last = np.ceil(onset * scale), np.floor(offset * scale)
    width = int(np.nanmax(last - first, initial=0)) + 1
    stride = max(int(ecg.fs // 500), 1)
    steps = np.arange(0, width, stride)
    start = np.nan_to_num(first).astype(int)
    index = (start[..., None] + steps).clip(0, ecg.n_samples - 1)
    rows = np.arange(len(ecg.leads))[:, None, None]
    values = ecg.signal[rows, index].astype(np.float64)
    end = np.nan_to_num(last).astype(int).clip(0, ecg.n_samples - 1)
    left, right = values[..., :1], ecg.signal[rows[..., 0], end].astype(np.float64)[..., None]
    span = np.maximum(last - first, 1)[..., None]
    away = values - left - (right - left) * (steps / span)
    inside = steps <= (last - first)[..., None]  # NaN compares as outside
    return np.where(inside, away, np.nan), index / scale


def _summit(size: Floats, at: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """Return where `size` [..., step] is largest among the allowed steps; NaN where none is."""
    usable = allowed & ~np.isnan(size)
    best = np.where(usable, size, -1.0).argmax(axis=-1)[..., None]
    return np.where(usable.any(axis=-1), np.take_along_axis(at, best, axis=-1)[..., 0], np.nan)


def _lobes(away: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where in each complex [..., step] its Q, R and S are."""
    values = np.nan_to_num(away)
    least = np.maximum(LOBE_LEAST, LOBE_SHARE * np.ptp(values, axis=-1))[..., None]
    up, down = values >= least, values <= -least
    steps = np.arange(values.shape[-1])
    first_up = np.where(up.any(axis=-1), up.argmax(axis=-1), values.shape[-1])[..., None]
    r = up & (_next(~up, first_up) > steps) & (steps >= first_up)
    before = down & (steps < first_up)
    s = down & (steps > first_up)
    first_down = np.where(s.any(axis=-1), s.argmax(axis=-1), values.shape[-1])[..., None]
    return before, r, s & (_next(~down, first_down) > steps)


def _next(broken: NDArray[np.bool_], start: np.ndarray) -> np.ndarray:
    """Return the first step at or after `start` [..., 1] at which `broken` [..., step] is True."""
    steps = np.arange(broken.shape[-1])
    return np.where(broken & (steps >= start), steps, broken.shape[-1]).min(axis=-1, keepdims=True)
