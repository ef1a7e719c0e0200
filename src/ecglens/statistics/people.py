# SPDX-License-Identifier: Apache-2.0
"""Intervals by resampling people: all that is of one person is drawn together, since it resembles each other.

>>> told = mean_over_people(np.array([1.0, 0.0, 1.0, 1.0]), ["a", "a", "b", "c"], n_resamples=100)
>>> told.value, told.n, told.n_patients
(0.75, 4, 3)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import Estimate, interval
from ecglens.statistics.boundary import all_or_none

FEWEST_PEOPLE = 2
# A rate below 3 / n cannot be told from 0 with n comparisons (rule of three: the upper 95 % bound of 0 of n).
RULE_OF_THREE = 3


def mean_over_people(
    values: np.ndarray, people: Sequence[Hashable] | np.ndarray, *, n_resamples: int = 2000, seed: int = 0,
    level: float = 0.95, share: bool = True,
) -> Estimate:  # fmt: skip
    """Return the mean of `values` [probe] with its interval, whole `people` [probe] resampled.

    share   whether the values are shares of 1, so that a mean of 0 or 1 has Wilson's interval (see `boundary`)
    """
    numbers = pd.factorize(np.asarray(people))[0]
    sums, counts = np.bincount(numbers, np.asarray(values, np.float64)), np.bincount(numbers).astype(np.float64)
    drawn = people_drawn(len(counts), n_resamples, seed)
    resampled = (drawn @ sums) / (drawn @ counts)
    draws = len(counts) if share else 0
    return people_estimate(float(np.mean(values)), resampled, len(numbers), len(counts), level, draws)


def numbered_on(folds: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Return the people of several folds, numbered from 0 in each, under numbers that are nobody else's.

    >>> [people.tolist() for people in numbered_on([np.array([0, 1, 1]), np.array([0]), np.array([2, 0])])]
    [[0, 1, 1], [2], [5, 3]]
    """
    numbered, offset = [], 0
    for people in folds:
        numbered.append(people + offset)
        offset += int(people.max(initial=-1)) + 1
    return numbered


def people_drawn(n_people: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each person is drawn in each resample [resample, person]."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [np.bincount(generator.integers(n_people, size=n_people), minlength=n_people) for _ in range(n_resamples)]
    )


def people_estimate(value: float, resampled: np.ndarray, n: int, n_people: int, level: float, draws: int) -> Estimate:
    """Return a figure with the interval of its `resampled` values [resample]; none of one person, none of NaN.

    draws   people whom a share of 0 or 1 is about: it is the same in every resample, and has Wilson's interval
            instead; 0 where the figure is no share
    """
    if n_people < FEWEST_PEOPLE or np.isnan(value):
        why = "one person" if n_people < FEWEST_PEOPLE else "too few comparisons for this rate"
        return Estimate(value, np.nan, np.nan, n, n_people, f"no interval ({why})")
    bound = all_or_none(value, draws, level=level)
    if bound:
        return Estimate(value, bound.low, bound.high, n, n_people, bound.method)
    drawn = interval(resampled, level)
    method = f"{level:.0%} percentile interval, {drawn.usable} of {len(resampled)} resamples of people"
    return Estimate(value, drawn.low, drawn.high, n, n_people, method)


def check_rate(name: str, rate: float) -> None:
    """Raise UsageError for a rate that is none."""
    if not 0 < rate < 1:
        raise UsageError("biometrics", name, rate, "between 0 and 1, both excluded")
