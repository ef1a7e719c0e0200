# SPDX-License-Identifier: Apache-2.0
"""How many states? The fewest that come back whoever asks, and that say what the network says as well as more would.

seeds_ari    mean adjusted Rand index between clusterings begun at different random centres
halves_ari   the same between clusterings of random halves of the people
fidelity     of a forest on the shares of states, fitted on two thirds of the records, scored on the others
silhouette, bic   for the reader: of 2,000 places; of a diagonal mixture begun at the centres (lower is better)

A number of states is stable where both indices are 0.8 or more. Of the stable ones the smallest is taken whose fidelity
lies within 0.01 of the best stable one. Where none is stable, the one with the largest of the smaller index is taken,
and the result says that it is not stable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.concepts.state_surrogate import agreement, forest
from ecglens.concepts.states import kmeans, squared_distances
from ecglens.runs.draws import derived_seed
from ecglens.statistics.figures import json_number

KS = (4, 6, 8, 10, 12, 16, 24, 32)
STABLE = 0.8
AS_GOOD = 0.01
_N_INIT = 2
_SILHOUETTE = 2000
_TREES = 100


@dataclass(frozen=True)
class Choice:
    """One number of states, and what speaks for it."""

    k: int
    seeds_ari: float
    halves_ari: float
    fidelity: float
    silhouette: float
    bic: float

    @property
    def stable(self) -> bool:
        """Whether both indices of agreement are high."""
        return min(self.seeds_ari, self.halves_ari) >= STABLE

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in JSON."""
        return {name: json_number(value) for name, value in asdict(self).items()} | {"stable": self.stable}


@dataclass(frozen=True, eq=False)
class Sample:
    """Places of training records, and what the network says of these.

    vectors   [place, axis]
    records   number of each place's record, 0 to the number of records [place]
    people    number of each record's person [record]
    decided   the network's decisions, 0 or 1 [record, class]
    """

    vectors: np.ndarray
    records: NDArray[np.intp]
    people: NDArray[np.intp]
    decided: np.ndarray


def try_k(sample: Sample, k: int, *, n_seeds: int, n_halves: int, seed: int = 0) -> Choice:
    """Return how stable and how telling `k` states are."""
    from sklearn.metrics import silhouette_score

    vectors = np.asarray(sample.vectors, dtype=np.float64)
    centres = [kmeans(vectors, k, derived_seed(seed, "seed", s), _N_INIT)[0] for s in range(n_seeds)]
    labels = [nearest(vectors, one) for one in centres]
    person = sample.people[sample.records]
    halves = []
    for h in range(n_halves):
        order = np.random.default_rng(derived_seed(seed, "half", h)).permutation(int(sample.people.max()) + 1)
        half = np.isin(person, order[: len(order) // 2])
        halves.append(nearest(vectors, kmeans(vectors[half], k, derived_seed(seed, "of half", h), _N_INIT)[0]))
    few = np.random.default_rng(derived_seed(seed, "silhouette")).permutation(len(vectors))[:_SILHOUETTE]
    varied = len(np.unique(labels[0][few])) > 1
    silhouette = float(silhouette_score(vectors[few], labels[0][few])) if varied else float("nan")
    return Choice(
        k, mean_ari(labels), mean_ari(halves), _fidelity(sample, labels[0], k, seed), silhouette,
        diagonal_bic(vectors, centres[0], labels[0]),
    )  # fmt: skip


def choose(tried: Sequence[Choice]) -> Choice:
    """Return the number of states to take, by the rule of this module."""
    stable = [one for one in tried if one.stable]
    if not stable:
        return max(tried, key=lambda one: (min(one.seeds_ari, one.halves_ari), -one.k))
    best = max((one.fidelity for one in stable if np.isfinite(one.fidelity)), default=0.0)
    good = [one for one in stable if not np.isfinite(one.fidelity) or one.fidelity >= best - AS_GOOD]
    return min(good, key=lambda one: one.k)


def nearest(vectors: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the number of the nearest centre [place]."""
    return squared_distances(vectors, centres).argmin(axis=1)


def mean_ari(labelings: Sequence[NDArray]) -> float:
    """Return the mean adjusted Rand index over all pairs; NaN where there is no pair."""
    from sklearn.metrics import adjusted_rand_score

    found = [adjusted_rand_score(one, other) for one, other in itertools.combinations(labelings, 2)]
    return float(np.mean(found)) if found else float("nan")


def shares(records: NDArray[np.intp], labels: NDArray[np.intp], n_records: int, k: int) -> NDArray[np.float64]:
    """Return each state's share of each record's places [record, state]."""
    counts = np.zeros((n_records, k))
    np.add.at(counts, (records, labels), 1)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def diagonal_bic(vectors: NDArray[np.float64], centres: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """Return the BIC of the mixture whose normals are the clusters: -2 log likelihood + parameters log n.

    The clusters' own means, diagonal variances and shares, without further fitting: an upper bound of what EM reaches.
    """
    n, d = vectors.shape
    k = len(centres)
    score = np.full((n, k), -np.inf)
    for j in range(k):
        own = vectors[labels == j]
        if len(own):
            variance = own.var(axis=0) + 1e-6
            square = ((vectors - own.mean(axis=0)) ** 2 / variance).sum(axis=1)
            score[:, j] = np.log(len(own) / n) - 0.5 * (square + np.log(2 * np.pi * variance).sum())
    high = score.max(axis=1)
    likelihood = float((high + np.log(np.exp(score - high[:, None]).sum(axis=1))).sum())
    return -2 * likelihood + (2 * k * d + k - 1) * float(np.log(n))


def _fidelity(sample: Sample, labels: NDArray[np.intp], k: int, seed: int) -> float:
    """Return the forest's agreement with the network on people it was not fitted on."""
    table = shares(sample.records, labels, len(sample.people), k)
    order = np.random.default_rng(derived_seed(seed, "fidelity")).permutation(int(sample.people.max()) + 1)
    fitted = np.isin(sample.people, order[: 2 * len(order) // 3])
    if not fitted.any() or fitted.all():
        return float("nan")
    said = forest(table[fitted], sample.decided[fitted], table[~fitted], _TREES, derived_seed(seed, "forest"))
    found = agreement((said > 0.5).astype(float), sample.decided[~fitted], np.ones((0, int((~fitted).sum()))))
    return float(found["accuracy"][0])
