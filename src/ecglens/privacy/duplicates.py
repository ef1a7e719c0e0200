# SPDX-License-Identifier: Apache-2.0
"""One person under two names: recordings that are the same samples, and windows of two people that are one curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d

from ecglens.errors import LeakError
from ecglens.privacy.windows import Windowed

ALIKE = 0.98  # correlation of two people's windows at the best shift, above which they are looked at as one recording
MOST_COMPARED = 5000  # windows: a minute or so, since each is compared with all
_SHARED = 0.5  # of a window that must overlap at the shift
# Samples smoothed by, so that a shift by part of a sample costs nothing, and one kept of so many.
_COARSE, _FINE = (8.0, 8), (4.0, 2)
_NEARLY = 0.1  # below ALIKE; what the coarse look may lose: one curve is 0.94 alike there at the worst shift

Floats = NDArray[np.float64]


def refuse_doubled_recordings(table: pd.DataFrame) -> None:
    """Raise LeakError where one recording, sample by sample, is given as that of two people or of two names."""
    pairs = table.drop_duplicates(["person", "recording", "fingerprint"])
    for column, what in (("person", "people"), ("recording", "recordings")):
        counts = pairs.groupby("fingerprint")[column].nunique()
        doubled = counts[counts > 1]
        if len(doubled):
            part = pairs[pairs["fingerprint"].isin(doubled.index)]
            names = part[column].nunique()  # how many, and where; who is not told
            found = f"{len(doubled)} recording{'s' * (len(doubled) > 1)} of {' and '.join(part['database'].unique())}"
            raise LeakError(
                "identify", what, f"{found} under two names, those of {names} {what}",
                "each recording once", "give each once, or say that they are one person; "
                "`ecglens data info` finds recordings that are there twice", kind="duplicate_people",
            )  # fmt: skip


@dataclass(frozen=True)
class Alike:
    """People of whom two windows are one curve, and what was looked at.

    pairs      of people, each pair once
    n_windows  compared, each with those of all other people
    n_of       windows there are; more than were compared only beyond MOST_COMPARED
    """

    pairs: tuple[tuple[str, str], ...]
    n_windows: int
    n_of: int


def alike_people(windowed: Windowed, threshold: float = ALIKE, *, most: int = MOST_COMPARED) -> Alike:
    """Return people of whom two windows are the same curve at some shift: probably one recording.

    A recording that was resampled, filtered, rescaled or cut elsewhere is found as well, where a window of the one
    overlaps a window of the other by half. Every window is compared with those of all other people; where there are
    more than `most`, the first of each recording, and as many more of each person as there is room for. Windows are
    compared coarsely first, and pairs that are nearly alike then once more.
    """
    table = windowed.table
    chosen = _to_compare(table, most)
    people = pd.factorize(table["person"].iloc[chosen])[0]
    names = table["person"].to_numpy()[chosen]
    signal = windowed.signal[chosen, 0].astype(np.float64)
    coarse, fine = _Shifted.of(signal, _COARSE), _Shifted.of(signal, _FINE)
    found = set()
    for i in range(len(chosen) - 1):
        others = np.flatnonzero(people[i + 1 :] != people[i]) + i + 1
        nearly = others[coarse.likeness(i, others) >= threshold - _NEARLY]
        if len(nearly):
            for j in nearly[fine.likeness(i, nearly) >= threshold]:
                found.add(tuple(sorted((str(names[i]), str(names[j])))))
    return Alike(tuple(sorted(found)), len(chosen), len(table))  # type: ignore[arg-type]


def _to_compare(table: pd.DataFrame, most: int) -> NDArray[np.int64]:
    """Return the positions of the windows to compare: all, or the first of each recording, then evenly of people."""
    begins = ~table.duplicated("recording").to_numpy()
    turn = table[~begins].groupby("person").cumcount().to_numpy()
    order = np.concatenate([np.flatnonzero(begins), np.flatnonzero(~begins)[np.argsort(turn, kind="stable")]])
    return np.sort(order[: max(most, int(begins.sum()))])


@dataclass(frozen=True, eq=False)
class _Shifted:
    """Windows, smoothed and thinned, ready to be correlated at every shift that leaves half of them: by FFT.

    spectra        [window, frequency], each window less its mean
    own, other     1 / root of the energy of what overlaps, of the window that is shifted and of the other
                   [window, shift]
    """

    spectra: NDArray[np.complex64]
    own: NDArray[np.float32]
    other: NDArray[np.float32]
    shifts: NDArray[np.int64]
    size: int

    @classmethod
    def of(cls, signal: Floats, how: tuple[float, int]) -> _Shifted:
        """Smooth `signal` [window, time] by so many samples, and keep one of so many."""
        smooth, thin = how
        slow = gaussian_filter1d(signal, smooth, axis=1)[:, ::thin]
        slow = slow - slow.mean(axis=1, keepdims=True)
        n = slow.shape[1]
        size, most = next_fast_len(2 * n, real=True), round(n * (1 - _SHARED))
        shifts = np.r_[0:most, size - most : size]
        running = np.concatenate([np.zeros((len(slow), 1)), np.cumsum(slow**2, axis=1)], axis=1)
        later = np.where(shifts < most, shifts, shifts - size)  # by how much the first of two is cut later
        begin, end = np.maximum(later, 0), np.minimum(n, n + later)
        own = running[:, end] - running[:, begin]
        other = running[:, end - later] - running[:, begin - later]
        inverse = [(1 / np.sqrt(np.maximum(energy, 1e-6))).astype(np.float32) for energy in (own, other)]
        return cls(rfft(slow.astype(np.float32), size, axis=1), inverse[0], inverse[1], shifts, size)

    def likeness(self, one: int, others: np.ndarray) -> NDArray[np.float32]:
        """Return the correlation of a window with `others` [window] at the best shift: [window]."""
        cross = irfft(self.spectra[one] * self.spectra[others].conj(), self.size, axis=1)[:, self.shifts]
        return np.asarray((cross * self.own[one] * self.other[others]).max(axis=1))
