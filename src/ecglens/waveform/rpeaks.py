# SPDX-License-Identifier: Apache-2.0
"""Where the beats are: R peaks from all leads together, or from one lead by Pan and Tompkins' rules.

All leads: each lead is band-passed to 8-25 Hz, its slope's root mean square over 80 ms is divided by the usual height
of its beats nearby, and the leads are averaged, those with a quiet background between beats counting most. Beats are
the maxima of that one trace which stand out from the maxima around them. No lead's gain or polarity matters.

A beat's time is the centre of its QRS energy, which is defined whatever the shape (QS, RSR', a premature beat) and
moves little from beat to beat: see `_locate`. It lies within a few ms of a narrow R wave's summit.

>>> from ecglens import simulate_ecg
>>> simulated = simulate_ecg("sim-00002", "NORM")
>>> beats = detect_r_peaks(simulated.ecg)
>>> len(beats) == len(simulated.beats), bool(abs(beats.times - simulated.beats).max() < 0.02), beats.reason
(True, True, '')
>>> detect_r_peaks(simulated.ecg.select(["II"]), method="pan_tompkins").leads
('II',)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

from ecglens.ecg import ECG
from ecglens.errors import UsageError
from ecglens.preprocessing.scale import bridge_gaps
from ecglens.waveform.pan_tompkins import choose_lead, pan_tompkins

METHODS = ("all_leads", "pan_tompkins")
SHORTEST = 1.0  # s

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Chosen on PTB-XL's folds 1 to 8 and half of MIT-BIH's people; docs/methods/r-peaks.md has the figures of the rest.
_SLOPE_BAND = (8.0, 25.0)  # Hz; P and T waves lie below it, most of muscle noise and mains above
_SLOPE_RATE = 125.0  # Hz, at least, of the trace that beats are found in
_SMOOTHING = 0.08  # s, about a QRS
_REFRACTORY = 0.2  # s in which the ventricles cannot beat again
_WINDOW = 2.0  # s in which a beat is expected
_HALF = 4  # windows on each side whose beats are the usual ones
_CAP = 1.5  # of the usual height: what a lead says at most, so that no artefact shouts the others down
_QUIET = (2.5, 12.0)  # beat over background of a lead that says nothing, and of one that counts in full
_LEAST_WEIGHT = 0.02
_THRESHOLD = 0.45  # of the usual height
_STANDS_OUT = 2.8  # beat over background of the trace; noise alone stays below it
_T_WAVE, _T_SHARE = 0.36, 0.5  # s after a beat, and share of its height, that a T wave does not exceed
_MISSED, _SEARCH_BACK = 1.66, 0.2  # of the usual interval; and the lower threshold used inside longer ones

_QRS_BAND = (8.0, 40.0)  # Hz
_QRS_RATE = 250.0  # Hz, at least, of the trace that beats are located in
_QRS_HALF = 0.08  # s
_PRECORDIAL = ("V1", "V2", "V3", "V4")

_PIECE = 30  # windows worked on at once, so that memory stays flat over a day
_MARGIN = _HALF + 1  # windows beside a piece: those of its running medians, and one for the filter to settle


@dataclass(frozen=True, eq=False)
class RPeaks:
    """The beats of one ECG.

    samples    int64 [beat], index of the sample nearest to the beat, in order
    times      float64 [beat], the same instants in s on the ECG's clock
    certainty  [beat] in 0..1: height over the usual height nearby; 1 for a beat like its neighbours
    method     how they were found
    leads      leads that were used
    reason     why there are none; empty where there are some
    """

    samples: Indices
    times: Floats
    certainty: Floats
    method: str
    leads: tuple[str, ...]
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("samples", "times", "certainty"):
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return int(self.samples.size)


class _Found(NamedTuple):
    """Beats as a method gives them: fractional samples, certainty, and a reason where there are none."""

    samples: Floats
    certainty: Floats
    reason: str


def detect_r_peaks(ecg: ECG, method: str = "all_leads") -> RPeaks:
    """Return the beats of `ecg`: any leads, 50 to 4000 Hz, 1 s to days; gaps hold no beats.

    method   "all_leads", or "pan_tompkins" on one lead: II, else MLII, else the first (Pan and Tompkins 1985)

    Where no beat stands out (flat, gap, noise) there are none, and `reason` says why. Raises UsageError for another
    method.
    """
    if method not in METHODS:
        raise UsageError("detect_r_peaks", "method", method, ", ".join(METHODS))
    leads = ecg.leads if method == "all_leads" else (choose_lead(ecg.leads),)
    reason = _nothing_there(ecg, leads)
    if reason:
        found = _Found(np.empty(0), np.empty(0), reason)
    elif method == "all_leads":
        found = _all_leads(ecg)
    else:
        found = _Found(*pan_tompkins(ecg[leads[0]], ecg.fs))
    samples = np.rint(found.samples).astype(np.int64).clip(0, ecg.n_samples - 1)
    return RPeaks(samples, ecg.start + samples / ecg.fs, found.certainty, method, leads, found.reason)


def _nothing_there(ecg: ECG, leads: tuple[str, ...]) -> str:
    if ecg.duration < SHORTEST:
        return f"shorter than {SHORTEST:g} s"
    rows = [ecg[name] for name in leads]
    ranges = [float(np.ptp(row[~np.isnan(row)])) for row in rows if not np.isnan(row).all()]
    if not ranges:
        return "all samples are missing"
    return "" if max(ranges) > 0 else "flat"


# ----------------------------------------------------------------------------------------------------------- all leads


def _all_leads(ecg: ECG) -> _Found:
    step = max(int(ecg.fs // _SLOPE_RATE), 1)
    trace, fs = _trace(ecg, step), ecg.fs / step
    edges = _edges(trace.size, fs)
    height = np.fmax.reduceat(trace, edges[:-1])
    height[~(height > 0)] = np.nan
    usual = _running_median(height)
    quiet = _running_median(_window_medians(trace[None], edges)[0])
    stands_out = np.divide(usual, quiet, out=np.zeros_like(usual), where=quiet > 0)
    stands_out[(usual > 0) & ~(quiet > 0)] = np.inf
    per_sample = np.repeat(usual * (stands_out >= _STANDS_OUT), np.diff(edges))
    if not per_sample.any():
        return _Found(np.empty(0), np.empty(0), f"no beat stands out from the noise ({stands_out.max():.1f} times it, "
                      f"{_STANDS_OUT:g} needed)")  # fmt: skip
    beats, share = _choose(trace, per_sample, fs)
    if not beats.size:
        return _Found(np.empty(0), np.empty(0), "no beat stands out from its surroundings")
    samples = _locate(ecg, beats.astype(np.float64) * step + (step - 1) / 2)
    kept = np.concatenate([[True], np.diff(samples) > _REFRACTORY / 2 * ecg.fs])  # two that came to lie on one QRS
    return _Found(samples[kept], np.minimum(share[kept], 1.0), "")


def _choose(trace: Floats, usual: Floats, fs: float) -> tuple[Indices, Floats]:
    """Return the beats, as indices into `trace` [time], and their height over the usual one."""
    peaks, _ = find_peaks(trace, distance=max(round(_REFRACTORY * fs), 1))
    peaks = peaks[usual[peaks] > 0]
    share = trace[peaks] / usual[peaks]
    chosen = share >= _THRESHOLD
    _drop_t_waves(peaks, share, chosen, fs)
    _search_back(peaks, share, chosen, fs)
    return peaks[chosen].astype(np.int64), share[chosen]


def _drop_t_waves(peaks: Indices, share: Floats, chosen: NDArray[np.bool_], fs: float) -> None:
    last = -1
    for i in np.flatnonzero(chosen):
        if last >= 0 and peaks[i] - peaks[last] < _T_WAVE * fs and share[i] < _T_SHARE * share[last]:
            chosen[i] = False
        else:
            last = int(i)


def _search_back(peaks: Indices, share: Floats, chosen: NDArray[np.bool_], fs: float) -> None:
    """Take the highest maximum above the lower threshold in each interval that is too long for its neighbours."""
    beats = np.flatnonzero(chosen)
    intervals = np.diff(peaks[beats]).astype(np.float64)
    if intervals.size < 3:
        return
    usual = _running_median(intervals)
    for k in np.flatnonzero(intervals > _MISSED * usual):
        between = np.arange(beats[k] + 1, beats[k + 1])
        apart = np.minimum(peaks[between] - peaks[beats[k]], peaks[beats[k + 1]] - peaks[between])
        between = between[(apart > _T_WAVE * fs) & (share[between] >= _SEARCH_BACK)]
        if between.size:
            chosen[between[np.argmax(share[between])]] = True


# ----------------------------------------------------------------------------------------- one trace out of many leads


def _trace(ecg: ECG, step: int) -> Floats:
    """Return how much the leads together look like QRS [time at fs / step], about 1 at a usual beat; 0 in gaps."""
    n, fs = ecg.n_samples // step, ecg.fs / step
    edges = _edges(n, fs)
    out = np.empty(n)
    for first in range(0, edges.size - 1, _PIECE):
        last = min(first + _PIECE, edges.size - 1)
        a, b = max(first - _MARGIN, 0), min(last + _MARGIN, edges.size - 1)
        signal = ecg.signal[:, edges[a] * step : edges[b] * step]
        piece = _combine(_slopes(signal, fs, step), edges[a : b + 1] - edges[a])
        out[edges[first] : edges[last]] = piece[edges[first] - edges[a] : edges[last] - edges[a]]
    return out


def _slopes(signal: np.ndarray, fs: float, step: int) -> Floats:
    """Return the RMS slope in the QRS band [lead, time / step]; NaN in gaps and where a lead is flat."""
    values, gaps = _decimate(signal, step)
    slope = np.gradient(_band_pass(values, _SLOPE_BAND, fs), axis=-1)
    width = max(round(_SMOOTHING * fs) // 2 * 2 + 1, 3)
    power = np.cumsum(np.pad(slope**2, ((0, 0), (width // 2 + 1, width // 2))), axis=-1)
    out = np.sqrt(np.maximum(power[:, width:] - power[:, :-width], 0.0))
    out[out <= 1e-6 * np.abs(values).max(axis=-1, keepdims=True)] = np.nan  # what a filter leaves of a flat stretch
    if gaps is not None:
        out[gaps] = np.nan
    return out


def _combine(slopes: Floats, edges: Indices) -> Floats:
    """Return the weighted mean over leads of `slopes` [lead, time], each over its usual height nearby."""
    usual = _running_median(np.fmax.reduceat(slopes, edges[:-1], axis=-1))
    quiet = _running_median(_window_medians(slopes, edges))
    clear = np.divide(usual, quiet, out=np.zeros_like(usual), where=quiet > 0)
    weight = np.clip((clear - _QUIET[0]) / (_QUIET[1] - _QUIET[0]), _LEAST_WEIGHT, 1.0) * (usual > 0)
    inverse = np.divide(1.0, usual, out=np.zeros_like(usual), where=usual > 0)
    lengths = np.diff(edges)
    heights = np.minimum(slopes * np.repeat(inverse, lengths, axis=-1), _CAP)
    weights = np.repeat(weight, lengths, axis=-1)
    missing = np.isnan(slopes)
    if missing.any():
        heights[missing] = weights[missing] = 0.0
    total = weights.sum(axis=0)
    return np.divide((heights * weights).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)


# ------------------------------------------------------------------------------------------------------- where exactly


def _locate(ecg: ECG, beats: Floats) -> Floats:
    """Return the centre of QRS energy near each of `beats` (fractional samples), in order.

    Energy: the squares of the leads in 8-40 Hz, added up over V1 to V4 where there are two of them or more, else over
    all leads. The mean of time weighted by it within 80 ms is taken three times, each from where the last one led.
    """
    chest = [i for i, name in enumerate(ecg.leads) if name in _PRECORDIAL and np.isfinite(ecg.signal[i]).any()]
    rows = chest if len(chest) > 1 else list(range(len(ecg.leads)))
    step = max(int(ecg.fs // _QRS_RATE), 1)
    fs, length = ecg.fs / step, round(_PIECE * _WINDOW * ecg.fs / step) * step
    margin = round(fs) * step
    out = np.empty(beats.size)
    for start in range(0, ecg.n_samples, length):
        here = (beats >= start) & (beats < start + length)
        if not here.any():
            continue
        first = max(start - margin, 0)
        last = min(start + length + margin, ecg.n_samples // step * step)
        energy = _energy(ecg.signal[rows, first:last], fs, step)
        where = _centre(energy, (beats[here] - first - (step - 1) / 2) / step, round(_QRS_HALF * fs))
        out[here] = where * step + (step - 1) / 2 + first
    return np.sort(out)


def _energy(signal: np.ndarray, fs: float, step: int) -> Floats:
    values, gaps = _decimate(signal, step)
    squares = _band_pass(values, _QRS_BAND, fs) ** 2
    if gaps is not None:
        squares[gaps] = 0.0
    return squares.sum(axis=0)


def _centre(energy: Floats, beats: Floats, half: int) -> Floats:
    """Return the mean of time weighted by `energy` [time] within `half` samples of `beats`, three times over."""
    around = np.arange(-half, half + 1)
    padded = np.pad(energy, half)
    for _ in range(3):
        middle = np.rint(beats).astype(np.int64).clip(0, energy.size - 1)
        weights = padded[middle[:, None] + around + half]
        total = weights.sum(axis=1)
        moved = np.divide(weights @ around, total, out=np.zeros_like(total), where=total > 0)
        beats = middle + moved
    return beats


# -------------------------------------------------------------------------------------------------------------- pieces


def _decimate(signal: np.ndarray, step: int) -> tuple[Floats, NDArray[np.bool_] | None]:
    """Return float64 means over `step` samples [lead, time / step], gaps bridged, and where gaps were (None: nowhere).

    Each lead starts at 0, so that a flat lead is exactly 0 whatever its offset.
    """
    missing = np.isnan(signal)
    gaps = None
    if missing.any():
        gaps = missing.reshape(len(signal), -1, step).any(axis=-1)
        signal = np.nan_to_num(bridge_gaps(signal))
    values = signal.astype(np.float64) - signal[:, :1]
    return (values.reshape(len(values), -1, step).mean(axis=-1) if step > 1 else values), gaps


def _band_pass(values: Floats, band: tuple[float, float], fs: float) -> Floats:
    """Filter `values` [lead, time] forwards and backwards; each end is continued for up to 1 s, to settle there."""
    padding = min(round(fs), values.shape[-1] - 1)
    return sosfiltfilt(_sections(band, fs), values, axis=-1, padlen=padding)


@lru_cache(maxsize=32)
def _sections(band: tuple[float, float], fs: float) -> Floats:
    """Return a Butterworth band-pass of order 2 (run both ways: 4); slow rates keep what lies below 0.4 fs."""
    return butter(2, [band[0], min(band[1], 0.4 * fs)], "bandpass", fs=fs, output="sos")


def _edges(n: int, fs: float) -> Indices:
    """Return the edges of windows of 2 s; the last one takes the rest."""
    width = round(_WINDOW * fs)
    return np.append(np.arange(max(n // width, 1)) * width, n)


def _window_medians(values: Floats, edges: Indices) -> Floats:
    """Return the median over each window of `values` [row, time] as [row, window]; NaN where all is NaN."""
    return np.stack([_median(values[:, a:b]) for a, b in pairwise(edges)], axis=-1)


def _running_median(values: Floats) -> Floats:
    """Return the median of `values` [..., n] over 4 neighbours on each side (all of up to 9); 0 where there is none."""
    n = values.shape[-1]
    if n <= 2 * _HALF + 1:
        return np.nan_to_num(np.repeat(_median(values)[..., None], n, axis=-1))
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(_HALF, _HALF)], constant_values=np.nan)
    return np.nan_to_num(_median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _HALF + 1, axis=-1)))


def _median(values: Floats) -> Floats:
    """Return the median over the last axis without NaN; NaN where all is NaN (numpy's would warn, and is slow)."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(ordered)).sum(axis=-1, keepdims=True)
    last = ordered.shape[-1] - 1
    below = np.take_along_axis(ordered, ((count - 1) // 2).clip(0), axis=-1)
    above = np.take_along_axis(ordered, (count // 2).clip(0, last), axis=-1)
    return ((below + above) / 2)[..., 0]
