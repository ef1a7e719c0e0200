# SPDX-License-Identifier: Apache-2.0
"""Concept activation vectors: the direction in a layer that leads from records without a concept to those with it.

closed   linear discriminant in closed form, its covariance shrunk towards a multiple of the identity; with as many
         records on both sides, ridge regression of the concept has the same direction
sgd      scikit-learn's SGDClassifier with the settings of captum's TCAV, which xai4ecg used

Source: Kim et al. 2018, Interpretability beyond feature attribution, arXiv 1711.11279.

>>> closed_form(np.array([[1.0, 0.0], [1.0, 0.2]]), np.array([[-1.0, 0.1], [-1.0, 0.1]])).direction.round(3).tolist()
[1.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ecglens.errors import UsageError

SHRINKAGE = 0.1


@dataclass(frozen=True)
class Cav:
    """A direction of length 1 [dimension], and the place on it from which a record counts as having the concept."""

    direction: np.ndarray
    threshold: float

    def has(self, held: np.ndarray) -> np.ndarray:
        """Tell for activations [record, dimension] on which side they lie."""
        return np.asarray(held @ self.direction > self.threshold)


def closed_form(with_it: np.ndarray, without: np.ndarray, seed: int = 0) -> Cav:
    """Return the shrunk linear discriminant of activations [record, dimension]; `seed` plays no part."""
    means = with_it.mean(axis=0, dtype=float), without.mean(axis=0, dtype=float)
    centred = np.concatenate([with_it - means[0], without - means[1]])
    direction = solve_shrunk(centred, (means[0] - means[1])[:, None])[:, 0]
    return _cav(direction, float(direction @ (means[0] + means[1]) / 2))


def sgd(with_it: np.ndarray, without: np.ndarray, seed: int = 0) -> Cav:
    """Return the hinge-loss classifier by stochastic gradient descent of activations [record, dimension]."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(alpha=0.01, max_iter=1000, tol=1e-3, random_state=seed % 2**32)
    with warnings.catch_warnings():  # it stops after 1000 rounds, as captum's does
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.concatenate([with_it, without]), np.r_[np.ones(len(with_it)), np.zeros(len(without))])
    return _cav(model.coef_[0].astype(float), -float(model.intercept_[0]))


FITS: dict[str, Callable[[np.ndarray, np.ndarray, int], Cav]] = {"closed": closed_form, "sgd": sgd}


def find_fit(name: str) -> Callable[[np.ndarray, np.ndarray, int], Cav]:
    """Return how CAVs are fitted, by name. Raises UsageError."""
    if name not in FITS:
        raise UsageError("test-concepts", "--fit", name, ", ".join(FITS))
    return FITS[name]


def solve_shrunk(centred: np.ndarray, right: np.ndarray, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Return C^-1 `right` [dimension, column] for the shrunk covariance C of `centred` [record, dimension].

    C = (1 - shrinkage) X'X / n + shrinkage (trace / dimension) I. Where there are more dimensions than records, it is
    solved in the space of the records (Woodbury), which is the same.
    """
    x = np.asarray(centred, dtype=float)
    n, p = x.shape
    kept, ridge = (1 - shrinkage) / n, shrinkage * float(np.square(x).sum()) / n / p
    if ridge == 0:
        return np.zeros(right.shape)  # nothing varies: no direction
    if p <= n:
        return np.linalg.solve(kept * (x.T @ x) + ridge * np.eye(p), right)
    inner = np.linalg.solve(np.eye(n) * (ridge / kept) + x @ x.T, x @ right)
    return (right - x.T @ inner) / ridge


def _cav(direction: np.ndarray, threshold: float) -> Cav:
    length = float(np.linalg.norm(direction))
    return Cav(direction / length, threshold / length) if length > 0 else Cav(direction, threshold)
