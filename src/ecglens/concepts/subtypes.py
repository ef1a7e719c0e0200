# SPDX-License-Identifier: Apache-2.0
"""Sub-types of a group of records: clusters of vectors, chosen without labels; what labels would say of them, apart.

Wagner et al. (2024, arXiv 2305.17043, section 6.7) cluster mean beats of attributions, signals and features of records
with an infarction, and compare the clusters with the place of the infarction. They chose the number of components and
the method by the very labels they compared with: an upper bound, as they say. Here both are told, under their names.

reduce       principal components that keep 75 % of the variance; no labels
grid         k-means, a mixture of normals, and Ward's hierarchical clustering, for 2 to 6 clusters
blind        of the mixtures the one with the lowest BIC stands, or none, where one normal has a lower one. Of that and
             the others the candidate with the largest silhouette among those that come back in halves of the people
             (adjusted Rand index of 0.8 or more); where none does, the one that comes nearest, and it is not stable
upper_bound  the candidate of the grid with the best accuracy, by the labels

>>> generator = np.random.default_rng(0)
>>> truth = np.repeat([0, 1], 40)
>>> found = try_all(generator.normal(size=(80, 6)) + 6.0 * truth[:, None], [str(k) for k in range(80)], ks=(2, 3))
>>> best = blind(found)
>>> best.k, best.stable, accuracy(best.labels, truth)
(2, True, 1.0)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.concepts.state_stability import ari_of_tables, matched
from ecglens.errors import InputError, UsageError
from ecglens.runs.draws import derived_seed
from ecglens.statistics.bootstrap import drawn_figure, patient_weights
from ecglens.statistics.figures import json_number

METHODS = ("kmeans", "gmm", "hierarchical")
KS = (2, 3, 4, 5, 6)
KEEP = 0.75
STABLE = 0.8
LEAST = 30  # records of a group
N_HALVES = 5
N_RESAMPLES = 1000

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to cluster a group.

    labels      cluster of each record, from 0, largest cluster first
    silhouette  mean over records
    bic         of mixtures (lower is better); NaN for the others
    halves      mean adjusted Rand index between clusterings of random halves of the people, on the people of both
    """

    method: str
    k: int
    labels: Labels
    silhouette: float
    bic: float
    halves: float

    @property
    def stable(self) -> bool:
        """Whether halves of the people give the same clusters."""
        return self.halves >= STABLE

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in JSON, without the records."""
        figures = {name: json_number(getattr(self, name)) for name in ("silhouette", "bic", "halves")}
        return {"method": self.method, "k": self.k} | figures | {"stable": self.stable}


def reduce(vectors: np.ndarray, keep: float = KEEP) -> Floats:
    """Return the principal components [record, component] of vectors [record, ...] that keep this share of variance."""
    flat = np.asarray(vectors, dtype=np.float64).reshape(len(vectors), -1)
    left, sizes, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    power = sizes**2
    total = float(power.sum())
    if total <= 0:
        raise InputError("find-subtypes", "vectors", "all alike", "vectors that differ", kind="no_difference")
    n = int(np.searchsorted(power.cumsum() / total, keep - 1e-12)) + 1
    return np.asarray(left[:, :n] * sizes[:n])


def try_all(
    vectors: np.ndarray,
    people: Sequence[str],
    *,
    ks: Sequence[int] = KS,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
) -> list[Candidate]:
    """Return every candidate of the grid for vectors [record, component]; `people`: whose record it is.

    Where fewer clusters than asked for come out, since few vectors differ, there is no such candidate.
    Raises InputError for a group of fewer than 30 records.
    """
    if len(vectors) < LEAST:
        raise InputError(
            "find-subtypes", "records of the group", len(vectors), f"{LEAST} or more", "choose a larger group",
            kind="too_few",
        )  # fmt: skip
    values = np.asarray(vectors, dtype=np.float64)
    owners = np.unique(np.array(people, dtype=object).astype(str), return_inverse=True)[1]
    found = [_candidate(values, owners, method, k, seed) for method in methods for k in ks]
    return [one for one in found if len(np.unique(one.labels)) == one.k]


def blind(candidates: Sequence[Candidate], one_normal: float = float("nan")) -> Candidate:
    """Return the candidate to take without knowing any label.

    one_normal   BIC of a single normal on the same vectors; NaN: mixtures are compared with each other alone
    """
    mixtures = sorted((one for one in candidates if np.isfinite(one.bic)), key=lambda one: (one.bic, one.k))
    others = [one for one in candidates if not np.isfinite(one.bic)]
    several = not others or (bool(mixtures) and not mixtures[0].bic > one_normal)
    standing = others + mixtures[:1] if several else others
    stable = [one for one in standing if one.stable]
    if stable:
        return max(stable, key=lambda one: (one.silhouette, -one.k))
    return max(standing, key=lambda one: tuple(np.nan_to_num([one.halves, one.silhouette], nan=-1.0)))


def bic_of_one_normal(vectors: np.ndarray) -> float:
    """Return the BIC (lower is better) of a single normal on vectors [record, component]: no clusters at all."""
    return float(_mixture(np.asarray(vectors, dtype=np.float64), 1, 0)[1])


def upper_bound(candidates: Sequence[Candidate], truth: Labels) -> Candidate:
    """Return the candidate that fits the labels best: chosen by what it is scored on."""
    return max(candidates, key=lambda one: (accuracy(one.labels, truth), -one.k))


def accuracy(labels: Labels, truth: Labels, weights: np.ndarray | None = None) -> float:
    """Return the share of records whose cluster is the one that stands for their label.

    Clusters and labels are paired one to one so that the share is largest; clusters beyond the labels stand for none.
    """
    return float(_paired(_table(labels, truth), weights=None, labels=labels, truth=truth)[0])


def scores(labels: Labels, truth: Labels, people: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Return `accuracy`, `ari` and `majority` (the share of the commonest label), with intervals over people.

    The pairing of clusters and labels is that of all records in every resample.
    """
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    hit = _paired(_table(labels, truth), weights, labels, truth)
    k, n = int(labels.max()) + 1, int(truth.max()) + 1
    cells = np.zeros((len(labels), k * n))
    cells[np.arange(len(labels)), labels * n + truth] = 1
    tables = (np.concatenate([np.ones((1, len(labels))), weights]) @ cells).reshape(-1, k, n)
    return {
        "accuracy": drawn_figure(hit), "ari": drawn_figure(ari_of_tables(tables)),
        "majority": float(np.bincount(truth).max() / len(truth)),
        "n": len(labels), "n_patients": len(set(people)),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ one way


def _candidate(values: Floats, owners: Labels, method: str, k: int, seed: int) -> Candidate:
    from sklearn.metrics import silhouette_score

    labels, bic = _clustered(values, method, k, derived_seed(seed, method, k))
    labels = np.argsort(np.argsort(-np.bincount(labels, minlength=k), stable=True), stable=True)[labels]
    several = len(np.unique(labels)) > 1
    silhouette = float(silhouette_score(values, labels)) if several else float("nan")
    return Candidate(method, k, labels, silhouette, bic, _halves(values, owners, method, k, seed))


def _clustered(values: Floats, method: str, k: int, seed: int) -> tuple[Labels, float]:
    from sklearn.cluster import AgglomerativeClustering, KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # what is found after the usual number of rounds will do
        warnings.simplefilter("ignore", ConvergenceWarning)
        if method == "kmeans":
            return KMeans(k, n_init=5, random_state=seed % 2**32).fit_predict(values).astype(np.intp), float("nan")
        if method == "gmm":
            return _mixture(values, k, seed)
        if method == "hierarchical":
            return AgglomerativeClustering(k).fit_predict(values).astype(np.intp), float("nan")
    raise UsageError("find-subtypes", "method", method, ", ".join(METHODS))


def _mixture(values: Floats, k: int, seed: int) -> tuple[Labels, float]:
    """Return clusters and BIC of a mixture of normals."""
    from sklearn.mixture import GaussianMixture

    ridge = 1e-3 * float(values.var(axis=0).mean())  # full covariances of few records would collapse
    model = GaussianMixture(k, reg_covar=ridge, random_state=seed % 2**32).fit(values)
    return model.predict(values).astype(np.intp), float(model.bic(values))


def _halves(values: Floats, owners: Labels, method: str, k: int, seed: int) -> float:
    """Return the mean agreement of clusterings of two overlapping random parts of the people, on those in both.

    Each part holds two thirds, so that a third of all is in both.
    """
    found = []
    n_people = int(owners.max()) + 1
    for h in range(N_HALVES):
        order = np.random.default_rng(derived_seed(seed, "halves", h)).permutation(n_people)
        third = n_people // 3
        one, other = np.isin(owners, order[: 2 * third]), np.isin(owners, order[third : 3 * third])
        if min(one.sum(), other.sum()) <= k:
            return float("nan")
        parts = []
        for part in (one, other):
            labels = np.full(len(values), -1)
            labels[part] = _clustered(values[part], method, k, derived_seed(seed, "half", h))[0]
            parts.append(labels)
        both = one & other
        found.append(float(ari_of_tables(_table(parts[0][both], parts[1][both], k, k))))
    return float(np.nanmean(found))


def _table(one: Labels, other: Labels, n_one: int = 0, n_other: int = 0) -> Floats:
    table = np.zeros((n_one or int(one.max()) + 1, n_other or int(other.max()) + 1))
    np.add.at(table, (one, other), 1)
    return table


def _paired(table: Floats, weights: np.ndarray | None, labels: Labels, truth: Labels) -> Floats:
    """Return the share of records that lie in the cluster of their label [1 + resample]."""
    size = max(table.shape)
    square = np.zeros((size, size))
    square[: table.shape[0], : table.shape[1]] = table
    hit = (matched(square)[labels] == truth).astype(float)
    if weights is None:
        return np.array([hit.mean()])
    return np.concatenate([[hit.mean()], weights @ hit / weights.sum(axis=1)])
