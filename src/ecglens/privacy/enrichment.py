# SPDX-License-Identifier: Apache-2.0
"""Does a map over patches lie in some part of the beat more than that part's length explains?

Mass(I) = sum_i a_i |patch_i in I| / |patch_i|, as a share of sum a. Enrichment = mean mass / mean share of time, over
all windows: 1 for a uniform map. Two things are drawn, and they answer different questions:

- people, for the interval: would other people of this kind give the same figure?
- shifts, for p: each person's maps are turned round against the beats by one random number of patches. A map that
  knows neither beat nor place in the window is as likely after the turn as before. Windows begin before an R peak, so
  that a map which knows its place alone has a small p as well: the floor `by_place` is there to see it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.privacy.intervals import INTERVALS
from ecglens.statistics.bootstrap import Estimate, interval
from ecglens.statistics.people import mean_over_people, people_drawn

N_SHIFTS = 999  # so that p reaches below 0.05 where it is corrected for seven intervals

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Laid:
    """Windows whose patches are laid on the beat.

    overlaps  share of each patch in each interval [window, interval, patch], see `intervals.overlap`
    people    whose window it is [window]
    """

    overlaps: NDArray[np.float32]
    people: NDArray

    @property
    def shares(self) -> Floats:
        """Share of time in each interval [window, interval]."""
        return self.overlaps.mean(axis=2, dtype=np.float64)


def masses(attention: Floats, overlaps: np.ndarray) -> Floats:
    """Return the share of each map [window, patch] that lies in each interval: [window, interval]."""
    total = attention.sum(axis=1, keepdims=True)
    return np.einsum("wp,wip->wi", attention, overlaps) / np.where(total > 0, total, 1.0)


def enrichment(mass: Floats, laid: Laid, *, n_resamples: int = 2000, seed: int = 0) -> list[Estimate]:
    """Return the enrichment of each of INTERVALS with its interval over people; NaN where it is in no window."""
    numbers = pd.factorize(laid.people)[0]
    above, below = _by_person(mass, numbers), _by_person(laid.shares, numbers)
    drawn = people_drawn(len(above), n_resamples, seed)
    value, resampled = _ratio(above.sum(axis=0), below.sum(axis=0)), _ratio(drawn @ above, drawn @ below)
    told = []
    for k in range(len(INTERVALS)):
        bounds = interval(resampled[:, k])
        told.append(Estimate(float(value[k]), bounds.low, bounds.high, len(mass), len(above), "resamples of people"))
    return told


def shifted(attention: Floats, laid: Laid, *, n_shifts: int = N_SHIFTS, seed: int = 0) -> Floats:
    """Return the enrichment after each person's maps [window, patch] were turned round: [shift, interval]."""
    numbers = pd.factorize(laid.people)[0]
    n_people, n_patches = int(numbers.max()) + 1, attention.shape[1]
    at_shift = np.zeros((n_people, len(INTERVALS), n_patches))
    normed = attention / np.maximum(attention.sum(axis=1, keepdims=True), 1e-300)
    frequencies = np.fft.rfft(normed, axis=1).conj()
    for k in range(len(INTERVALS)):  # masses at every turn at once: a circular correlation
        turned = np.fft.irfft(np.fft.rfft(laid.overlaps[:, k], axis=1) * frequencies, n_patches, axis=1)
        at_shift[:, k] = _by_person(turned, numbers)
    turns = np.random.default_rng(seed).integers(1, n_patches, size=(n_shifts, n_people))
    above = np.stack([at_shift[np.arange(n_people), :, turn].sum(axis=0) for turn in turns])
    return _ratio(above, _by_person(laid.shares, numbers).sum(axis=0)[None])


def shift_p(value: float, turned: Floats) -> float:
    """Return the two-sided p of an enrichment among those of turned maps [shift].

    >>> shift_p(5.0, np.linspace(0.5, 1.5, 199)), shift_p(1.0, np.linspace(0.5, 1.5, 199))
    (0.01, 1.0)
    """
    if np.isnan(value) or np.isnan(turned).any():
        return float("nan")
    close = 1e-9 * max(1.0, abs(value))  # a correlation by FFT is rounded
    above, below = (turned >= value - close).sum(), (turned <= value + close).sum()
    return float(min(1.0, 2 * (1 + min(above, below)) / (1 + len(turned))))


def shares_among(mass: Floats, laid: Laid, names: tuple[str, ...], *, per_time: bool, n_resamples: int, seed: int
                 ) -> list[Estimate]:  # fmt: skip
    """Return what each of some intervals has of what all of them have, as TransECG's Table II tells attention.

    per_time   of attention per second, so that a long interval has no more than a short one
    """
    numbers, at = pd.factorize(laid.people)[0], [INTERVALS.index(name) for name in names]
    above, below = _by_person(mass[:, at], numbers), _by_person(laid.shares[:, at], numbers)
    drawn = people_drawn(len(above), n_resamples, seed)
    parts = []
    for weights in (np.ones((1, len(above))), drawn):
        amount = _ratio(weights @ above, weights @ below) if per_time else weights @ above
        parts.append(_ratio(amount, amount.sum(axis=1, keepdims=True)))
    told = []
    for k in range(len(at)):
        bounds = interval(parts[1][:, k])
        told.append(
            Estimate(float(parts[0][0, k]), bounds.low, bounds.high, len(mass), len(above), "resamples of people")
        )
    return told


def rank_agreement(one: Floats, other: Floats, people: np.ndarray, *, n_resamples: int, seed: int) -> Estimate:
    """Return Spearman's rank correlation of two figures per interval [window, interval], as the mean over windows.

    Windows where a figure is missing or all are the same count for nothing.
    """
    known = ~(np.isnan(one) | np.isnan(other)).any(axis=1)
    ranks = [_centred_ranks(values[known]) for values in (one, other)]
    size = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    if not (size > 0).any():
        return Estimate(np.nan, np.nan, np.nan, 0, 0, "no window with all intervals")
    agreement = (ranks[0] * ranks[1]).sum(axis=1)[size > 0] / size[size > 0]
    return mean_over_people(agreement, people[known][size > 0], n_resamples=n_resamples, seed=seed, share=False)


def concordance(values: Floats, people: np.ndarray, *, n_resamples: int, seed: int) -> Estimate:
    """Return Kendall's W of the ranks of `values` [window, item] over windows: 1 the same order in all, 0 none."""
    ranks, n = _centred_ranks(values), values.shape[1]
    numbers = pd.factorize(people)[0]
    sums, counts = _by_person(ranks, numbers), np.bincount(numbers).astype(float)
    drawn = people_drawn(len(sums), n_resamples, seed)
    largest = (n**3 - n) / 12

    def of(weights: np.ndarray) -> Floats:
        return ((weights @ sums / (weights @ counts)[:, None]) ** 2).sum(axis=1) / largest

    value, resampled = float(of(np.ones((1, len(sums))))[0]), of(drawn)
    # People drawn twice agree with themselves, so that every resample is too concordant by about as much: taken off.
    bounds = interval((resampled - resampled.mean() + value).clip(0, 1))
    return Estimate(value, bounds.low, bounds.high, len(values), len(sums), "resamples of people")


def _centred_ranks(values: Floats) -> Floats:
    return pd.DataFrame(values).rank(axis=1).to_numpy() - (values.shape[1] + 1) / 2


def _by_person(values: Floats, numbers: np.ndarray) -> Floats:
    out = np.zeros((int(numbers.max()) + 1, values.shape[1]))
    np.add.at(out, numbers, values)
    return out


def _ratio(above: Floats, below: Floats) -> Floats:
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.divide(above, below, out=np.full(shape, np.nan), where=np.broadcast_to(below > 0, shape))
