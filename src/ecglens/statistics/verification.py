# SPDX-License-Identifier: Apache-2.0
"""Verification: is it the same person?

A comparison has a score, higher for more alike. Accepted is what scores at or above a threshold: the share of
impostors accepted is the false match rate (FMR), the share of own recordings refused the false non-match rate (FNMR).
Terms and definitions as in ISO/IEC 19795-1; intervals by resampling people, since all comparisons of one person
resemble each other (Bolle, Ratha, Pankanti 2004, CVIU 93:1; Poh, Martin, Bengio 2007, AVBPA): a comparison of two
people counts as often as the product of how often each was drawn.

>>> trials = Trials([0.9, 0.8, 0.7, 0.2, 0.1, 0.6], [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])
>>> error_rates(trials).fnmr.round(3).tolist(), equal_error_rate(trials)
([1.0, 0.667, 0.333, 0.0, 0.0, 0.0, 0.0], 0.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import InputError, UsageError
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.people import RULE_OF_THREE, check_rate, numbered_on, people_drawn, people_estimate

EACH_PERSON = "eer_each_person"

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trials:
    """Comparisons of two recordings each; genuine where both are of one person.

    scores         float64 [trial], higher for more alike
    first, second  number of the person of either recording [trial]
    """

    scores: Floats
    first: Indices
    second: Indices

    def __post_init__(self) -> None:
        for name, kind in (("scores", np.float64), ("first", np.int64), ("second", np.int64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        shapes = {self.scores.shape, self.first.shape, self.second.shape}
        if len(shapes) != 1 or self.scores.ndim != 1:
            raise UsageError("Trials", "shapes", sorted(map(str, shapes)), "one value of each per trial")
        if not np.isfinite(self.scores).all():
            raise InputError("Trials", "scores", "NaN or infinite", "finite numbers", kind="scores")
        if len(self.scores) and min(self.first.min(), self.second.min()) < 0:
            raise UsageError("Trials", "people", "negative numbers", "people numbered from 0")
        if not self.genuine.any() or self.genuine.all():
            found = f"{int(self.genuine.sum())} genuine of {len(self.scores)}"
            raise InputError(
                "Trials", "comparisons", found, "some of one person and some of two people",
                "verification needs two recordings of a person, and two people", kind="no_trials",
            )  # fmt: skip

    @property
    def genuine(self) -> NDArray[np.bool_]:
        """True where both recordings are of one person [trial]."""
        return np.asarray(self.first == self.second)

    @property
    def n_people(self) -> int:
        """People in any comparison."""
        return len(np.union1d(self.first, self.second))


class ErrorRates(NamedTuple):
    """Both errors at each threshold, from refusing all to accepting all: the points of a DET curve.

    thresholds  accepted is what scores at or above; infinity first
    fmr, fnmr   share of impostor trials accepted, of genuine ones refused
    """

    thresholds: Floats
    fmr: Floats
    fnmr: Floats


def pairs(similarity: np.ndarray, people: np.ndarray) -> Trials:
    """Return every pair of recordings once: `similarity` [recording, recording], `people` [recording]."""
    rows, columns = np.triu_indices(len(people), k=1)
    return Trials(np.asarray(similarity)[rows, columns], np.asarray(people)[rows], np.asarray(people)[columns])


def joined(parts: Sequence[Trials]) -> Trials:
    """Return the trials of several folds as one: nobody stands in two of them, so people are numbered on."""
    people = np.concatenate(numbered_on([np.stack([part.first, part.second]) for part in parts]), axis=1)
    return Trials(np.concatenate([part.scores for part in parts]), *people)


def error_rates(trials: Trials) -> ErrorRates:
    """Return FMR and FNMR at every score that occurs."""
    curve = _Curve(trials, every_score=True)
    fmr, fnmr = curve.rates(np.ones((1, len(trials.scores))))
    return ErrorRates(np.concatenate([[np.inf], curve.steps]), fmr[0], fnmr[0])


def equal_error_rate(trials: Trials) -> float:
    """Return the rate at which FMR and FNMR cross, on straight lines between neighbouring thresholds."""
    return float(_crossing(*_Curve(trials).rates(np.ones((1, len(trials.scores)))))[0])


def fnmr_at(trials: Trials, fmr: float) -> float:
    """Return the lowest FNMR of a threshold whose FMR is at most `fmr`; NaN below 3 / impostor trials."""
    check_rate("fmr", fmr)
    if fmr * int((~trials.genuine).sum()) < RULE_OF_THREE:
        return float("nan")
    return float(_lowest_fnmr(*_Curve(trials).rates(np.ones((1, len(trials.scores)))), fmr)[0])


def verification(
    trials: Trials,
    *,
    fmrs: Sequence[float] = (0.01, 0.001),
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Return `eer` and `fnmr_at_<fmr>`, each with its interval over people, genuine and impostor trials together.

    `eer` counts comparisons, so whoever was recorded twenty times counts 190 times as much as whoever was recorded
    twice; `eer_each_person` counts people, see `person_weights`.

    A resample without genuine trials is left out. The intervals of rates that the number of impostor trials cannot
    tell are NaN, as are their values.
    """
    curve = _Curve(trials)
    drawn = people_drawn(int(max(trials.first.max(), trials.second.max())) + 1, n_resamples, seed)
    alike = person_weights(curve.trials)
    resampled: dict[str, list[Floats]] = {name: [] for name in ("eer", EACH_PERSON, *map(_fnmr_name, fmrs))}
    for block in np.array_split(drawn, max(1, len(drawn) * len(trials.scores) // 2_000_000)):
        weights = pair_weights(curve.trials, block)
        rates = curve.rates(weights)
        resampled["eer"].append(_crossing(*rates))
        resampled[EACH_PERSON].append(_crossing(*curve.rates(weights * alike)))
        for fmr in fmrs:
            resampled[_fnmr_name(fmr)].append(_lowest_fnmr(*rates, fmr))
    values = {"eer": equal_error_rate(trials), EACH_PERSON: float(_crossing(*curve.rates(alike[None]))[0])} | {
        _fnmr_name(fmr): fnmr_at(trials, fmr) for fmr in fmrs
    }
    n, twice = len(trials.scores), len(np.unique(trials.first[trials.genuine]))
    return {
        name: people_estimate(value, np.concatenate(resampled[name]), n, trials.n_people, level, twice)
        for name, value in values.items()
    }


def person_weights(trials: Trials) -> Floats:
    """Return how much each trial counts [trial] where each person's genuine trials count 1 together, and each two
    people's impostor trials.
    """
    low, high = np.minimum(trials.first, trials.second), np.maximum(trials.first, trials.second)
    _, which, count = np.unique(low * (int(high.max()) + 1) + high, return_inverse=True, return_counts=True)
    return np.asarray(1 / count[which])


def pair_weights(trials: Trials, drawn: np.ndarray) -> Floats:
    """Return how often each trial counts [resample, trial], where each person was drawn `drawn` [resample, person].

    Within a person as often as the person was drawn, between two people as often as there are pairs of draws.
    """
    return weights_of_pairs(trials.first, trials.second, drawn)


def weights_of_pairs(first: Indices, second: Indices, drawn: np.ndarray) -> Floats:
    """Return how often each pair of people [pair] counts [resample, pair], as `pair_weights` does for trials."""
    times = drawn.astype(np.float64)
    weights = np.take(times, first, axis=1)
    own = np.flatnonzero(first == second)
    within = weights[:, own]
    weights *= np.take(times, second, axis=1)
    weights[:, own] = within
    return weights


# -------------------------------------------------------------------------------------------------------------- inside


class _Curve:
    """Trials sorted once, most alike first, and the thresholds where a figure can lie.

    Between two scores of one kind only one of both errors moves, so a row of scores of one kind is one step: where the
    errors cross on it, and the lowest FNMR that an FMR allows, are what they would be score by score. Of a million
    comparisons, of which a thousand are of one person, that leaves two thousand thresholds.
    """

    def __init__(self, trials: Trials, *, every_score: bool = False) -> None:
        order = np.argsort(-trials.scores, stable=True)
        self.trials = Trials(trials.scores[order], trials.first[order], trials.second[order])
        scores, genuine = self.trials.scores, self.trials.genuine
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # last of each row of equal scores
        starts = np.append(0, ends[:-1] + 1)
        share = np.add.reduceat(genuine.astype(np.float64), starts) / (ends + 1 - starts)  # of genuine ones
        turns = np.append((share[1:] != share[:-1]) | (share[1:] % 1 != 0), True)
        kept = turns | every_score
        self.ends = ends[kept]
        self.steps = scores[self.ends]
        self.starts = np.append(0, self.ends[:-1] + 1)
        step = np.searchsorted(self.ends, np.arange(len(scores)))
        n_own, n_others = (np.bincount(step[kind], minlength=len(self.ends)) for kind in (genuine, ~genuine))
        self.only_own = n_others == 0
        self.own = _Part.of(genuine, step)
        self.others_among_own = _Part.of(~genuine & ((n_own > 0) & (n_others > 0))[step], step)

    def rates(self, weights: np.ndarray) -> tuple[Floats, Floats]:
        """Return FMR and FNMR [resample, threshold] for `weights` [resample, trial] of `self.trials`.

        NaN without a kind of trial.
        """
        weights = np.asarray(weights, np.float64)
        own = np.zeros((len(weights), len(self.ends)))
        others = np.add.reduceat(weights, self.starts, axis=1)
        others[:, self.only_own] = 0
        # Each kind is summed by itself: a difference of sums would leave crumbs where there is nothing of a kind.
        for sums, part in ((own, self.own), (others, self.others_among_own)):
            if len(part.at):
                sums[:, part.steps] = np.add.reduceat(weights[:, part.at], part.first, axis=1)
        return _accepted(others), 1 - _accepted(own)


class _Part(NamedTuple):
    """Some of the trials: where they are, the steps that they are in, and the first of each step among them."""

    at: Indices
    steps: Indices
    first: Indices

    @classmethod
    def of(cls, wanted: NDArray[np.bool_], step: Indices) -> _Part:
        at = np.flatnonzero(wanted)
        steps, first = np.unique(step[at], return_index=True)
        return cls(at, steps, first)


def _accepted(weights: Floats) -> Floats:
    """Return the share accepted [resample, threshold], none first, of `weights` [resample, step]."""
    sums = np.cumsum(weights, axis=1)
    total = sums[:, -1:]
    share = np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)
    return np.concatenate([np.where(np.isnan(share[:, :1]), np.nan, 0.0), share], axis=1)


def _crossing(fmr: Floats, fnmr: Floats) -> Floats:
    """Return where the two rise and fall through each other [resample], on straight lines between thresholds."""
    gap = fmr - fnmr  # from -1 to 1, never falling
    after = np.argmax(gap >= 0, axis=1)
    rows = np.arange(len(gap))
    low, high = gap[rows, after - 1], gap[rows, after]
    with np.errstate(invalid="ignore"):
        share = -low / (high - low)
    return fmr[rows, after - 1] + share * (fmr[rows, after] - fmr[rows, after - 1])


def _lowest_fnmr(fmr: Floats, fnmr: Floats, at_most: float) -> Floats:
    allowed = np.where(fmr <= at_most * (1 + 1e-12), fnmr, np.inf).min(axis=1)
    return np.where(np.isfinite(allowed), allowed, np.nan)


def _fnmr_name(fmr: float) -> str:
    return f"fnmr_at_{fmr:g}"
