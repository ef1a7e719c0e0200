# SPDX-License-Identifier: Apache-2.0
"""Where clusters differ: their mean beats with bands, and cells of a lead and 40 ms in which the two largest part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.concepts.subtype_vectors import BEFORE_S
from ecglens.statistics.bootstrap import patient_weights
from ecglens.statistics.multiplicity import holm

CELL_S = 0.04  # of the beat, in which clusters are compared
N_RESAMPLES = 2000

Floats = NDArray[np.float64]


def mean_beats(
    beats: np.ndarray, labels: NDArray[np.intp], people: Sequence[str], seed: int = 0
) -> tuple[Floats, Floats]:
    """Return each cluster's mean beat [cluster, lead, phase] and its 95 % band over patients [2, cluster, lead, phase].

    beats   of each record [record, lead, phase]

    The band is that of each instant by itself.
    """
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    means, bands = [], []
    for cluster in range(int(labels.max()) + 1):
        here = labels == cluster
        own, flat = weights[:, here], beats[here].reshape(int(here.sum()), -1)
        own = own[own.sum(axis=1) > 0]  # a resample without anybody of the cluster has no beat
        drawn = own @ flat / own.sum(axis=1, keepdims=True)
        means.append(beats[here].mean(axis=0))
        bands.append(np.quantile(drawn, [0.025, 0.975], axis=0).reshape(2, *beats.shape[1:]))
    return np.stack(means), np.stack(bands, axis=1)


def cells_that_differ(
    values: np.ndarray, labels: NDArray[np.intp], people: Sequence[str], fs: float, leads: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """Return where the two largest clusters differ: cells of a lead and 40 ms, the surest first.

    values   [record, lead, phase]

    Where the clusters were made of these values they must differ: then p orders the cells and proves nothing.

    Columns: lead, start_ms and stop_ms from the R peak, `value` (mean of the first cluster minus that of the second),
    low, high (over patients), p (normal approximation of the resampled difference, Holm over all cells).
    """
    from scipy.stats import norm

    width = max(1, round(CELL_S * fs))
    n = values.shape[2] // width
    table = values[:, :, : n * width].reshape(len(values), len(leads), n, width).mean(axis=3)
    weights = patient_weights(people, N_RESAMPLES, seed).astype(float)
    first, second = ((labels == c).astype(float) for c in (0, 1))
    flat = table.reshape(len(table), -1)

    def difference(rows: np.ndarray) -> np.ndarray:
        one, other = rows * first, rows * second
        mass = np.maximum(one.sum(axis=1, keepdims=True), 1e-12), np.maximum(other.sum(axis=1, keepdims=True), 1e-12)
        return np.asarray(one @ flat / mass[0] - other @ flat / mass[1])

    value, drawn = difference(np.ones((1, len(flat))))[0], difference(weights)
    spread = drawn.std(axis=0)
    z = np.where(spread > 0, value / np.where(spread > 0, spread, 1), 0.0)
    p = holm(2 * norm.sf(np.abs(z)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    cells = []
    for at in np.argsort(-np.abs(z), stable=True):
        lead, cell = divmod(int(at), n)
        start = 1000 * (cell * width / fs - BEFORE_S)
        cells.append({
            "lead": leads[lead], "start_ms": round(start, 3), "stop_ms": round(start + 1000 * width / fs, 3),
            "value": float(value[at]), "low": float(low[at]), "high": float(high[at]), "p": float(p[at]),
        })  # fmt: skip
    return cells
