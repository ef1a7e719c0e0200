# SPDX-License-Identifier: Apache-2.0
"""Scaling of amplitudes."""

from __future__ import annotations

import numpy as np


def standardize(signal: np.ndarray, by: str = "record", floor: float = 1e-8) -> np.ndarray:
    """Return `signal` [..., lead, time] with mean 0 and deviation 1, float32.

    by       "record": one mean and one deviation over all leads together, so that amplitudes keep their ratios
             between leads; "lead": each lead by itself
    floor    added to the deviation, in the unit of the signal
    """
    axes = (-2, -1) if by == "record" else (-1,)
    mean = signal.mean(axis=axes, keepdims=True, dtype=np.float64)
    centred = signal - mean.astype(np.float32)
    # One pass over float32 values around 0: einsum adds in float32, which 12,000 values of order 1 stand well.
    power = np.square(centred).mean(axis=axes, keepdims=True)
    return centred / (np.sqrt(power) + np.float32(floor))


def min_max(signal: np.ndarray, by: str = "lead") -> np.ndarray:
    """Return `signal` [..., lead, time] from 0 to 1, float32; `by` as in `standardize`. What is flat becomes 0."""
    axes = (-2, -1) if by == "record" else (-1,)
    low, high = signal.min(axis=axes, keepdims=True), signal.max(axis=axes, keepdims=True)
    span = high - low
    return np.divide(signal - low, span, out=np.zeros(signal.shape, np.float32), where=span > 0)


def bridge_gaps(signal: np.ndarray) -> np.ndarray:
    """Return `signal` [lead, time] with NaN replaced by straight lines between the neighbours (flat at the ends)."""
    if not np.isnan(signal).any():
        return signal
    out = np.array(signal, dtype=np.float32)
    samples = np.arange(out.shape[1])
    for row in out:
        missing = np.isnan(row)
        if missing.any() and not missing.all():
            row[missing] = np.interp(samples[missing], samples[~missing], row[~missing])
    return out


def longest_gap(signal: np.ndarray) -> np.ndarray:
    """Return the longest run of NaN in each lead, in samples [lead]."""
    gaps = np.isnan(signal)
    if not gaps.any():
        return np.zeros(len(signal), int)
    longest = np.zeros(len(signal), int)
    for row, missing in enumerate(gaps):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
        if len(edges):
            longest[row] = (edges[1::2] - edges[::2]).max()
    return longest
