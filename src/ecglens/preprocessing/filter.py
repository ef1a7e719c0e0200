# SPDX-License-Identifier: Apache-2.0
"""Band-pass filters: design apart from application, both in float64 before anything is rounded."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt

from ecglens.errors import SignalError

_LONGEST_MATRIX = 2048  # samples; a longer matrix costs more to make than it saves


def design_bandpass(low: float, high: float, order: int, fs: float) -> np.ndarray:
    """Return second-order sections of a Butterworth band-pass.

    low, high   cut-off frequencies, in Hz
    order       of the prototype; filtering forwards and backwards doubles it
    fs          sampling rate, in Hz
    """
    if not 0 < low < high < fs / 2:
        raise SignalError("band-pass", "cut-offs", f"{low:g} to {high:g} Hz", f"0 < low < high < {fs / 2:g} Hz")
    return butter(order, [low, high], "bandpass", fs=fs, output="sos")


def apply_zero_phase(signal: np.ndarray, sections: np.ndarray) -> np.ndarray:
    """Filter `signal` [..., time] forwards and backwards (SciPy's `sosfiltfilt`, odd padding); float32.

    For records of one length a linear filter is a matrix. It is made once, in float64, by filtering the unit
    impulses, and applied to all records as one product (rounding 2e-6 of the amplitude); long signals are
    filtered directly.
    """
    n, needed = signal.shape[-1], 3 * (2 * len(sections) + 1) + 1  # SciPy's padding at each end
    if n < needed:
        raise SignalError("band-pass", "signal", f"{n} samples", f"at least {needed}", "record longer")
    if n > _LONGEST_MATRIX:
        return sosfiltfilt(sections, signal.astype(np.float64), axis=-1).astype(np.float32)
    matrix = _matrix(sections.tobytes(), sections.shape[0], n)
    return (signal.astype(np.float32, copy=False).reshape(-1, n) @ matrix).reshape(signal.shape)


def running_median(signal: np.ndarray, width: int) -> np.ndarray:
    """Return the median of each sample's `width` neighbours, `signal` [..., time], the ends repeated; float32."""
    return median_filter(signal, size=(1,) * (signal.ndim - 1) + (width,), mode="nearest").astype(np.float32)


@lru_cache(maxsize=4)
def _matrix(sections: bytes, n_sections: int, n: int) -> np.ndarray:
    return sosfiltfilt(np.frombuffer(sections).reshape(n_sections, 6).copy(), np.eye(n), axis=1).astype(np.float32)
