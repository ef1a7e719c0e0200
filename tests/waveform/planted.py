# SPDX-License-Identifier: Apache-2.0
"""ECGs drawn with ruler and compass: every wave has the ends and the size that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import LIMB_ALGEBRA, STANDARD_LEADS

# Wave -> (from, to, mV), in s from the onset of QRS.
Shape = Mapping[str, tuple[float, float, float]]
USUAL: Shape = {
    "P": (-0.160, -0.060, 0.15), "Q": (0.0, 0.030, -0.10), "R": (0.030, 0.070, 1.20), "S": (0.070, 0.100, -0.30),
    "T": (0.240, 0.400, 0.35),
}  # fmt: skip
R_AT = 0.050  # s from the onset of QRS to the summit of R


def half_sines(times: np.ndarray, shape: Shape, st: float = 0.0) -> np.ndarray:
    """Return one beat at `times`, in s from the onset of QRS: half a sine a wave, ST a plateau that ends with T."""
    out = np.zeros_like(times)
    for first, last, size in shape.values():
        inside = (times > first) & (times < last)
        out[inside] += size * np.sin(np.pi * (times[inside] - first) / (last - first))
    if st:
        first, last = shape["S"][1], shape["T"][0]
        out += st * np.interp(times, [first - 1e-4, first, last, shape["T"][1]], [0.0, 1.0, 1.0, 0.0])
    return out


def chest(scale: float = 1.0) -> dict[str, Shape]:
    """Return six chest leads, alike but for their size."""
    return {f"V{k}": {w: (a, b, scale * (0.5 + 0.1 * k) * v) for w, (a, b, v) in USUAL.items()} for k in range(1, 7)}


def planted(
    onsets: Sequence[float] = tuple(0.5 + 0.8 * np.arange(12)),
    *,
    fs: float = 500.0,
    duration: float = 10.0,
    one: float = 0.8,
    foot: float = 0.5,
    st: float = 0.0,
    shapes: Mapping[int, Shape] | None = None,
) -> tuple[ECG, Fiducials]:
    """Return a 12-lead ECG and its exact marks.

    onsets     of QRS, in s
    one, foot  size of the usual beat in lead I and in aVF
    shapes     other shapes for some beats, by index
    """
    times = np.arange(round(duration * fs)) / fs
    beats = [half_sines(times - onset, (shapes or {}).get(k, USUAL), st) for k, onset in enumerate(onsets)]
    trace = np.sum(beats, axis=0)
    two = foot + one / 2  # aVF = II - I / 2
    signal = [trace * (a * one + b * two) for a, b in LIMB_ALGEBRA.values()]
    signal += [trace * (0.5 + 0.1 * k) for k in range(1, 7)]
    return ECG(np.array(signal), fs, STANDARD_LEADS), exact_marks(onsets)


def exact_marks(onsets: Sequence[float], leads: Sequence[str] = STANDARD_LEADS) -> Fiducials:
    """Return the marks of the usual beat in each lead."""
    at = dict.fromkeys(MARKS, np.nan)
    for wave in ("P", "T"):
        first, last, _ = USUAL[wave]
        at |= {f"{wave}_onset": first, f"{wave}_peak": (first + last) / 2, f"{wave}_offset": last}
    at |= {"QRS_onset": 0.0, "R_peak": R_AT, "QRS_offset": USUAL["S"][1]}
    beat = np.array([at[mark] for mark in MARKS])
    times = np.asarray(onsets)[:, None] + beat
    return Fiducials(np.broadcast_to(times, (len(leads), *times.shape)), tuple(leads), "planted")
