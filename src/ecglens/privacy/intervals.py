# SPDX-License-Identifier: Apache-2.0
"""Stretches of the beat from peak to peak, and how much of a map over patches lies in each.

P-Q, Q-R, R-S, S-T and T-P (to the next beat) follow one another without overlap: shares of a map in them add up. The
composites overlap them and each other, so theirs do not, and they are told apart.

A stretch is there where both of its ends are. Many beats of one lead have no Q or no S: QRS begins or ends there
instead. A beat without a P or a T has no stretch to it, and that time belongs to none.

>>> found = {"P-Q": np.array([[0.0, 30.0]]), "QRS": np.array([[20.0, 40.0]])}
>>> overlap(found, n_samples=80, patch=20)[[INTERVALS.index("P-Q"), INTERVALS.index("QRS")]].tolist()
[[1.0, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, Fiducials
from ecglens.privacy.windows import Windowed
from ecglens.runs.draws import derived_seed, record_keys
from ecglens.runs.progress import Progress, silent
from ecglens.waveform.delineate import delineate_all

PARTITION = ("P-Q", "Q-R", "R-S", "S-T", "T-P")
COMPOSITES = ("P-R", "QRS", "Q-S", "Q-T", "P-T", "T-Q", "R-T")
INTERVALS = PARTITION + COMPOSITES
_AT_ONCE = 64
_TO_NEXT = ("T-P", "T-Q")  # end in the next beat

Floats = NDArray[np.float64]
Stretches = dict[str, Floats]  # [stretch, 2] in samples, half-open, by interval


@dataclass(frozen=True, eq=False)
class Marked:
    """What was measured in the windows, in samples of each.

    marks      as delineated, one per window, in s from its beginning
    stretches  of INTERVALS, one per window
    """

    marks: tuple[Fiducials, ...]
    stretches: tuple[Stretches, ...]

    def take(self, at: np.ndarray) -> Marked:
        """Return those of the windows at these positions."""
        return Marked(tuple(self.marks[i] for i in at), tuple(self.stretches[i] for i in at))


def measure_windows(windowed: Windowed, progress: Progress = silent) -> Marked:
    """Return P, QRS and T of every window, delineated in the window alone."""
    marks = tuple(_delineated(windowed, progress))
    n_samples = windowed.signal.shape[-1]
    return Marked(marks, tuple(stretches_of(each, windowed.fs, n_samples) for each in marks))


def _delineated(windowed: Windowed, progress: Progress) -> Iterator[Fiducials]:
    for first in range(0, len(windowed), _AT_ONCE):
        at = range(first, min(first + _AT_ONCE, len(windowed)))
        leads = [(str(windowed.table["lead"].iloc[i]),) for i in at]
        yield from delineate_all(
            [ECG(windowed.signal[i], windowed.fs, lead) for i, lead in zip(at, leads, strict=True)]
        )
        progress("measuring", at[-1] + 1, len(windowed), "")


def stretches_of(marks: Fiducials, fs: float, n_samples: int) -> Stretches:
    """Return the stretches of INTERVALS of the first lead, in samples, cut to [0, n_samples)."""
    at = {name: marks.times[0, :, MARKS.index(name)] * fs for name in MARKS}
    ends = {"P": at["P_peak"], "R": at["R_peak"], "T": at["T_peak"]}
    ends["Q"] = np.where(np.isnan(at["Q_peak"]), at["QRS_onset"], at["Q_peak"])
    ends["S"] = np.where(np.isnan(at["S_peak"]), at["QRS_offset"], at["S_peak"])
    found: Stretches = {}
    for name in INTERVALS:
        if name == "QRS":
            begin, end = at["QRS_onset"], at["QRS_offset"]
        else:
            first, second = name.split("-")
            begin, end = ends[first], ends[second]
        if name in _TO_NEXT:
            begin, end = begin[:-1], end[1:]
        both = np.stack([begin, end], axis=1).clip(0, n_samples)  # NaN stays
        found[name] = both[both[:, 1] > both[:, 0]]
    return found


def overlap(stretches: Mapping[str, Floats], *, n_samples: int, patch: int) -> Floats:
    """Return which share of each patch lies in each interval: [interval, patch], in the order of INTERVALS.

    Samples behind the last whole patch belong to none.
    """
    edges = np.arange(n_samples // patch + 1) * float(patch)
    out = np.zeros((len(INTERVALS), len(edges) - 1))
    for row, name in enumerate(INTERVALS):
        both = stretches.get(name, np.empty((0, 2)))
        until = np.clip(edges[None, :], both[:, :1], both[:, 1:])
        out[row] = np.diff(until, axis=1).sum(axis=0) / patch
    return out


def median_lengths(stretches: Sequence[Stretches], fs: float) -> dict[str, float]:
    """Return the median length of each interval, in s; NaN where it is in no window."""
    lengths = {name: np.concatenate([np.diff(each[name], axis=1)[:, 0] for each in stretches]) for name in INTERVALS}
    return {name: float(np.median(each)) / fs if len(each) else float("nan") for name, each in lengths.items()}


# ---------------------------------------------------------------------------------------------------------- flattening


def bridged(signal: np.ndarray, stretches: Floats) -> NDArray[np.float32]:
    """Return `signal` [lead, time] with a straight line in each stretch, from its first sample to that behind it.

    >>> bridged(np.array([[0.0, 5.0, 9.0, 3.0, 4.0]]), np.array([[0.0, 3.0]])).tolist()
    [[0.0, 1.0, 2.0, 3.0, 4.0]]
    """
    out = np.array(signal, np.float32)
    for begin, end in np.rint(stretches).astype(int):
        last = min(end, out.shape[1] - 1)
        if last - begin > 1:
            share = np.arange(last - begin + 1) / (last - begin)
            out[:, begin : last + 1] = signal[:, [begin]] * (1 - share) + signal[:, [last]] * share
    return out


def elsewhere(stretches: Floats, n_samples: int, random: np.random.Generator) -> Floats:
    """Return as many stretches of the same lengths [stretch, 2] at random places, without overlap, in random order."""
    lengths = random.permutation(np.rint(stretches[:, 1]) - np.rint(stretches[:, 0]))
    free = int(n_samples - 1 - lengths.sum())
    if free <= 0 or not len(lengths):
        return stretches
    gaps = np.sort(random.integers(free + 1, size=len(lengths)))
    begin = gaps + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    return np.stack([begin, begin + lengths], axis=1)


def flattened(windowed: Windowed, marked: Marked, interval: str, *, control: bool = False, seed: int = 0) -> Windowed:
    """Return the windows with each stretch of `interval` replaced by a straight line between its ends.

    control   as many stretches of the same lengths at random places instead; where depends on (seed, recording, start)

    The ends stay, so where and how high the peaks beside the interval are is still there. The window's own steps
    (scaling from 0 to 1) come after.
    """
    signal, n_samples = windowed.signal.copy(), windowed.signal.shape[-1]
    keys = record_keys(windowed.ids)
    for i, each in enumerate(marked.stretches):
        where = each[interval]
        if control:
            random = np.random.default_rng([derived_seed(seed, "elsewhere", interval), int(keys[i])])
            where = elsewhere(where, n_samples, random)
        signal[i] = bridged(windowed.signal[i], where)
    return replace(windowed, signal=signal)


def share_taken(before: Windowed, after: Windowed) -> float:
    """Return the share of the windows' variance that is in what was changed: 0 nothing, 1 as much as there was."""
    whole = before.signal.astype(np.float64)
    lost = ((whole - after.signal) ** 2).sum(axis=(1, 2))
    about = ((whole - whole.mean(axis=2, keepdims=True)) ** 2).sum(axis=(1, 2))
    return float(np.mean(lost / np.maximum(about, 1e-12)))
