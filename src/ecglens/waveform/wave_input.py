# SPDX-License-Identifier: Apache-2.0
"""What the delineator sees of an ECG: 12 places for leads, 250 Hz, 0.5 to 40 Hz, each lead over its usual size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.signal import butter, sosfiltfilt

from ecglens.ecg import ECG
from ecglens.leads import STANDARD_LEADS
from ecglens.preprocessing.resample import resample
from ecglens.preprocessing.scale import bridge_gaps

RATE = 250.0  # Hz
BAND = (0.5, 40.0)  # Hz, order 2, forwards and backwards
FLOOR = 0.01  # mV: a lead whose usual deviation is below it is not blown up
LARGEST = 20.0  # of the usual deviation; artefacts are cut there
_BLOCK = 2.0  # s, over which a deviation is taken; the usual one is their median
_FLAT_FOR, _FLAT_BELOW = 1.5, 0.002  # s, mV: longer than any pause between two beats' waves
_SETTLE = 1.0  # s by which each end is continued for the filter

# Where a lead that is none of the twelve is put: the place of the most similar one.
_SIMILAR = {
    "MLI": "I", "MLII": "II", "MLIII": "III", "MCL1": "V1", "MCL6": "V6", "X": "V6", "Y": "aVF", "Z": "V2",
    "VX": "V6", "VY": "aVF", "VZ": "V2", "V7": "V6", "V8": "V6", "V9": "V6", "V3R": "V1", "V4R": "V1", "V5R": "V1",
    "V6R": "V1",
}  # fmt: skip
_ANY = "II"


@dataclass(frozen=True, eq=False)
class WaveInput:
    """An ECG as the network takes it.

    values  float32 [pass, 12, time at `fs`]; places without a lead are 0. Leads that want the same place go through
            the network in passes
    where   (pass, place) of each lead of the ECG
    fs      near 250 Hz: the rate that a ratio of small integers reaches
    absent  [lead, time]: True in gaps and where a lead is flat
    """

    values: np.ndarray
    where: tuple[tuple[int, int], ...]
    fs: float
    absent: np.ndarray


def prepare_waves(ecg: ECG) -> WaveInput:
    """Return what the network sees of `ecg`."""
    ratio = Fraction(RATE / ecg.fs).limit_denominator(500)
    fs = ecg.fs * float(ratio)
    gaps = np.isnan(ecg.signal)
    signal = np.nan_to_num(bridge_gaps(ecg.signal))
    values = _at_rate(signal - np.median(signal, axis=1, keepdims=True), ecg.fs, fs)
    rows = _scaled(_filtered(values, fs), fs)
    absent = _at_instants(gaps, ecg.fs, fs, rows.shape[1]) | _flat(values, fs)
    rows[absent] = 0.0
    where = places(ecg.leads)
    laid = np.zeros((1 + max(number for number, _ in where), len(STANDARD_LEADS), rows.shape[1]), np.float32)
    for row, place in zip(rows, where, strict=True):
        laid[place] = row
    return WaveInput(laid, where, fs, absent)


def places(leads: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return the (pass, place) of each lead; no two leads share one.

    >>> places(("II", "MLII", "V1"))
    ((0, 1), (1, 1), (0, 6))
    """
    taken: dict[int, int] = {}
    out = []
    for name in leads:
        place = STANDARD_LEADS.index(name if name in STANDARD_LEADS else _SIMILAR.get(name, _ANY))
        taken[place] = taken.get(place, -1) + 1
        out.append((taken[place], place))
    return tuple(out)


def _at_rate(signal: np.ndarray, fs: float, new_fs: float) -> np.ndarray:
    """Resample; the ends are mirrored for it, because its filter takes what lies beyond them for 0."""
    if fs == new_fs:
        return signal
    step = Fraction(fs / new_fs).limit_denominator(500)
    margin = step.numerator * max(round(0.1 * fs) // step.numerator, 1)  # a whole number of new samples
    margin = min(margin, (signal.shape[1] - 1) // step.numerator * step.numerator)
    wide = np.pad(signal, ((0, 0), (margin, margin)), mode="reflect", reflect_type="odd")
    first = margin * step.denominator // step.numerator
    n = -(-signal.shape[1] * step.denominator // step.numerator)
    return resample(wide, fs, new_fs)[:, first : first + n]


def _filtered(values: np.ndarray, fs: float) -> np.ndarray:
    padding = min(round(_SETTLE * fs), values.shape[1] - 1)
    return np.stack([sosfiltfilt(_sections(fs), row, padlen=padding).astype(np.float32) for row in values])


@lru_cache(maxsize=32)
def _sections(fs: float) -> np.ndarray:
    return butter(2, BAND, "bandpass", fs=fs, output="sos")


def _scaled(values: np.ndarray, fs: float) -> np.ndarray:
    """Return each lead over the median of its deviations in blocks of 2 s, so that an artefact does not count."""
    width = round(_BLOCK * fs)
    n_blocks = max(values.shape[1] // width, 1)
    blocks = values[:, : n_blocks * width].reshape(len(values), n_blocks, -1)
    usual = np.median(blocks.std(axis=2), axis=1, keepdims=True)
    return np.clip(values / np.hypot(usual, FLOOR), -LARGEST, LARGEST).astype(np.float32)


def _flat(values: np.ndarray, fs: float) -> np.ndarray:
    """Return where a lead has not moved for so long that it cannot be connected [lead, time]."""
    width = min(round(_FLAT_FOR * fs), values.shape[1])
    still = maximum_filter1d(values, width, axis=1) - minimum_filter1d(values, width, axis=1) < _FLAT_BELOW
    return maximum_filter1d(still, width, axis=1) if still.any() else still  # all that such a stretch holds


def _at_instants(gaps: np.ndarray, fs: float, new_fs: float, n: int) -> np.ndarray:
    if not gaps.any():
        return np.zeros((len(gaps), n), bool)
    nearest = np.rint(np.arange(n) * fs / new_fs).astype(int).clip(0, gaps.shape[1] - 1)
    return gaps[:, nearest]
