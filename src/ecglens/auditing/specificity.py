# SPDX-License-Identifier: Apache-2.0
"""Where the map of a read amplitude lies: in its lead (spatial) and in its wave (temporal); Wagner et al. 2023, 2.3.

spatial    s = |a_l| / ||a|| of the target's lead l, where a_j is the L2 norm of the map over time in lead j.
           Chance, for a map spread evenly over L leads: 1 / sqrt(L). A limb lead is a sum of two others, so that a
           network may read it anywhere in that plane: the solution of least norm has s = 0.62 in I, II, III and 0.53 in
           aVR, aVL, aVF, and no method is to be blamed for less than 1 there
temporal   the map's L2 norm over the leads, -300 to +500 ms around each beat, mean over beats, over target leads and,
           each record scaled to norm 1, over records. The figure is that curve's largest value inside the wave (from
           the median onset to the median offset, 20 ms leeway) less its largest outside, on a curve of norm 1
"""

from __future__ import annotations

import numpy as np

from ecglens.auditing.estimate import N_RESAMPLES
from ecglens.auditing.maps import Cases
from ecglens.auditing.verdict import TestResult
from ecglens.leads import LIMB_LEADS
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import json_number

BEFORE, AFTER = 0.3, 0.5  # s around a beat
LEEWAY = 0.02  # s


def spatial_specificity(maps: np.ndarray) -> np.ndarray:
    """Return the share of each target lead in the norm over leads [case, target]; maps [case, target, lead, time]."""
    by_lead = np.sqrt((maps.astype(np.float64) ** 2).sum(axis=3))
    norm = np.linalg.norm(by_lead, axis=2)
    own = np.einsum("cll->cl", by_lead)
    # An empty map points at no lead: it gets what an even one gets.
    return np.where(norm > 0, own / np.where(norm > 0, norm, 1.0), maps.shape[2] ** -0.5)


def temporal_curves(maps: np.ndarray, beats: tuple[np.ndarray, ...], fs: float) -> np.ndarray:
    """Return the mean map of a beat [case, time]: L2 over leads, mean over beats and over targets, scaled to norm 1.

    maps   [case, target, lead, time]; beats: times in s. NaN where no beat lies far enough inside
    """
    before, after = round(BEFORE * fs), round(AFTER * fs)
    size = np.sqrt((maps.astype(np.float64) ** 2).sum(axis=2)).mean(axis=1)  # [case, time]
    out = np.full((len(maps), before + after), np.nan)
    for case, times in enumerate(beats[: len(maps)]):
        at = np.rint(times * fs).astype(int)
        at = at[(at >= before) & (at + after <= size.shape[1])]
        if len(at):
            curve = np.mean([size[case, b - before : b + after] for b in at], axis=0)
            out[case] = curve / max(np.linalg.norm(curve), 1e-30)
    return out


def margin(curves: np.ndarray, patients: tuple[str, ...], window: tuple[float, float], fs: float) -> TestResult:
    """Return the largest value inside the wave less the largest outside, of the mean curve scaled to norm 1."""
    known = ~np.isnan(curves).any(axis=1)
    people = [p for p, here in zip(patients, known, strict=True) if here]
    if not people:
        return TestResult("twins", chance=0.0, reason="no beats")
    at = (np.arange(curves.shape[1]) - round(BEFORE * fs)) / fs
    inside = (at >= window[0] - LEEWAY) & (at <= window[1] + LEEWAY)
    if inside.all() or not inside.any():
        return TestResult("twins", chance=0.0, reason="the wave's place is not known")

    def of(mean: np.ndarray) -> np.ndarray:
        norm = np.maximum(np.linalg.norm(mean, axis=-1), 1e-30)
        return np.asarray((mean[..., inside].max(axis=-1) - mean[..., ~inside].max(axis=-1)) / norm)

    weights = patient_weights(people, N_RESAMPLES, 0).astype(np.float64)
    drawn = interval(of(weights @ curves[known]))
    mean, low, high = float(of(curves[known].mean(axis=0))), json_number(drawn.low), json_number(drawn.high)
    return TestResult("twins", mean, low, high, 0.0, n=len(people), n_patients=len(set(people)))


def ceilings(leads: tuple[str, ...]) -> dict[str, float]:
    """Return the spatial specificity of the least-norm solution: what dependent limb leads leave to be seen.

    A limb lead l is m_l . (I, II), and every w with M' w = m_l reads it as well from the limb leads M. The least norm
    is w = M (M' M)^-1 m_l, whose share in lead l is sqrt(m_l' (M' M)^-1 m_l), the root of its leverage. A chest lead
    is its own.

    >>> {lead: round(s, 3) for lead, s in ceilings(("I", "II", "III", "aVR", "aVL", "aVF", "V1")).items()}
    {'I': 0.617, 'II': 0.617, 'III': 0.617, 'aVR': 0.535, 'aVL': 0.535, 'aVF': 0.535, 'V1': 1.0}
    """
    made = {"I": (1, 0), "II": (0, 1), "III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}
    limb = [lead for lead in leads if lead in LIMB_LEADS]
    matrix = np.array([made[lead] for lead in limb], dtype=float).reshape(len(limb), 2)
    inverse = np.linalg.pinv(matrix.T @ matrix) if limb else np.eye(2)
    return {lead: float(np.sqrt(np.array(made[lead]) @ inverse @ np.array(made[lead]))) if lead in limb else 1.0
            for lead in leads}  # fmt: skip


def cross_correlation(signals: np.ndarray) -> np.ndarray:
    """Return each lead's sum of absolute correlations with the others, mean over records [lead] (Figure 9)."""
    each = [np.abs(np.corrcoef(signal)).sum(axis=1) - 1.0 for signal in signals]
    return np.asarray(np.nanmean(each, axis=0))


def mean_beat(cases: Cases, beats: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return lead II's (or the first lead's) mean beat, in mV [time], as a reference under the curves."""
    row = cases.leads.index("II") if "II" in cases.leads else 0
    before, after = round(BEFORE * cases.fs), round(AFTER * cases.fs)
    cut = []
    for signal, times in zip(cases.signals, beats, strict=True):
        at = np.rint(times * cases.fs).astype(int)
        cut += [signal[row, b - before : b + after] for b in at if b >= before and b + after <= signal.shape[1]]
    return np.mean(cut, axis=0) if cut else np.zeros(before + after)
