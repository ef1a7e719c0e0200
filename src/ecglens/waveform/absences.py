# SPDX-License-Identifier: Apache-2.0
"""Why a wave is not there: the reasons that `delineate` gives for each wave without marks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, WAVES
from ecglens.waveform.rpeaks import RPeaks
from ecglens.waveform.wave_map import WaveMap

Absent = dict[tuple[str, int | None, str], str]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LOST = "lead lost: flat or missing here"
CUT_OFF = "cut off at the record's edge"
FIBRILLATION = "no P that keeps its distance in an irregular rhythm, as in fibrillation, flutter or block"
RARE = "too few beats have a P for one to be believed"
PACED = "no P in any lead; a pacing spike stands before the beat"
HIDDEN = "hidden: the wave before reaches to the QRS"
NOWHERE = "not seen in any lead"
NOT_HERE = "not discernible in this lead, seen in others"
UNSEEN = "the network sees no QRS at the beats found"

# Where a wave lies, in s from the beat: a stretch that is missing or beyond the record may have held it.
_STRETCH = {"P": (-0.28, -0.04), "QRS": (-0.08, 0.08), "T": (0.10, 0.45)}
_CLOSE = 0.07  # s between the end of the T before and QRS in which no P can be told
_IRREGULAR, WITHOUT = 0.10, 0.65  # median change of RR over median RR; share of beats without P
_SPIKE_WITHIN, _SPIKE_LEAST, _SPIKE_TIMES, _SPIKE_RATE = 0.25, 0.15, 12.0, 240.0  # s, mV, x the usual, Hz


def absences(ecg: ECG, wave_map: WaveMap, times: Floats, found: RPeaks, beats: Floats, lone_p: bool) -> Absent:
    """Return a reason for each wave without marks.

    times   [lead, beat, mark], in s
    found   what `detect_r_peaks` said
    beats   those of them that are marked, in s
    lone_p  whether P waves were left out because few beats had one
    """
    if not beats.size:
        reason = found.reason or UNSEEN
        return {(lead, None, wave): reason for lead in ecg.leads for wave in WAVES}
    missing = {wave: _missing(times, wave) for wave in WAVES}
    everywhere = {wave: np.asarray(flags.all(axis=0)) for wave, flags in missing.items()}
    why_no_p = _why_no_p(ecg, times, beats, everywhere["P"]) if everywhere["P"].any() else {}
    reasons: Absent = {}
    for wave, flags in missing.items():
        if not flags.any():
            continue
        lost = _lost(ecg, beats, wave)
        outside = _outside(ecg, beats, wave)
        for row, beat in np.argwhere(flags):
            if outside[beat]:
                reason = CUT_OFF
            elif lost[row, beat]:
                reason = LOST
            elif not everywhere[wave][beat]:
                reason = NOT_HERE
            else:
                usual = RARE if lone_p else NOWHERE
                reason = why_no_p.get(int(beat), usual) if wave == "P" else NOWHERE
            reasons[ecg.leads[row], int(beat), wave] = reason
    return reasons


def irregular(beats: Floats) -> bool:
    """Tell whether RR changes by more than a tenth from beat to beat, as the median."""
    rr = np.diff(beats)
    return bool(rr.size >= 3 and np.median(np.abs(np.diff(rr))) > _IRREGULAR * np.median(rr))


def _missing(times: Floats, wave: str) -> Flags:
    columns = [MARKS.index(mark) for mark in WAVES[wave]]
    return np.asarray(np.isnan(times[:, :, columns]).all(axis=2))


def _lost(ecg: ECG, beats: Floats, wave: str) -> Flags:
    """Return where the lead is missing or flat over the stretch in which the wave would lie [lead, beat]."""
    out = np.zeros((len(ecg.leads), beats.size), bool)
    edges = np.rint((beats[:, None] + _STRETCH[wave] - ecg.start) * ecg.fs).astype(int).clip(0, ecg.n_samples)
    for beat, (first, last) in enumerate(edges):
        piece = ecg.signal[:, first : max(last, first + 1)]
        if piece.shape[1]:
            gap = np.isnan(piece).mean(axis=1) > 0.3
            whole = np.nan_to_num(piece)
            out[:, beat] = gap | (np.ptp(whole, axis=1) < 1e-4)
    return out


def _outside(ecg: ECG, beats: Floats, wave: str) -> Flags:
    """Return at which beats the stretch in which the wave would lie is not wholly inside the record [beat]."""
    first, last = _STRETCH[wave]
    return np.asarray((beats + first < ecg.start) | (beats + last > ecg.start + ecg.duration))


def _why_no_p(ecg: ECG, times: Floats, beats: Floats, without: Flags) -> dict[int, str]:
    """Return the reason for each beat that has no P in any lead."""
    fibrillation = irregular(beats) and without.mean() >= WITHOUT
    t_end = lead_median(times[..., MARKS.index("T_offset")])
    qrs = lead_median(times[..., MARKS.index("QRS_onset")])
    paced = _paced(ecg, beats)
    reasons = {}
    for beat in np.flatnonzero(without).tolist():
        if paced[beat]:
            reasons[beat] = PACED
        elif fibrillation:
            reasons[beat] = FIBRILLATION
        elif beat and qrs[beat] - t_end[beat - 1] < _CLOSE:
            reasons[beat] = HIDDEN
    return reasons


def lead_median(values: Floats) -> Floats:
    """Return the median over leads [beat]; NaN where no lead has the mark."""
    out = np.full(values.shape[1], np.nan)
    some = ~np.isnan(values).all(axis=0)
    out[some] = np.nanmedian(values[:, some], axis=0)
    return out


def _paced(ecg: ECG, beats: Floats) -> Flags:
    """Return before which beats a spike of a few milliseconds stands in two leads or more (or in the only one)."""
    out = np.zeros(beats.size, bool)
    if ecg.fs < _SPIKE_RATE:
        return out
    width = round(0.01 * ecg.fs) // 2 * 2 + 1
    for beat, time in enumerate(beats):
        first, last = np.rint((np.array([time - _SPIKE_WITHIN, time]) - ecg.start) * ecg.fs).astype(int)
        piece = np.nan_to_num(ecg.signal[:, max(first, 0) : last])
        if piece.shape[1] > 2 * width:
            sharp = np.abs(piece - median_filter(piece, (1, width), mode="nearest"))
            usual = np.median(sharp, axis=1, keepdims=True)
            spikes = (sharp > _SPIKE_LEAST) & (sharp > _SPIKE_TIMES * usual)
            out[beat] = spikes.sum(axis=0).max() >= min(2, len(ecg.leads))
    return out
