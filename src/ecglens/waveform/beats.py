# SPDX-License-Identifier: Apache-2.0
"""From the marked beats of a recording to one median beat: aligned, odd and early beats left out and counted.

Beats are aligned by the shape of their QRS over all leads together. A beat is *odd* where its QRS has another shape
or size than most (a ventricular beat among conducted ones, an artefact), *early* where it comes after less than 0.8
of the usual interval in a rhythm that is regular otherwise. The level just before the QRS of each beat is 0, and a
straight line between these levels is the baseline: wander goes, the ST segment stays. The median over beats is taken
sample by sample; marks become their medians relative to the beat.

Beside it stand the median beats with a fifth of the beats left out each time (a delete-a-group jackknife, Shao and Tu
1995, The Jackknife and Bootstrap, section 2.3): whatever is measured on a median beat is measured on these
too, and their spread is its standard error.

>>> from ecglens import simulate_ecg
>>> made = simulate_ecg("sim-00001", "NORM")
>>> times = np.full((12, len(made.beats), len(MARKS)), np.nan)
>>> times[:, :, [3, 5, 7]] = made.beats[:, None] + np.array([-0.045, 0.0, 0.045])  # onset, R and offset of QRS
>>> absent = {(lead, None, wave): "not marked" for lead in made.ecg.leads for wave in ("P", "T")}
>>> usual = median_beats(made.ecg, Fiducials(times, made.ecg.leads, "planted", absent=absent))
>>> usual.signal.shape[:2], len(usual.used) == len(made.beats)
((6, 12), True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.preprocessing.scale import bridge_gaps
from ecglens.runs.draws import evenly

Floats = NDArray[np.float64]

MOST_BEATS = 300  # of a long recording, spread evenly: more would not make a median beat better
GROUPS = 5  # of beats, one left out at a time, to see how far a measurement moves

_FINE, _COARSE = 500.0, 1000.0  # Hz; the median beat lies on a grid between these
_QRS_HALF = 0.12  # s on either side of a beat's time that its shape is compared in
_SHIFT = 0.024  # s by which a mark of R may be moved to align a beat
_ALIKE, _TWICE = 0.85, 2.0  # least correlation with the usual QRS, and largest ratio of their sizes
_EARLY, _MOST_EARLY = 0.8, 1 / 3  # of the usual interval; of the beats, beyond which the rhythm is irregular
_CONFIRM = 3  # leads that must confirm an outermost mark
_LEVEL = (-0.024, -0.004)  # s before the QRS, where the level is taken
_BEFORE, _AFTER, _MARGIN = 0.6, 0.9, 0.04  # s: farthest ends of a median beat; what is kept beside its outer marks
_COLUMN = {mark: k for k, mark in enumerate(MARKS)}
_QRS = [_COLUMN[mark] for mark in WAVES["QRS"]]


@dataclass(frozen=True, eq=False)
class MedianBeats:
    """The median beat, and those with one group of beats left out: row 0 is the median of all used beats.

    signal   float64 [1 + group, lead, time], in mV; the level before the QRS is 0; NaN where a lead has no beat
    marks    float64 [1 + group, lead, mark], in s from the beat's time; NaN where half of the beats or more have none
    fs       Hz, of `signal`
    start    of its first sample, in s from the beat's time
    leads    names
    noise    standard error of a sample of the median beat [lead], in mV: how far the beats scatter
    n_beats  beats behind each lead's median [lead]
    times    of all marked beats, in s on the ECG's clock [beat], aligned where they are used
    why_not  reason for which a beat is not used, empty where it is [beat]
    """

    signal: Floats
    marks: Floats
    fs: float
    start: float
    leads: tuple[str, ...]
    noise: Floats
    n_beats: NDArray[np.int64]
    times: Floats
    why_not: tuple[str, ...]

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which beats are behind the medians [beat]."""
        return np.array([not reason for reason in self.why_not], bool)


def beat_times(fiducials: Fiducials) -> Floats:
    """Return the time of each beat in s [beat]: its R peak, the median over leads; NaN where no QRS is marked."""
    if 0 in fiducials.times.shape:
        return np.full(fiducials.n_beats, np.nan)
    r = median(fiducials.times[:, :, _COLUMN["R_peak"]])
    return np.where(np.isnan(r), median(median(fiducials.times[:, :, _QRS], axis=2)), r)


def median_beats(ecg: ECG, fiducials: Fiducials) -> MedianBeats | str:
    """Return the median beat of the leads that are both in `ecg` and marked, or why there is none."""
    leads = tuple(lead for lead in ecg.leads if lead in fiducials.leads)
    times = beat_times(fiducials)
    if not leads or not np.isfinite(times).any():
        return "no beat is marked" if leads else "none of the leads is marked"
    marks = fiducials.times[[fiducials.leads.index(lead) for lead in leads]].transpose(1, 0, 2)  # [beat, lead, mark]
    if np.isnan(marks[:, :, _COLUMN["QRS_onset"]]).all():
        return "the onset of QRS is not marked"
    why_not = np.full(times.size, "", dtype=object)
    why_not[np.isnan(times)] = "no QRS is marked"
    _spread(why_not)
    chosen = np.flatnonzero(why_not == "")
    extent = _extent(marks - times[:, None, None])
    stack, fs, reach = _cut(ecg, leads, times[chosen], extent)
    shift, fault = _align(stack, round(extent[0] * fs) - reach, fs)
    moved = times.copy()
    moved[chosen] += shift / fs
    why_not[chosen] = fault
    why_not[_early(moved, why_not)] = "early"
    used = why_not[chosen] == ""
    if not used.any():
        return f"no beat can be used ({', '.join(sorted(set(why_not.tolist())))})"
    n_time = stack.shape[2] - 2 * reach
    at = (reach + shift[used])[:, None] + np.arange(n_time)
    beats = np.take_along_axis(stack[used], at[:, None, :], axis=2).astype(np.float64)
    relative = (marks - moved[:, None, None])[chosen[used]]
    _level(beats, relative, moved[chosen[used]], extent[0], fs)
    return _medians(beats, relative, MedianBeats(
        beats[:1], relative[:1], fs, extent[0], leads, np.empty(0), np.empty(0, np.int64), moved,
        tuple(why_not.tolist()),
    ))  # fmt: skip


def median(values: np.ndarray, axis: int = 0) -> Floats:
    """Return the median of `values` along an axis, NaN passed over; NaN where there is nothing else."""
    ordered = np.sort(values, axis=axis)  # NaN last
    if not np.isnan(ordered.take(-1, axis=axis)).any():
        half = (ordered.shape[axis] - 1) // 2
        return (ordered.take(half, axis=axis) + ordered.take(ordered.shape[axis] // 2, axis=axis)) / 2
    count = np.count_nonzero(~np.isnan(ordered), axis=axis, keepdims=True)
    below = np.take_along_axis(ordered, ((count - 1) // 2).clip(0), axis=axis)
    above = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[axis] - 1), axis=axis)
    return np.squeeze((below + above) / 2, axis=axis).astype(np.float64)


def agreed(marks: Floats, within: float, latest: bool = False) -> Floats:
    """Return the global mark [...] of `marks` [..., lead]: the earliest one that three other leads confirm.

    within  how close, in s, the next three must follow (Laguna, Jané, Caminal 1994, Comput Biomed Res 27:45); `latest`
            turns time around. With up to three marked leads it is the outermost mark, where nothing agrees the median.
    """
    ordered = np.sort(-marks if latest else marks, axis=-1)
    first = ordered[..., 0]
    if marks.shape[-1] > _CONFIRM:
        confirmed = ordered[..., _CONFIRM:] - ordered[..., :-_CONFIRM] <= within + 1e-9
        found = np.take_along_axis(ordered, confirmed.argmax(axis=-1)[..., None], axis=-1)[..., 0]
        middle = median(ordered, axis=-1)
        many = np.isfinite(ordered[..., _CONFIRM])
        first = np.where(many, np.where(confirmed.any(axis=-1), found, middle), first)
    return -first if latest else first


# ------------------------------------------------------------------------------------------------------- which, where


def _spread(why_not: np.ndarray) -> None:
    """Of too many beats leave some evenly spread ones."""
    there = np.flatnonzero(why_not == "")
    if there.size > MOST_BEATS:
        keep = there[evenly(there.size, MOST_BEATS)]
        why_not[np.setdiff1d(there, keep)] = f"not looked at: {MOST_BEATS} of more beats, spread evenly, are enough"


def _extent(relative: Floats) -> tuple[float, float]:
    """Return where a median beat begins and ends, in s from the beat's time: outside its outermost marks."""
    usual = median(relative)
    first = np.nanmin(usual[:, : _COLUMN["QRS_onset"] + 1], initial=-_QRS_HALF)
    last = np.nanmax(usual[:, _COLUMN["QRS_offset"] :], initial=2 * _QRS_HALF)
    return float(max(first - _MARGIN, -_BEFORE)), float(min(last + _MARGIN, _AFTER))


def _cut(ecg: ECG, leads: tuple[str, ...], times: Floats, extent: tuple[float, float]) -> tuple[np.ndarray, float, int]:
    """Return the beats [beat, lead, time] with `reach` more samples on either side, their rate in Hz, and `reach`.

    Sampling rates below 500 Hz are interpolated, so that beats can be aligned; above 1,000 Hz samples are averaged.
    """
    signal = ecg.signal[[ecg.leads.index(lead) for lead in leads]]
    up, down = max(int(np.ceil(_FINE / ecg.fs - 1e-9)), 1), max(int(ecg.fs // _COARSE), 1)
    fs = ecg.fs * up / down
    reach = int(np.ceil(_SHIFT * fs)) + 1
    margin = 12  # samples at each end that the interpolation may spoil
    first, n = round(extent[0] * fs) - reach, round((extent[1] - extent[0]) * fs) + 2 * reach
    exact = (times - ecg.start) * ecg.fs
    begin = np.floor(exact + first * down / up).astype(int) - margin
    length = -(-n * down // up) + 2 * margin + down
    index = begin[:, None] + np.arange(length)
    outside = (index < 0) | (index >= ecg.n_samples)
    windows = signal[:, index.clip(0, ecg.n_samples - 1)].transpose(1, 0, 2).copy()
    windows[np.broadcast_to(outside[:, None, :], windows.shape)] = np.nan
    if up > 1:
        windows = _interpolated(windows, up)
    elif down > 1:
        windows = windows[:, :, : length // down * down].reshape(*windows.shape[:2], -1, down).mean(axis=3)
    begin_fine = np.rint((exact + first * down / up - begin) * up / down).astype(int)
    at = begin_fine[:, None] + np.arange(n)
    return np.take_along_axis(windows, at[:, None, :].clip(0, windows.shape[2] - 1), axis=2), fs, reach


def _interpolated(windows: np.ndarray, up: int) -> np.ndarray:
    gaps = np.isnan(windows)
    if not gaps.any():
        return resample_poly(windows, up, 1, axis=2, padtype="line")
    flat = np.nan_to_num(bridge_gaps(windows.reshape(-1, windows.shape[2])))
    out = resample_poly(flat, up, 1, axis=1, padtype="line").reshape(*windows.shape[:2], -1)
    out[np.repeat(gaps, up, axis=2)] = np.nan
    return out


def _align(stack: np.ndarray, first: int, fs: float) -> tuple[NDArray[np.int64], np.ndarray]:
    """Return by how many samples each beat lies later than its mark [beat], and why it cannot be used, or ""."""
    reach, half = int(np.ceil(_SHIFT * fs)) + 1, round(_QRS_HALF * fs)
    lags = np.arange(-reach + 1, reach)
    middle = -first
    window = np.nan_to_num(stack[:, :, max(middle - half - reach, 0) : middle + half + reach])
    n = window.shape[2] - 2 * reach
    window -= window[:, :, reach : reach + n].mean(axis=2, keepdims=True)
    window /= max(float(np.abs(window).max()), 1e-30)  # no square may overflow, whatever the file said
    # [beat, lag, lead * time]: each beat as it looks from each lag
    seen = np.stack([window[:, :, reach + k : reach + k + n : 2].reshape(len(window), -1) for k in lags], axis=1)
    norms = np.sqrt((seen**2).sum(axis=2))
    template = seen[_medoid(seen[:, len(lags) // 2]), len(lags) // 2]
    for _ in range(2):
        size = float(np.sqrt(template @ template))
        likeness = np.divide(seen @ template, norms * size, out=np.zeros_like(norms), where=norms * size > 0)
        best = likeness.argmax(axis=1)
        rows = np.arange(len(window))
        alike = likeness[rows, best] >= _ALIKE
        ratio = norms[rows, best] / max(size, 1e-12)
        alike &= (ratio < _TWICE) & (ratio > 1 / _TWICE)
        if alike.any():
            template = median(seen[rows[alike], best[alike]])
    fault = np.where(alike, "", "odd QRS").astype(object)
    qrs = stack[:, :, middle - half // 2 : middle + half // 2]
    fault[np.isnan(qrs).any(axis=2).all(axis=1)] = "cut off or in a gap"
    return lags[best].astype(np.int64), fault


def _medoid(beats: Floats) -> int:
    """Return which beat has most others like it."""
    sample = np.linspace(0, len(beats) - 1, min(len(beats), 64)).round().astype(int)
    chosen = beats[sample]
    size = np.sqrt((chosen**2).sum(axis=1, keepdims=True))
    unit = np.divide(chosen, size, out=np.zeros_like(chosen), where=size > 0)
    return int(sample[(np.maximum(unit @ unit.T, 0.0) ** 4).sum(axis=1).argmax()])


def _early(times: Floats, why_not: np.ndarray) -> NDArray[np.bool_]:
    """Tell which usable beats come early, unless so many do that the rhythm is irregular."""
    before = np.diff(times, prepend=np.nan)
    known = np.isfinite(before)
    usual = float(np.median(before[known])) if known.any() else 0.0
    early = (before < _EARLY * usual) & (why_not == "")
    return early if early.sum() <= _MOST_EARLY * max((why_not == "").sum(), 1) else np.zeros_like(early)


# ------------------------------------------------------------------------------------------------- level and medians


def _level(beats: Floats, relative: Floats, times: Floats, start: float, fs: float) -> None:
    """Set the level before each QRS to 0, in place, and take off straight lines between these levels."""
    onset = float(agreed(median(relative)[:, _COLUMN["QRS_onset"]], 0.012))
    first = max(round((onset + _LEVEL[0] - start) * fs), 0)
    last = max(round((onset + _LEVEL[1] - start) * fs), first + 1)
    level = beats[:, :, first:last].mean(axis=2)  # [beat, lead]
    rise = np.nan_to_num(np.diff(level, axis=0) / np.diff(times)[:, None])
    if len(rise) == 0:
        beats -= level[:, :, None]
        return
    before, after = np.concatenate([rise[:1], rise]), np.concatenate([rise, rise[-1:]])
    at = start + np.arange(beats.shape[2]) / fs - (onset + sum(_LEVEL) / 2)
    beats -= level[:, :, None] + before[:, :, None] * np.minimum(at, 0.0) + after[:, :, None] * np.maximum(at, 0.0)


def _medians(beats: Floats, relative: Floats, frame: MedianBeats) -> MedianBeats:
    """Fill in the medians of all beats and of those without one group each."""
    n = len(beats)
    groups = np.arange(n) % GROUPS
    subsets = [np.ones(n, bool), *(groups != g for g in range(min(n, GROUPS)) if n > 1)]
    last = np.ascontiguousarray(beats.transpose(1, 2, 0))  # sorting runs of neighbours is several times faster
    signal = np.stack([median(last[:, :, s], axis=-1) for s in subsets])
    marks = np.stack([_usual_marks(relative[s]) for s in subsets])
    there = np.isfinite(beats).all(axis=2).sum(axis=0)
    spread = np.nan_to_num(np.abs(beats - signal[0])).mean(axis=(0, 2)) * 1.25  # of one beat: deviation from mean size
    noise = 1.25 * spread / np.sqrt(np.maximum(there, 1))
    return MedianBeats(
        signal, marks, frame.fs, frame.start, frame.leads, noise, there.astype(np.int64), frame.times, frame.why_not
    )


def _usual_marks(relative: Floats) -> Floats:
    """Return the median marks [lead, mark]; NaN where fewer than half of the beats have them."""
    share = np.isfinite(relative).mean(axis=0)
    return np.where(share >= 0.5, median(relative), np.nan)
