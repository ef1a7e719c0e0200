# SPDX-License-Identifier: Apache-2.0
"""Heart rate, RR intervals, and QT corrected for them.

>>> made = corrected_qt(Measured(400.0, "ms", 4.0, 9), Measured(810.0, "ms", 0.0, 10))  # RR 0.81 s: its root is 0.9
>>> round(made["qtc_bazett_ms"].value, 1), round(made["qtc_fridericia_ms"].value, 1)
(444.4, 429.1)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG
from ecglens.waveform.measurements import Measured, unknown

Floats = NDArray[np.float64]


def rhythm_of(ecg: ECG, times: Floats) -> dict[str, Measured]:
    """Return rate and RR; intervals across a gap of all leads are left out."""
    times = times[np.isfinite(times)]
    gap = np.concatenate([[0], np.cumsum(np.isnan(ecg.signal).all(axis=0))])
    at = np.rint((times - ecg.start) * ecg.fs).astype(int).clip(0, ecg.n_samples)
    rr = 1000.0 * np.diff(times)[np.diff(gap[at]) == 0] if times.size else np.empty(0)
    rr = rr[rr > 0]
    if not rr.size:
        reason = "no two beats follow each other" if times.size else "no beat is marked"
        return {name: unknown(name, reason) for name in ("heart_rate_bpm", "rr_ms", "rr_sd_ms")}
    mean, n = float(rr.mean()), rr.size + 1
    sd = float(rr.std(ddof=1)) if rr.size > 1 else None
    error = None if sd is None else sd / np.sqrt(rr.size)
    rate = 60000.0 / mean
    spread = (
        unknown("rr_sd_ms", "fewer than three beats")
        if sd is None
        else Measured(sd, "ms", sd / np.sqrt(2 * (rr.size - 1)), n)
    )
    return {
        "heart_rate_bpm": Measured(rate, "1/min", None if error is None else rate * error / mean, n),
        "rr_ms": Measured(mean, "ms", error, n),
        "rr_sd_ms": spread,
    }


def corrected_qt(qt: Measured, rr: Measured) -> dict[str, Measured]:
    """Return QTc after Bazett and Fridericia, with the errors of QT and RR put together."""
    names = {"qtc_bazett_ms": 2.0, "qtc_fridericia_ms": 3.0}
    if qt.value is None or rr.value is None:
        reason = qt.reason if qt.value is None else rr.reason
        return {name: unknown(name, reason) for name in names}
    made = {}
    for name, root in names.items():
        value = qt.value / (rr.value / 1000.0) ** (1.0 / root)
        parts = [(qt.uncertainty or 0.0) / qt.value, (rr.uncertainty or 0.0) / rr.value / root]
        error = None if qt.uncertainty is None else value * math.hypot(*parts)
        made[name] = Measured(value, "ms", error, qt.n_beats)
    return made
