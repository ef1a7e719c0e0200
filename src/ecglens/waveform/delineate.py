# SPDX-License-Identifier: Apache-2.0
"""Onset, peak and offset of P, QRS and T of each beat in each lead, by a network that sees all leads together.

Beats are those of `detect_r_peaks` at which the network sees a QRS too, so noise has none. Around each beat the soft
map (`map_waves`) says where its waves are: a wave is a run of instants at which its class is the most probable; its
onset and offset are where that begins and ends, between samples. What is absent has a reason.

>>> from ecglens import simulate_ecg
>>> simulated = simulate_ecg("sim-00002", "NORM")
>>> marks = delineate(simulated.ecg)
>>> marks.n_beats == len(simulated.beats)
True
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, Fiducials
from ecglens.models.unet1d import UNet1d
from ecglens.waveform.absences import WITHOUT, absences, irregular, lead_median
from ecglens.waveform.peaks import mark_peaks
from ecglens.waveform.rpeaks import detect_r_peaks
from ecglens.waveform.wave_input import prepare_waves
from ecglens.waveform.wave_map import BATCH, CLASSES, WaveMap, probabilities

METHOD = "ecglens delineator"

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_LEVEL = 0.5  # probability from which on a class is there
_GAPS = {"P": 0.02, "QRS": 0.02, "T": 0.04}  # s; shorter breaks in a wave are bridged
_LEAST = {"P": 0.03, "QRS": 0.03, "T": 0.06}  # s; shorter runs are no waves
_AROUND = 0.15  # s between a beat and the middle of its QRS in any lead, at most
_SEEN = 0.3  # largest QRS probability within 80 ms of a beat, median over leads: less is no beat
_MANY_LEADS, _MANY_BEATS = 0.3, 6  # share of leads in which a P that is one is seen; beats that can tell
_DISTANCE = 0.02  # s by which PR changes from beat to beat, as the median, at most
_COLUMNS = {"P": (0, 2), "QRS": (3, 7), "T": (8, 10)}  # of onset and offset among MARKS


class Run(NamedTuple):
    """Runs of one class over all leads [run]: lead, edges in samples (fractional) and the probability within."""

    lead: Indices
    onset: Floats
    offset: Floats
    mass: Floats

    def take(self, chosen: np.ndarray) -> Run:
        """Return some of them."""
        return Run(*(values[chosen] for values in self))


def delineate(ecg: ECG, *, network: UNet1d | None = None) -> Fiducials:
    """Return the marks of each beat: any leads, 50 to 4000 Hz, 1 s to hours; gaps hold no waves.

    network  another one than the shipped delineator

    `certainty` is the mean probability of the wave between its onset and offset. Never raises for a signal that no
    beat can be found in: then there are no beats, and `absent` says why per lead.
    """
    return next(delineate_all([ecg], network=network))


def delineate_all(ecgs: Sequence[ECG], *, network: UNet1d | None = None) -> Iterator[Fiducials]:
    """Yield the marks of each ECG; records of one length go through the network together, which is faster."""
    for first in range(0, len(ecgs), BATCH):
        group = ecgs[first : first + BATCH]
        seen = [prepare_waves(ecg) for ecg in group]
        for ecg, own, probability in zip(group, seen, probabilities(seen, network), strict=True):
            yield marks_from_map(ecg, WaveMap(probability, own.fs, ecg.leads, ecg.start))


def marks_from_map(ecg: ECG, wave_map: WaveMap) -> Fiducials:
    """Return the marks of `ecg` that its soft map gives."""
    beats = detect_r_peaks(ecg)
    at = _seen_beats(wave_map, (beats.times - ecg.start) * wave_map.fs)
    runs = {name: runs_of(wave_map, name) for name in CLASSES[1:]}
    n_leads = len(ecg.leads)
    times = np.full((n_leads, at.size, len(MARKS)), np.nan)
    certainty = np.full_like(times, np.nan)
    lone_p = False
    if at.size:
        chosen = {"QRS": _complexes(runs["QRS"], at, wave_map.fs)}
        chosen["P"], chosen["T"] = _between(runs["P"], at, True), _between(runs["T"], at, False)
        for name, beat in chosen.items():
            _lay(times, certainty, runs[name], beat, name)
        _put_in_order(times, certainty)
        lone_p = _not_believed(times, at, wave_map.fs)
        if lone_p:
            times[..., :3] = certainty[..., :3] = np.nan
        mark_peaks(ecg, times, certainty, wave_map.fs)
    times = ecg.start + times / wave_map.fs
    reasons = absences(ecg, wave_map, times, beats, ecg.start + at / wave_map.fs, lone_p)
    return Fiducials(times, ecg.leads, METHOD, certainty, reasons)


def runs_of(wave_map: WaveMap, name: str) -> Run:
    """Return the runs in which class `name` is more probable than not, breaks bridged, short ones left out."""
    p = wave_map.probability[:, wave_map.classes.index(name)]
    width = round(_GAPS[name] * wave_map.fs)
    padded = np.pad(p, ((0, 0), (width + 1, width + 1)))
    inside = binary_closing(padded > _LEVEL, np.ones((1, width + 1), bool))
    change = np.diff(inside.astype(np.int8), axis=1)
    (lead, start), (_, stop) = np.nonzero(change == 1), np.nonzero(change == -1)  # the sample before, the last one
    onset = start + _crossing(padded[lead, start], padded[lead, start + 1])
    offset = stop + _crossing(padded[lead, stop], padded[lead, stop + 1])
    total = np.cumsum(padded, axis=1, dtype=np.float64)
    found = Run(lead, onset - width - 1, offset - width - 1, total[lead, stop] - total[lead, start])
    return found.take(offset - onset >= _LEAST[name] * wave_map.fs)


def _crossing(before: np.ndarray, after: np.ndarray) -> Floats:
    step = (after - before).astype(np.float64)
    return np.clip((_LEVEL - before) / np.where(step == 0, 1.0, step), 0.0, 1.0)


def _seen_beats(wave_map: WaveMap, at: Floats) -> Floats:
    """Return those of the beats, in samples of the map, at which the network sees a QRS."""
    if not at.size:
        return at
    qrs = wave_map.probability[:, wave_map.classes.index("QRS")]
    half = round(0.08 * wave_map.fs)
    near = (np.rint(at).astype(int)[:, None] + np.arange(-half, half + 1)).clip(0, qrs.shape[1] - 1)
    highest = np.sort(qrs[:, near].max(axis=2), axis=0)[len(qrs) // 2 :].mean(axis=0)  # of the better half of leads
    return at[highest >= _SEEN]


def _complexes(runs: Run, at: Floats, fs: float) -> Indices:
    """Return the beat of each QRS run, -1 for none: the nearest, where the run lies around it."""
    middle = (runs.onset + runs.offset) / 2
    beat = np.abs(middle[:, None] - at).argmin(axis=1)
    far = np.abs(middle - at[beat]) > _AROUND * fs
    return _largest(runs, np.where(far, -1, beat), at.size)


def _between(runs: Run, at: Floats, to_next: bool) -> Indices:
    """Return the beat of each run that lies between two beats: the next one (P) or the one before (T)."""
    middle = (runs.onset + runs.offset) / 2
    after = np.searchsorted(at, middle)
    beat = np.where(after < at.size, after, -1) if to_next else after - 1
    return _largest(runs, beat, at.size)


def _largest(runs: Run, beat: Indices, n_beats: int) -> Indices:
    """Leave each beat, in each lead, the run that holds most probability."""
    order = np.argsort(runs.mass)  # the largest is written last and stands
    winner = np.full((int(runs.lead.max(initial=0)) + 1, n_beats + 1), -1)
    winner[runs.lead[order], beat[order]] = order
    mine = winner[runs.lead, beat] == np.arange(beat.size)
    return np.where(mine, beat, -1)


def _lay(times: Floats, certainty: Floats, runs: Run, beat: Indices, name: str) -> None:
    taken = beat >= 0
    found, beats = runs.take(taken), beat[taken]
    first, last = _COLUMNS[name]
    times[found.lead, beats, first], times[found.lead, beats, last] = found.onset, found.offset
    mean = np.clip(found.mass / np.maximum(found.offset - found.onset, 1.0), 0.0, 1.0)
    certainty[found.lead[:, None], beats[:, None], [first, last]] = mean[:, None]


def _not_believed(times: Floats, at: Floats, fs: float) -> bool:
    """Tell whether what looks like P is none: few of many beats have it, or it keeps no distance to irregular ones."""
    with_p = (~np.isnan(times[..., 0])).mean(axis=0) > _MANY_LEADS
    if at.size < _MANY_BEATS or not with_p.any():
        return False
    if with_p.mean() <= 1 - WITHOUT:
        return True
    pr = lead_median(times[..., 3] - times[..., 0])[with_p]
    changes = np.abs(np.diff(pr[~np.isnan(pr)]))
    return irregular(at) and changes.size > 1 and bool(np.median(changes) > _DISTANCE * fs)


def _put_in_order(times: Floats, certainty: Floats) -> None:
    """Let P end where QRS begins and T begin where QRS ends, at the latest and earliest."""
    qrs_on, qrs_off = times[..., _COLUMNS["QRS"][0]], times[..., _COLUMNS["QRS"][1]]
    times[..., 2] = np.where(times[..., 2] > qrs_on, qrs_on, times[..., 2])
    times[..., 8] = np.where(times[..., 8] < qrs_off, qrs_off, times[..., 8])
    for name in ("P", "T"):
        first, last = _COLUMNS[name]
        wrong = times[..., first] >= times[..., last]
        times[wrong, first : last + 1] = certainty[wrong, first : last + 1] = np.nan
