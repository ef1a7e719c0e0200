# SPDX-License-Identifier: Apache-2.0
"""Q, R and S: what a QRS complex in one lead is made of.

A deflection is a stretch on one side of the level before the QRS. One smaller than 0.02 mV, shorter than 6 ms (the
smallest wave of the CSE working party, Eur Heart J 6 (1985) 815) or within the noise is none: what lies on both sides
of it belongs together. Q is what is negative before the first positive deflection, R that one, S what is negative after
it, R' the next positive one. A complex without a positive deflection is QS. What is left at the end of the QRS without
a summit of its own (the J point above or below the level) is no deflection.

>>> times = np.arange(0, 0.1, 0.002)
>>> qrs = -0.2 * np.exp(-(((times - 0.02) / 0.006) ** 2)) + 1.1 * np.exp(-(((times - 0.045) / 0.01) ** 2))
>>> found = deflections(qrs, 500.0, 0.0, 0.09, 0.0)
>>> list(found), round(found["r"].mv, 2), round(found["q"].mv, 2)
(['q', 'r'], 1.09, -0.2)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SMALLEST_MV, SHORTEST_MS = 0.02, 6.0
_EDGE = 0.006  # s; a summit nearer to the end of the QRS is that of what follows

Floats = NDArray[np.float64]


class Deflection(NamedTuple):
    """Signed size in mV, duration in ms."""

    mv: float
    ms: float


class _Run(NamedTuple):
    """A stretch on one side: its ends and its summit, in s from the first sample, and its signed size in mV."""

    first: float
    last: float
    at: float
    mv: float


def deflections(values: Floats, fs: float, onset: float, offset: float, noise: float) -> dict[str, Deflection]:
    """Return q, r, s, r2 or qs of one lead, those that are there, in order of time.

    values         [time], in mV above the level before the QRS, at `fs` Hz
    onset, offset  of the QRS, in s from the first sample
    noise          standard error of a sample, in mV: deflections below three times it are none
    """
    runs = _kept(_runs(values, fs, onset, offset), max(SMALLEST_MV, 3 * noise))
    while runs and len(runs) > 1 and offset - runs[-1].at < _EDGE and abs(runs[-1].mv) < max(abs(r.mv) for r in runs):
        runs = runs[:-1]
    positive = [k for k, run in enumerate(runs) if run.mv > 0]
    if not positive:
        return {"qs": _deflection(runs[0])} if runs else {}
    found = {"q": _deflection(runs[0])} if positive[0] else {}
    found["r"] = _deflection(runs[positive[0]])
    after = [run for run in runs[positive[0] + 1 :] if run.mv < 0]
    if after:
        found["s"] = _deflection(min(after, key=lambda run: run.mv))
    if len(positive) > 1:
        found["r2"] = _deflection(runs[positive[1]])
    return found


def _deflection(run: _Run) -> Deflection:
    return Deflection(run.mv, 1000.0 * (run.last - run.first))


def _runs(values: Floats, fs: float, onset: float, offset: float) -> list[_Run]:
    """Return the stretches between crossings of 0, whatever their size; none where samples are missing."""
    first, last = int(np.ceil(onset * fs - 1e-9)), int(np.floor(offset * fs + 1e-9))
    first = max(first, 0)
    part: list[float] = values[first : last + 1].tolist()
    if len(part) < 2 or any(value != value for value in part):
        return []
    # Plain Python on purpose: a QRS is so short that calling numpy would take longer.
    runs, begin, top = [], onset, 0
    for k in range(1, len(part) + 1):
        if k < len(part) and (part[k] > 0) == (part[top] > 0):
            top = k if abs(part[k]) > abs(part[top]) else top
            continue
        end = offset if k == len(part) else (first + k - 1 + part[k - 1] / (part[k - 1] - part[k])) / fs
        runs.append(_Run(begin, end, (first + top) / fs, part[top]))
        begin, top = end, k
    return runs


def _kept(runs: list[_Run], least: float) -> list[_Run]:
    """Drop the small and the short, smallest first, joining what they kept apart."""
    runs = list(runs)
    while runs:
        small = [r for r in runs if abs(r.mv) < least or 1000 * (r.last - r.first) < SHORTEST_MS]
        if not small:
            return runs
        k = runs.index(min(small, key=lambda run: abs(run.mv)))
        if 0 < k < len(runs) - 1:
            a, b = runs[k - 1], runs[k + 1]
            top = a if abs(a.mv) >= abs(b.mv) else b
            runs[k - 1 : k + 2] = [_Run(a.first, b.last, top.at, top.mv)]
        else:
            del runs[k]
    return runs
