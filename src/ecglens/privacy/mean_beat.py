# SPDX-License-Identifier: Apache-2.0
"""The mean beat of many people, with maps over it: nothing of any one person is drawn.

Beats are aligned at R, averaged within a person and then over people, so that nobody counts more than another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.fiducials import MARKS, Fiducials
from ecglens.statistics.people import people_drawn

BEFORE, AFTER = 0.32, 0.52  # s around R
FEWEST_PEOPLE = 5  # below that a mean beat is somebody's
PEAKS = ("P", "Q", "R", "S", "T")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Beats:
    """Mean beats, one a person.

    times    of the samples, in s from R [time]
    people   [person]
    series   by name [person, time]: `trace` as the network sees it, and maps whose mean over a window is 1
    peaks    median times of PEAKS from R, in s, of each person; NaN where a peak is in no beat [person, peak]
    """

    times: Floats
    people: NDArray
    series: dict[str, Floats]
    peaks: Floats


def mean_beat(
    trace: np.ndarray, maps: Mapping[str, Floats], marks: Sequence[Fiducials], people: np.ndarray, fs: float
) -> Beats:
    """Return each person's mean beat of `trace` [window, time] with `maps` [window, patch] over it.

    People without one whole beat are left out.
    """
    n_samples = trace.shape[1]
    offsets = np.arange(-round(BEFORE * fs), round(AFTER * fs) + 1)
    named = ["trace", *maps]
    numbers, names = pd.factorize(people)
    sums, counts = np.zeros((len(names), len(named), len(offsets))), np.zeros(len(names))
    peaks: list[list[Floats]] = [[] for _ in names]
    for i, number in enumerate(numbers):
        times = marks[i].times[0][:, [MARKS.index(f"{peak}_peak") for peak in PEAKS]]
        peaks[number].append(times - times[:, [PEAKS.index("R")]])
        r = np.rint(times[:, PEAKS.index("R")] * fs)
        r = r[(r + offsets[0] >= 0) & (r + offsets[-1] < n_samples)].astype(int)
        if not len(r):
            continue
        rows = np.stack([trace[i], *(on_samples(values[i], n_samples) for values in maps.values())])
        sums[number] += rows[:, r[:, None] + offsets].sum(axis=1)
        counts[number] += len(r)
    kept = counts > 0
    means = sums[kept] / counts[kept][:, None, None]
    series = {name: means[:, k] for k, name in enumerate(named)}
    median = np.array([_medians(each) for each in peaks]).reshape(len(names), len(PEAKS))
    return Beats(offsets / fs, np.asarray(names)[kept], series, median[kept])


def on_samples(patches: Floats, n_samples: int) -> Floats:
    """Return a map [patch] on samples [time], relative to a uniform one; samples behind the last patch have its value.

    >>> on_samples(np.array([0.25, 0.75]), 5).tolist()
    [0.5, 0.5, 1.5, 1.5, 1.5]
    """
    n_patches = len(patches)
    at = (np.arange(n_samples) // (n_samples // n_patches)).clip(0, n_patches - 1)
    return (patches * n_patches)[at]


def over_people(parts: Sequence[Beats], *, n_resamples: int = 500, seed: int = 0) -> pd.DataFrame | None:
    """Return the mean over people of each series: columns series, time, value, low, high; None of fewer than five.

    Heads are those of the first network alone: heads of two networks have nothing in common.
    """
    people = np.concatenate([part.people for part in parts])
    if len(np.unique(people)) < FEWEST_PEOPLE:
        return None
    rows = []
    for name in parts[0].series:
        used = parts[:1] if name.startswith("head") else parts
        if len(np.unique(np.concatenate([part.people for part in used]))) < FEWEST_PEOPLE:
            continue
        values = np.concatenate([part.series[name] for part in used])
        drawn = people_drawn(len(values), n_resamples, seed)
        low, high = np.quantile(drawn @ values / len(values), [0.025, 0.975], axis=0)
        rows.append(
            pd.DataFrame({"series": name, "time": parts[0].times, "value": values.mean(0), "low": low, "high": high})
        )
    return pd.concat(rows, ignore_index=True)


def peak_times(parts: Sequence[Beats]) -> dict[str, float]:
    """Return the median over people of when each of PEAKS is, in s from R; peaks that nobody has are left out."""
    middle = _medians([part.peaks for part in parts])
    return {name: float(value) for name, value in zip(PEAKS, middle, strict=True) if not np.isnan(value)}


def _medians(parts: Sequence[Floats]) -> Floats:
    values = np.concatenate(list(parts)) if parts else np.empty((0, len(PEAKS)))
    out = np.full(len(PEAKS), np.nan)
    known = ~np.isnan(values).all(axis=0) if len(values) else np.zeros(len(PEAKS), bool)
    out[known] = np.nanmedian(values[:, known], axis=0)
    return out
