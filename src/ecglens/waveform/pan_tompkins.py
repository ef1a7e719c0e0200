# SPDX-License-Identifier: Apache-2.0
"""Beats of one lead by the rules of Pan and Tompkins, IEEE Trans Biomed Eng 32 (1985) 230-236.

Band-pass, derivative, square, mean over 150 ms; two running thresholds between signal and noise peaks, search-back
after 166 % of the average interval, T waves told by their slope within 360 ms. Their integer filters for 200 Hz are
replaced by a zero-phase Butterworth band-pass of 5-15 Hz, so that any rate can be used and nothing is delayed.
The rules have no notion of a recording without beats: on noise alone they find some. Use all leads where that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

from ecglens.preprocessing.scale import bridge_gaps

Floats = NDArray[np.float64]

_BAND = (5.0, 15.0)  # Hz
_RATE = 200.0  # Hz, at least, after averaging neighbouring samples
_INTEGRATION, _REFRACTORY, _T_WAVE = 0.15, 0.2, 0.36  # s
_LEARNING = 2.0  # s at the start that set the thresholds


def choose_lead(leads: Sequence[str]) -> str:
    """Return II, else MLII, else the first lead."""
    return next((name for name in ("II", "MLII") if name in leads), leads[0])


def pan_tompkins(signal: np.ndarray, fs: float) -> tuple[Floats, Floats, str]:
    """Return beats of `signal` [time] as samples, certainty in 0..1, and a reason where there are none."""
    step = max(int(fs // _RATE), 1)
    n = signal.size // step * step
    values = np.nan_to_num(bridge_gaps(signal[None, :n]))[0].astype(np.float64)
    values = (values - values[0]).reshape(-1, step).mean(axis=1)
    rate = fs / step
    filtered = sosfiltfilt(
        butter(1, [_BAND[0], min(_BAND[1], 0.4 * rate)], "bandpass", fs=rate, output="sos"),
        values,
        padlen=min(round(rate), values.size - 1),
    )
    filtered[np.abs(filtered) <= 1e-6 * np.abs(values).max()] = 0.0  # what a filter leaves of a flat stretch
    slope = np.gradient(filtered)
    width = max(round(_INTEGRATION * rate) // 2 * 2 + 1, 3)
    power = np.cumsum(np.pad(slope**2, (width // 2 + 1, width // 2)))
    integrated = np.maximum(power[width:] - power[:-width], 0.0) / width
    peaks, _ = find_peaks(integrated, distance=max(round(_REFRACTORY * rate), 1))
    gap = np.isnan(signal[:n]).reshape(-1, step).any(axis=1)
    beats, certainty = _Thresholds(integrated, np.abs(filtered), np.abs(slope), rate).run(peaks[~gap[peaks]])
    if not beats.size:
        return np.empty(0), np.empty(0), "no peak above the thresholds"
    return beats * step + (step - 1) / 2, certainty, ""


@dataclass
class _Thresholds:
    """Running levels of signal and noise peaks, in the integrated and in the filtered trace [time]."""

    integrated: Floats
    filtered: Floats
    slope: Floats
    fs: float
    beats: list[tuple[int, float]] = field(default_factory=list)  # position in the integrated trace, certainty
    skipped: list[int] = field(default_factory=list)  # since the last beat, for the search back

    def __post_init__(self) -> None:
        start = slice(0, round(_LEARNING * self.fs))
        self.levels = [
            [float(x[start].max()) / 3, float(x[start].mean()) / 2] for x in (self.integrated, self.filtered)
        ]

    def run(self, peaks: NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Return where in the filtered trace the beats are, and how far above the threshold."""
        for peak in map(int, peaks):
            self._search_back(peak)
            heights = self._heights(peak)
            above = all(h > self._threshold(i) for i, h in enumerate(heights))
            if above and not self._is_t_wave(peak):
                self._accept(peak, 0.125)
            else:
                self.skipped.append(peak)
                for level, height in zip(self.levels, heights, strict=True):
                    level[1] += 0.125 * (height - level[1])
        found = np.array([int(np.argmax(self._around(self.filtered, p))) + self._left(p) for p, _ in self.beats], float)
        return found, np.array([certainty for _, certainty in self.beats], float)

    def _threshold(self, i: int) -> float:
        signal, noise = self.levels[i]
        return noise + 0.25 * (signal - noise)

    def _left(self, peak: int) -> int:
        return max(peak - round(_INTEGRATION / 2 * self.fs), 0)

    def _around(self, trace: Floats, peak: int) -> Floats:
        return trace[self._left(peak) : peak + round(_INTEGRATION / 2 * self.fs) + 1]

    def _heights(self, peak: int) -> tuple[float, float]:
        return float(self.integrated[peak]), float(self._around(self.filtered, peak).max())

    def _accept(self, peak: int, share: float) -> None:
        heights = self._heights(peak)
        certainty = min(heights[0] / self.levels[0][0], 1.0) if self.levels[0][0] > 0 else 1.0
        for level, height in zip(self.levels, heights, strict=True):
            level[0] += share * (height - level[0])
        self.beats.append((peak, certainty))
        self.skipped.clear()

    def _is_t_wave(self, peak: int) -> bool:
        if not self.beats or peak - self.beats[-1][0] >= _T_WAVE * self.fs:
            return False
        steepest, before = (float(self._around(self.slope, p).max()) for p in (peak, self.beats[-1][0]))
        return steepest < before / 2

    def _search_back(self, peak: int) -> None:
        recent = [p for p, _ in self.beats[-9:]]
        if len(recent) < 3 or peak - recent[-1] <= 1.66 * float(np.mean(np.diff(recent))):
            return
        usable = [
            p for p in self.skipped
            if p - recent[-1] >= _T_WAVE * self.fs
            and all(h > self._threshold(i) / 2 for i, h in enumerate(self._heights(p)))
        ]  # fmt: skip
        if usable:
            self._accept(max(usable, key=lambda p: self.integrated[p]), 0.25)
