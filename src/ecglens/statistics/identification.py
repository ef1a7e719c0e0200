# SPDX-License-Identifier: Apache-2.0
"""Identification: who is it, among how many? Ranks in a gallery of one template each, and open sets.

Terms and definitions as in ISO/IEC 19795-1; intervals by resampling people.

>>> hits = random_gallery_hits(np.array([0, 1]), np.array([0, 0]), n_others=4, size=3, k=1)
>>> hits.tolist()  # nobody nearer: always found; one of four nearer: found when it is not among the two others drawn
[1.0, 0.5]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

from ecglens.errors import InputError, UsageError
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.people import RULE_OF_THREE, check_rate, mean_over_people, people_drawn, people_estimate

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


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
    check_rate("far", far)
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
    sought = len(np.unique(numbers[found.known]))
    return people_estimate(float(value), resampled, int(found.known.sum()), len(np.unique(numbers)), level, sought)


def chance(metric: str, *, gallery_size: int = 0) -> float:
    """Return what a figure of verification or identification is expected to be when scores are dealt out at random.

    >>> chance("eer"), chance("fnmr_at_0.01"), chance("rank5", gallery_size=30), chance("dir_at_0.1", gallery_size=10)
    (0.5, 0.99, 0.16666666666666666, 0.01)
    """
    name, _, rate = metric.partition("_at_")
    if name in ("eer", "eer_each_person"):
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
