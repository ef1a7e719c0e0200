# SPDX-License-Identifier: Apache-2.0
"""Mean beats of windows, at the times where a beat of 75 a minute has them.

Two recordings of one person differ in heart rate, in noise and in where the beats of a window lie, and none of that is
the person. So each beat is cut out around the centre of its QRS (where the squared slope has its mean: R and S change
places with the electrodes, the complex does not), what follows 60 ms behind is stretched by the root of the interval
between beats (Bazett 1920: T comes later in slow hearts), and three beats are averaged by their median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG
from ecglens.privacy.windows import Windowed
from ecglens.waveform.rpeaks import detect_r_peaks

BEFORE, AFTER = 79, 129  # samples at 250 Hz around the centre of a QRS: a beat of 200, and four to spare on each side
_AVERAGED = 3
_STRETCHED_FROM = 0.06  # s behind the centre of the QRS
_USUAL = 0.8  # s between the beats of a heart at 75 a minute
_REACH = 20  # samples on each side of a peak in which its QRS lies


@dataclass(frozen=True, eq=False)
class Beats:
    """Mean beats: float32 [beat, 1, time], and the number of the window each is from [beat], rising."""

    signal: NDArray[np.float32]
    window: NDArray[np.int64]


def mean_beats(windowed: Windowed) -> Beats:
    """Return the mean beats of each window, one at least.

    Where the windows keep no amplitudes the beats keep none either: those of a window have a standard deviation of 1.
    """
    scaled = bool(windowed.preparation.window_steps)
    found = [_of_window(signal[0].astype(np.float64), windowed.fs, scaled) for signal in windowed.seen()]
    numbers = np.repeat(np.arange(len(found)), [len(beats) for beats in found])
    return Beats(np.concatenate(found)[:, None].astype(np.float32), numbers.astype(np.int64))


def _of_window(signal: np.ndarray, fs: float, scaled: bool) -> np.ndarray:
    """Return the mean beats of `signal` [time] as [beat, time]; where no R peak is found, what is around the middle."""
    peaks = detect_r_peaks(ECG(signal[None].astype(np.float32), fs, ("I",), "window"), "pan_tompkins").samples
    centres = _centres(signal, peaks) if len(peaks) else np.array([len(signal) / 2])
    interval = float(np.median(np.diff(peaks))) / fs if len(peaks) > 1 else _USUAL
    offsets = np.arange(-BEFORE, AFTER) / fs
    stretch = np.sqrt(interval / _USUAL)
    offsets = np.where(offsets > _STRETCHED_FROM, _STRETCHED_FROM + (offsets - _STRETCHED_FROM) * stretch, offsets)
    at = centres[:, None] + offsets * fs
    whole = (at[:, 0] >= 0) & (at[:, -1] <= len(signal) - 1)
    at = at[whole] if whole.any() else at[:1]  # a window begins before an R peak: what is missing is its first value
    beats = np.interp(at, np.arange(len(signal)), signal)
    beats -= np.median(beats, axis=1, keepdims=True)
    parts = [beats[i : i + _AVERAGED] for i in range(0, len(beats) - _AVERAGED + 1, _AVERAGED)] or [beats]
    means = np.stack([np.median(part, axis=0) for part in parts])
    return means / max(float(means.std()), 1e-6) if scaled else means


def _centres(signal: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Return the mean time of the squared slope around each peak, looked for twice, in samples."""
    energy = np.diff(signal, prepend=signal[0]) ** 2
    samples = np.arange(len(signal))
    centres = np.asarray(peaks, np.float64)
    for _ in range(2):
        near = np.abs(samples - np.rint(centres)[:, None]) <= _REACH
        weights = near * energy
        centres = (weights * samples).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12)
    return centres
