# SPDX-License-Identifier: Apache-2.0
"""In whom clusters differ: the mean of a covariate in each, and the largest difference, tested.

The two clusters that lie farthest apart are chosen by looking, so their interval flatters. The p value does not: it
counts how often clusters that were dealt out anew have any two so far apart. A patient's records stay together: the
clusters of all of them go to another patient with as many records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.runs.draws import derived_seed
from ecglens.statistics.bootstrap import drawn_figure, patient_weights
from ecglens.statistics.figures import json_number
from ecglens.statistics.multiplicity import holm

N_RESAMPLES = 1000
N_DEALS = 4999

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]


def cluster_means(
    labels: Labels, covariates: Mapping[str, np.ndarray], people: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """Return each cluster's mean of each covariate [record] (NaN unknown) with its interval, and how many it holds."""
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    every = np.concatenate([np.ones((1, len(labels))), weights])
    found = []
    for cluster in range(int(labels.max()) + 1):
        told: dict[str, Any] = {"id": cluster + 1, "n": int((labels == cluster).sum())}
        for name, values in covariates.items():
            told[name] = drawn_figure(_drawn_mean(every, values, labels == cluster))
        found.append(told)
    return found


def largest_differences(
    labels: Labels,
    covariates: Mapping[str, np.ndarray],
    people: Sequence[str],
    seed: int = 0,
    n_deals: int = N_DEALS,
) -> list[dict[str, Any]]:
    """Return for each covariate [record] (NaN unknown) the two clusters whose means are farthest apart.

    Each: `covariate`; `clusters`, that with the larger mean first; `value`, its mean minus the other's, with `low` and
    `high` over patients; `p`, the share of deals in which any two clusters are as far apart, by Holm over covariates.
    None where fewer than two clusters are known.
    """
    values = np.column_stack([np.asarray(one, dtype=np.float64) for one in covariates.values()])
    observed = _means(labels, values)
    spread = _spread(observed)
    as_far = np.ones(len(spread))
    for dealt in _deals(labels, people, n_deals, derived_seed(seed, "deals")):
        as_far += _spread(_means(dealt, values)) >= spread - 1e-12
    p = holm(np.where(np.isnan(spread), np.nan, as_far / (1 + n_deals)))
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    every = np.concatenate([np.ones((1, len(labels))), weights])
    found = []
    for j, name in enumerate(covariates):
        told: dict[str, Any] = {"covariate": name, "clusters": None, "value": None, "low": None, "high": None}
        if not np.isnan(spread[j]):
            pair = int(np.nanargmax(observed[:, j])), int(np.nanargmin(observed[:, j]))
            first, second = (_drawn_mean(every, values[:, j], labels == cluster) for cluster in pair)
            told |= {"clusters": [cluster + 1 for cluster in pair]} | drawn_figure(first - second)
        found.append(told | {"p": json_number(float(p[j]))})
    return found


def goes_with(
    labels: Labels, other: np.ndarray, people: Sequence[str], seed: int = 0, n_deals: int = N_DEALS
) -> dict[str, Any] | None:
    """Return how closely clusters go with another grouping [record]: Cramer's V, and the share of deals as close.

    0: not at all; 1: one tells the other. None where the other has one group.
    """
    groups = np.unique(other, return_inverse=True)[1]
    if groups.max() < 1 or labels.max() < 1:
        return None
    value = _cramer(labels, groups)
    deals = _deals(labels, people, n_deals, derived_seed(seed, "goes with"))
    as_close = 1 + sum(_cramer(dealt, groups) >= value - 1e-12 for dealt in deals)
    return {"v": value, "p": as_close / (1 + n_deals), "groups": int(groups.max()) + 1}


def _cramer(one: Labels, other: Labels) -> float:
    """Return Cramer's V of two groupings (1946): the root of chi-squared over n (k - 1)."""
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (one, other), 1)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    chi = ((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum()
    return float(np.sqrt(chi / (table.sum() * max(1, min(table.shape) - 1))))


def _drawn_mean(every: np.ndarray, values: np.ndarray, inside: np.ndarray) -> Floats:
    """Return the mean of values [record] over the records inside, for each row of weights [resample, record]."""
    here = inside & ~np.isnan(values)
    mass = every[:, here].sum(axis=1)
    return np.where(mass > 0, every[:, here] @ values[here] / np.maximum(mass, 1e-12), np.nan)


def _means(labels: Labels, values: Floats) -> Floats:
    """Return means [cluster, covariate] of values [record, covariate], NaN where none is known."""
    inside = (labels[None] == np.arange(int(labels.max()) + 1)[:, None]).astype(np.float64)
    known = ~np.isnan(values)
    mass = inside @ known
    return np.where(mass > 0, inside @ np.where(known, values, 0.0) / np.maximum(mass, 1), np.nan)


def _spread(means: Floats) -> Floats:
    """Return the largest minus the smallest mean [covariate], NaN where fewer than two clusters have one."""
    known = ~np.isnan(means)
    largest, smallest = np.where(known, means, -np.inf).max(axis=0), np.where(known, means, np.inf).min(axis=0)
    return np.where(known.sum(axis=0) > 1, largest - np.where(np.isfinite(smallest), smallest, 0.0), np.nan)


def _deals(labels: Labels, people: Sequence[str], n_deals: int, seed: int) -> Iterator[Labels]:
    """Yield labels with patients' records exchanged as a whole, among patients with as many of them."""
    owners = np.unique(np.array(people, dtype=object).astype(str), return_inverse=True)[1]
    sizes = np.bincount(owners)
    order = np.argsort(owners, stable=True)
    alike = [order[sizes[owners[order]] == size].reshape(-1, size) for size in np.unique(sizes)]
    generator = np.random.default_rng(seed)
    for _ in range(n_deals):
        dealt = labels.copy()
        for rows in alike:  # [patient, record]
            dealt[rows] = labels[generator.permutation(rows)]
        yield dealt
