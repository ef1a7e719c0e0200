# SPDX-License-Identifier: Apache-2.0
"""How well people are told apart: verification (is it the same person?) and identification (who is it?).

A comparison has a score, higher for more alike. Accepted is what scores at or above a threshold: the share of
impostors accepted is the false match rate (FMR), the share of own recordings refused the false non-match rate (FNMR).
Terms and definitions as in ISO/IEC 19795-1; intervals by resampling people, since all comparisons of one person
resemble each other (Bolle, Ratha, Pankanti 2004, CVIU 93:1; Poh, Martin, Bengio 2007, AVBPA): a comparison of two
people counts as often as the product of how often each was drawn.

>>> trials = Trials([0.9, 0.8, 0.7, 0.2, 0.1, 0.6], [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])
>>> error_rates(trials).fnmr.round(3).tolist(), equal_error_rate(trials)
([1.0, 0.667, 0.333, 0.0, 0.0, 0.0, 0.0], 0.0)
>>> hits = random_gallery_hits(np.array([0, 1]), np.array([0, 0]), n_others=4, size=3, k=1)
>>> hits.tolist()  # nobody nearer: always found; one of four nearer: found when it is not among the two others drawn
[1.0, 0.5]
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

from ecglens.errors import InputError, UsageError
from ecglens.statistics.bootstrap import Estimate, interval

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FEWEST_PEOPLE = 2
# A rate below 3 / n cannot be told from 0 with n comparisons (rule of three: the upper 95 % bound of 0 of n).
RULE_OF_THREE = 3


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
    firsts, seconds, offset = [], [], 0
    for part in parts:
        firsts.append(part.first + offset)
        seconds.append(part.second + offset)
        offset += int(max(part.first.max(), part.second.max())) + 1
    return Trials(np.concatenate([p.scores for p in parts]), np.concatenate(firsts), np.concatenate(seconds))


def error_rates(trials: Trials) -> ErrorRates:
    """Return FMR and FNMR at every score that occurs."""
    curve = _Curve(trials)
    fmr, fnmr = curve.rates(np.ones((1, len(trials.scores))))
    return ErrorRates(np.concatenate([[np.inf], curve.steps]), fmr[0], fnmr[0])


def equal_error_rate(trials: Trials) -> float:
    """Return the rate at which FMR and FNMR cross, on straight lines between neighbouring thresholds."""
    return float(_crossing(*_Curve(trials).rates(np.ones((1, len(trials.scores)))))[0])


def fnmr_at(trials: Trials, fmr: float) -> float:
    """Return the lowest FNMR of a threshold whose FMR is at most `fmr`; NaN below 3 / impostor trials."""
    _check_rate("fmr", fmr)
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

    A resample without genuine trials is left out. The intervals of rates that the number of impostor trials cannot
    tell are NaN, as are their values.
    """
    curve, n_people = _Curve(trials), int(max(trials.first.max(), trials.second.max())) + 1
    drawn = people_drawn(n_people, n_resamples, seed)
    resampled: dict[str, list[Floats]] = {name: [] for name in ("eer", *map(_fnmr_name, fmrs))}
    for block in np.array_split(drawn, max(1, len(drawn) * len(trials.scores) // 2_000_000)):
        rates = curve.rates(pair_weights(trials, block))
        resampled["eer"].append(_crossing(*rates))
        for fmr in fmrs:
            resampled[_fnmr_name(fmr)].append(_lowest_fnmr(*rates, fmr))
    values = {"eer": equal_error_rate(trials)} | {_fnmr_name(fmr): fnmr_at(trials, fmr) for fmr in fmrs}
    return {
        name: _estimate(value, np.concatenate(resampled[name]), len(trials.scores), trials.n_people, level)
        for name, value in values.items()
    }


def pair_weights(trials: Trials, drawn: np.ndarray) -> Floats:
    """Return how often each trial counts [resample, trial], where each person was drawn `drawn` [resample, person].

    Within a person as often as the person was drawn, between two people as often as there are pairs of draws.
    """
    first = drawn[:, trials.first].astype(np.float64)
    return np.where(trials.genuine, first, first * drawn[:, trials.second])


# ------------------------------------------------------------------------------------------------------ identification


class Ranked(NamedTuple):
    """Where the right person stands for each probe, in a gallery with one template a person.

    better   others who score higher than the right person [probe]
    ties     others who score the same [probe]
    people   number of the probe's person [probe]
    n_others people in the gallery beside the right one
    """

    better: Indices
    ties: Indices
    people: Indices
    n_others: int


def ranked(similarity: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray) -> Ranked:
    """Return the ranks of probes whose person is in the gallery: `similarity` [probe, template].

    Several templates of a person count with their best. Raises InputError where a probe's person has no template.
    """
    names, scores = _best_per_person(similarity, gallery_people)
    place = {name: i for i, name in enumerate(names.tolist())}
    missing = sum(person not in place for person in np.asarray(probe_people).tolist())
    if missing:
        raise InputError(
            "identification", "gallery", f"{missing} probes of people who are not in it", "everybody who is looked for",
            "use the open-set protocol", kind="no_trials",
        )  # fmt: skip
    own = np.array([place[person] for person in np.asarray(probe_people).tolist()], np.int64)
    right = scores[np.arange(len(own)), own][:, None]
    ties = (scores == right).sum(axis=1) - 1
    return Ranked((scores > right).sum(axis=1), ties, np.asarray(probe_people, np.int64), len(names) - 1)


def random_gallery_hits(better: np.ndarray, ties: np.ndarray, n_others: int, size: int, k: int) -> Floats:
    """Return the chance that each probe [probe] finds its person among the first `k` of a gallery of `size` people.

    The right person is in the gallery, with size - 1 of the `n_others` drawn without replacement, so the number of
    those who score higher is hypergeometric: no gallery has to be drawn. Ties are broken by chance. With
    size = n_others + 1 it is the plain rank-k of the whole gallery.
    """
    if not 1 <= size <= n_others + 1 or k < 1:
        raise UsageError("gallery", "size, k", f"{size}, {k}", f"1 <= size <= {n_others + 1}, k of 1 or more")
    better, ties = np.asarray(better, np.int64), np.asarray(ties, np.int64)
    hits = np.zeros(len(better))
    for count in np.unique(ties):  # equal ones stand before the right person with equal chance for 0 .. count of them
        at = ties == count
        ahead = better[at][:, None] + np.arange(count + 1)
        hits[at] = hypergeom.cdf(k - 1, n_others, ahead, size - 1).mean(axis=1)
    return hits


def identification(
    found: Ranked, *, ks: Sequence[int] = (1, 5), n_resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> dict[str, Estimate]:
    """Return `rank<k>`: the share of probes whose person is among the first k, with intervals over the probes' people.

    The gallery is not resampled: a person drawn twice would be one competitor, not two, and every rank too good.
    """
    return {
        f"rank{k}": mean_over_people(
            random_gallery_hits(found.better, found.ties, found.n_others, found.n_others + 1, k), found.people,
            n_resamples=n_resamples, seed=seed, level=level,
        )
        for k in ks
    }  # fmt: skip


def gallery_curve(
    found: Ranked, sizes: Sequence[int], *, k: int = 1, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return rank-k against gallery size: columns size, value, low, high, chance, n, n_patients."""
    rows = []
    for size in sizes:
        hits = random_gallery_hits(found.better, found.ties, found.n_others, int(size), k)
        told = mean_over_people(hits, found.people, n_resamples=n_resamples, seed=seed)
        rows.append((int(size), told.value, told.low, told.high, min(1.0, k / int(size)), told.n, told.n_patients))
    return pd.DataFrame(rows, columns=["size", "value", "low", "high", "chance", "n", "n_patients"])


def cumulative_match(found: Ranked, up_to: int) -> Floats:
    """Return the CMC curve of the whole gallery: the share found among the first 1 .. `up_to` people."""
    size = found.n_others + 1
    return np.array(
        [random_gallery_hits(found.better, found.ties, found.n_others, size, k).mean() for k in range(1, up_to + 1)]
    )


class OpenSet(NamedTuple):
    """The nearest person for each probe, whether or not the right one is in the gallery.

    scores   of the nearest person [probe]
    right    the nearest person is the right one [probe]; False for unknown people
    known    the right person is in the gallery [probe]
    people   number of the probe's person [probe]
    size     people in the gallery
    """

    scores: Floats
    right: NDArray[np.bool_]
    known: NDArray[np.bool_]
    people: Indices
    size: int


def open_set(similarity: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray) -> OpenSet:
    """Return the nearest person of each probe: `similarity` [probe, template]. Of equal ones the first is taken."""
    names, scores = _best_per_person(similarity, gallery_people)
    people = np.asarray(probe_people, np.int64)
    nearest = names[scores.argmax(axis=1)]
    return OpenSet(scores.max(axis=1), nearest == people, np.isin(people, names), people, len(names))


def detection_and_identification(
    found: OpenSet, far: float = 0.01, *, n_resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Return DIR at FAR: the share of known probes that are accepted and rightly named.

    far   share of probes of unknown people that may be accepted; the threshold is the lowest that keeps to it

    Known and unknown people are resampled together. NaN where the probes of unknown people are fewer than 3 / far.
    """
    _check_rate("far", far)
    if found.known.all() or not found.known.any():
        raise InputError(
            "open set", "probes", f"{int(found.known.sum())} of {len(found.known)} known",
            "some of people in the gallery, some of others", "use verification or closed-set", kind="no_trials",
        )  # fmt: skip
    numbers = np.unique(found.people, return_inverse=True)[1]
    drawn = people_drawn(int(numbers.max()) + 1, n_resamples, seed)[:, numbers].astype(np.float64)
    enough = (~found.known).sum() * far >= RULE_OF_THREE
    value = _dir_at(found, np.ones((1, len(numbers))), far)[0] if enough else np.nan
    resampled = _dir_at(found, drawn, far) if enough else np.full(n_resamples, np.nan)
    return _estimate(float(value), resampled, int(found.known.sum()), len(np.unique(numbers)), level)


def mean_over_people(
    values: np.ndarray, people: Sequence[Hashable] | np.ndarray, *, n_resamples: int = 2000, seed: int = 0,
    level: float = 0.95,
) -> Estimate:  # fmt: skip
    """Return the mean of `values` [probe] with its interval, whole `people` [probe] resampled."""
    numbers = pd.factorize(np.asarray(people))[0]
    sums, counts = np.bincount(numbers, np.asarray(values, np.float64)), np.bincount(numbers).astype(np.float64)
    drawn = people_drawn(len(counts), n_resamples, seed)
    resampled = (drawn @ sums) / (drawn @ counts)
    return _estimate(float(np.mean(values)), resampled, len(numbers), len(counts), level)


def chance(metric: str, *, gallery_size: int = 0) -> float:
    """Return what a figure of this module is expected to be when scores are dealt out at random.

    >>> chance("eer"), chance("fnmr_at_0.01"), chance("rank5", gallery_size=30), chance("dir_at_0.1", gallery_size=10)
    (0.5, 0.99, 0.16666666666666666, 0.01)
    """
    name, _, rate = metric.partition("_at_")
    if name == "eer":
        return 0.5
    if name == "fnmr" and rate:
        return 1 - float(rate)
    if gallery_size < 1:
        raise UsageError("chance", "gallery_size", gallery_size, "1 or more people")
    if name == "dir" and rate:
        return float(rate) / gallery_size
    if name.startswith("rank") and name[4:].isdigit():
        return min(1.0, int(name[4:]) / gallery_size)
    raise UsageError("chance", "metric", metric, "eer, fnmr_at_X, rankK, dir_at_X")


# -------------------------------------------------------------------------------------------------------------- inside


class _Curve:
    """Trials sorted once; every resample is then two running sums."""

    def __init__(self, trials: Trials) -> None:
        self.order = np.argsort(-trials.scores, stable=True)
        ordered = trials.scores[self.order]
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # last of each run of equal scores
        self.steps = ordered[self.ends]
        self.genuine = trials.genuine[self.order].astype(np.float64)

    def rates(self, weights: np.ndarray) -> tuple[Floats, Floats]:
        """Return FMR and FNMR [resample, threshold] for `weights` [resample, trial]; NaN without a kind of trial."""
        ordered = np.asarray(weights, np.float64)[:, self.order]
        accepted = [self._accepted(ordered * kind) for kind in (self.genuine, 1 - self.genuine)]
        return accepted[1], 1 - accepted[0]

    def _accepted(self, weights: Floats) -> Floats:
        sums = np.cumsum(weights, axis=1)
        total = sums[:, -1:]
        share = np.divide(sums[:, self.ends], total, out=np.full((len(sums), len(self.ends)), np.nan), where=total > 0)
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


def _dir_at(found: OpenSet, weights: Floats, far: float) -> Floats:
    order = np.argsort(-found.scores, stable=True)
    ordered = found.scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    parts = []
    for kind, base in ((~found.known, ~found.known), (found.right, found.known)):
        sums = np.cumsum(weights[:, order] * kind[order], axis=1)[:, ends]
        total = (weights * base).sum(axis=1, keepdims=True)
        parts.append(np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0))
    false_alarms, named = parts
    allowed = np.where(false_alarms <= far * (1 + 1e-12), named, 0.0).max(axis=1)
    return np.where(np.isnan(false_alarms[:, 0]) | np.isnan(named[:, 0]), np.nan, allowed)


def _best_per_person(similarity: np.ndarray, gallery_people: np.ndarray) -> tuple[Indices, Floats]:
    names, numbers = np.unique(np.asarray(gallery_people, np.int64), return_inverse=True)
    similarity = np.asarray(similarity, np.float64)
    if similarity.ndim != 2 or similarity.shape[1] != len(numbers):
        raise UsageError("gallery", "similarity", f"shape {similarity.shape}", f"[probe, {len(numbers)} templates]")
    scores = np.full((len(names), len(similarity)), -np.inf)
    np.maximum.at(scores, numbers, similarity.T)
    return names, np.ascontiguousarray(scores.T)


def people_drawn(n_people: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each person is drawn in each resample [resample, person]."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [np.bincount(generator.integers(n_people, size=n_people), minlength=n_people) for _ in range(n_resamples)]
    )


def _estimate(value: float, resampled: np.ndarray, n: int, n_people: int, level: float) -> Estimate:
    if n_people < FEWEST_PEOPLE or np.isnan(value):
        why = "one person" if n_people < FEWEST_PEOPLE else "too few comparisons for this rate"
        return Estimate(value, np.nan, np.nan, n, n_people, f"no interval ({why})")
    drawn = interval(resampled, level)
    method = f"{level:.0%} percentile interval, {drawn.usable} of {len(resampled)} resamples of people"
    return Estimate(value, drawn.low, drawn.high, n, n_people, method)


def _fnmr_name(fmr: float) -> str:
    return f"fnmr_at_{fmr:g}"


def _check_rate(name: str, rate: float) -> None:
    if not 0 < rate < 1:
        raise UsageError("biometrics", name, rate, "between 0 and 1, both excluded")
