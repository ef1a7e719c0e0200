# SPDX-License-Identifier: Apache-2.0
"""States: clusters of what a network holds at a place, how surely a place belongs to each, and the strips they make.

kmeans   a place belongs to the nearest centre
soft     p_k = softmax(-|z - m_k|^2 / tau): the same centres, membership that falls off with distance
gmm      posterior of a mixture of normals with diagonal covariances, begun at the centres of k-means

tau is the median over training places of how much further the second centre is than the nearest (squared): so that a
typical place is neither certain nor undecided, in whatever number of dimensions. Posteriors of a mixture saturate in
many dimensions; how many places are undecided is told with the result. Uncertainty is the entropy of the memberships
over log k, 0 to 1; of `kmeans`, whose memberships are 0 and 1, that of `soft` with the same centres.

>>> states = States("soft", np.array([[0.0], [2.0]]), 1.0)
>>> p, u = states.assign(np.array([[0.0], [1.0]]))
>>> p.astype(float).round(2).tolist(), u.astype(float).round(2).tolist()
([[0.98, 0.02], [0.5, 0.5]], [0.13, 1.0])
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import InputError, UsageError

METHODS = ("soft", "kmeans", "gmm")
N_INIT = 10
LEAST_PLACES = 20  # per state, below which nothing is fitted

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class States:
    """Fitted clusters; their order is that of their share of the training places, largest first.

    by         one of METHODS
    centres    [state, axis]
    tau        temperature of the soft membership, in squared distance
    variances  [state, axis] and weights [state] of the mixture; None for the others
    """

    by: str
    centres: NDArray[np.float64]
    tau: float
    variances: NDArray[np.float64] | None = None
    weights: NDArray[np.float64] | None = None

    @property
    def k(self) -> int:
        """How many."""
        return len(self.centres)

    def assign(self, vectors: np.ndarray) -> tuple[Floats, Floats]:
        """Return memberships [..., state], which sum to 1, and their uncertainty [...], of vectors [..., axis]."""
        flat = np.asarray(vectors, dtype=np.float64).reshape(-1, self.centres.shape[1])
        distances = squared_distances(flat, self.centres)
        soft = softmax(-distances / self.tau)
        if self.by == "gmm":
            soft = softmax(self._log_density(flat))
        p = np.eye(self.k)[distances.argmin(axis=1)] if self.by == "kmeans" else soft
        shape = vectors.shape[:-1]
        return p.reshape(*shape, self.k).astype(np.float32), entropy(soft).reshape(shape).astype(np.float32)

    def _log_density(self, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.variances is not None
        assert self.weights is not None
        precision = 1 / self.variances
        square = (
            flat**2 @ precision.T - 2 * flat @ (self.centres * precision).T + (self.centres**2 * precision).sum(axis=1)
        )
        return np.log(self.weights) - 0.5 * (square + np.log(self.variances).sum(axis=1))


def fit_states(vectors: np.ndarray, k: int, by: str = "soft", seed: int = 0, n_init: int = N_INIT) -> States:
    """Fit `k` states to vectors [place, axis] of training records.

    Raises UsageError for an unknown method or k below 1, InputError where there are fewer than 20 places per state, or
    fewer different places than states.
    """
    if by not in METHODS:
        raise UsageError("segment-states", "--by", by, ", ".join(METHODS))
    check_k(vectors, k)
    centres, labels = kmeans(vectors, k, seed, n_init)
    order = np.argsort(-np.bincount(labels, minlength=k), stable=True)
    centres = centres[order]
    tau = temperature(vectors, centres)
    if by != "gmm" or k == 1:
        return States("soft" if by == "gmm" else by, centres, tau)
    means, variances, weights = _mixture(vectors, centres, seed)
    return States(by, means, tau, variances, weights)


def check_k(vectors: np.ndarray, k: int) -> None:
    """Raise where that many states cannot be fitted to vectors [place, axis]."""
    if k < 1:
        raise UsageError("segment-states", "--k", k, "auto, or 1 or more")
    different = len({place.tobytes() for place in np.asarray(vectors).round(6)})  # the same may be drawn again
    most = max(different // LEAST_PLACES, 1)
    if k > most:
        raise InputError(
            "segment-states", "--k", k,
            f"at most {most}: {different:,} different places to fit on, {LEAST_PLACES} a state",
            "choose fewer states, or give more records", kind="too_many_states",
        )  # fmt: skip


def kmeans(vectors: np.ndarray, k: int, seed: int, n_init: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return centres [k, axis] and the nearest of each vector [place]: k-means++, Lloyd, the best of `n_init`."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # fewer different places than states: found out by check_k, or harmless here
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(k, n_init=n_init, random_state=seed % 2**32).fit(np.asarray(vectors, dtype=np.float64))
    return found.cluster_centers_, found.labels_.astype(np.intp)


def temperature(vectors: np.ndarray, centres: NDArray[np.float64]) -> float:
    """Return the median over places of the second smallest minus the smallest squared distance; 1 for one centre."""
    if len(centres) < 2:
        return 1.0
    two = np.partition(squared_distances(np.asarray(vectors, dtype=np.float64), centres), 1, axis=1)[:, :2]
    return max(float(np.median(two[:, 1] - two[:, 0])), 1e-12)


def _mixture(
    vectors: np.ndarray, centres: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():  # what EM has after 200 rounds will do
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = GaussianMixture(
            len(centres), covariance_type="diag", means_init=centres, random_state=seed % 2**32, max_iter=200,
        ).fit(np.asarray(vectors, dtype=np.float64))  # fmt: skip
    order = np.argsort(-found.weights_, stable=True)
    return found.means_[order], found.covariances_[order], found.weights_[order]


def squared_distances(vectors: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [place, centre]."""
    square = (vectors**2).sum(axis=1)[:, None] - 2 * vectors @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(square, 0.0))


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(scores) over their sum along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def entropy(p: NDArray) -> NDArray[np.float64]:
    """Return -sum p log p / log k of memberships [..., k]: 0 certain, 1 all alike; 0 where there is one state.

    >>> entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [0.0, 1.0]
    """
    k = p.shape[-1]
    if k < 2:
        return np.zeros(p.shape[:-1])
    values = np.asarray(p, dtype=np.float64)
    logs = np.log(np.where(values > 0, values, 1.0))
    return np.asarray(np.maximum(-(values * logs).sum(axis=-1), 0.0) / np.log(k))


# ----------------------------------------------------------------------------------------------------------- strips


def on_samples(p: np.ndarray, nearest: NDArray[np.intp], starts: list[int], n_samples: int) -> NDArray[np.float32]:
    """Return memberships on the record's own samples [sample, state] from those at places [window, step, state].

    Anything else that places have is laid out the same way: the uncertainty, as [window, step, 1].

    A sample takes the step whose centre is nearest, and the mean over the windows that it lies in. Samples in no window
    (networks that look at the middle alone) are NaN.
    """
    total = np.zeros((n_samples, p.shape[-1]), np.float32)
    count = np.zeros(n_samples, np.float32)
    for window, start in enumerate(starts):
        total[start : start + len(nearest)] += p[window, nearest]
        count[start : start + len(nearest)] += 1
    with np.errstate(invalid="ignore"):
        return total / count[:, None]


def strip_of(memberships: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return the likeliest state [sample] of memberships on samples, -1 where there is none."""
    missing = np.isnan(memberships[:, 0])
    return np.where(missing, -1, np.where(missing[:, None], 0.0, memberships).argmax(axis=1)).astype(np.int16)


def runs_of(strip: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (first sample, sample after the last, state) of each stretch of one state; those of none are left out.

    >>> runs_of(np.array([2, 2, 0, -1, 0]))
    [(0, 2, 2), (2, 3, 0), (4, 5, 0)]
    """
    edges = np.r_[0, np.flatnonzero(np.diff(strip)) + 1, len(strip)]
    return [(int(a), int(b), int(strip[a])) for a, b in itertools.pairwise(edges) if strip[a] >= 0]
