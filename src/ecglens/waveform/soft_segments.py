# SPDX-License-Identifier: Apache-2.0
"""The 24 segments of a real ECG, as probabilities: from the delineator's marks and from how sharply it sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.segments import segment_probabilities
from ecglens.waveform.delineate import marks_from_map
from ecglens.waveform.wave_map import WaveMap, map_waves

SEGMENT_RATE = 100.0  # Hz, of the published soft segmentations of PTB-XL

_SIDE = 0.008  # s on each side of a mark over which the slope of its probability is taken
_WIDEST = 0.06  # s
_PEAK = 0.004  # s: peaks are read from the signal


def map_segments(ecg: ECG, fs: float | None = None) -> NDArray[np.float32]:
    """Return how probable each of `ecglens.segments.SEGMENTS` is: float32 [lead, time, 24], summing to one.

    fs   rate of the result, in Hz; None: that of the ECG. Sample i lies at start + i / fs

    All 0 in a lead without marks. An hour of 12 leads at 500 Hz takes 2 GB: crop it, or ask for a lower rate.
    """
    return segments_from_map(ecg, map_waves(ecg), fs)


def segments_from_map(ecg: ECG, wave_map: WaveMap, fs: float | None = None) -> NDArray[np.float32]:
    """Return the same from a soft map that is there already."""
    marks = marks_from_map(ecg, wave_map)
    rate = ecg.fs if fs is None else fs
    times = ecg.start + np.arange(int(np.ceil(ecg.duration * rate - 1e-6))) / rate
    return segment_probabilities(marks, times, mark_deviations(wave_map, marks))


def mark_deviations(wave_map: WaveMap, marks: Fiducials) -> NDArray[np.float64]:
    """Return the standard deviation of each mark, in s [lead, beat, mark]; NaN where a mark is absent.

    Near an onset the probability of the wave is that of the onset lying before: a normal distribution whose density,
    the slope at the mark, is 1 / (s sqrt(2 pi)).
    """
    out = np.where(np.isnan(marks.times), np.nan, _PEAK)
    for wave in WAVES:
        p = wave_map.probability[:, wave_map.classes.index(wave)]
        for side in ("onset", "offset"):
            column = MARKS.index(f"{wave}_{side}")
            at = (np.nan_to_num(marks.times[:, :, column]) - wave_map.start) * wave_map.fs
            width = _SIDE * wave_map.fs
            rise = np.abs(_value(p, at + width) - _value(p, at - width)) / (2 * _SIDE)
            deviation = np.minimum(1.0 / np.maximum(rise * np.sqrt(2 * np.pi), 1e-9), _WIDEST)
            out[:, :, column] = np.where(np.isnan(marks.times[:, :, column]), np.nan, deviation)
    return out


def _value(p: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return `p` [lead, time] at fractional samples `at` [lead, beat]."""
    low = np.floor(at).astype(int)
    last = p.shape[1] - 1
    share = at - low
    rows = np.arange(len(p))[:, None]
    return p[rows, low.clip(0, last)] * (1 - share) + p[rows, (low + 1).clip(0, last)] * share
