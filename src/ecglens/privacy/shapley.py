# SPDX-License-Identifier: Apache-2.0
"""Exact Shapley values of models that can be read: what each feature adds to an answer. They sum to it.

For a linear model against the mean of a background: weight x (value - mean). For a tree, whose value without a
feature is the mean over both branches by how many training samples took them (Lundberg et al. 2020, Nature Machine
Intelligence 2:56): leaf by leaf. On the way to a leaf each feature is either followed or averaged over, so the leaf is
a game in which it pays prod(followed) x prod(averaged), and such a game is solved by a polynomial.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shares:
    """What each feature adds.

    values  [item, feature, output]
    base    the answer without any feature [output]
    answer  what the values and the base sum to [item, output]: log-odds of a linear model, probabilities of trees
    """

    values: Floats
    base: Floats
    answer: Floats

    @property
    def gap(self) -> float:
        """Largest difference between the answers and what the values sum to."""
        return float(np.abs(self.values.sum(axis=1) + self.base - self.answer).max())


def shapley_shares(estimator: Any, features: Floats, background: Floats) -> Shares:
    """Return the exact Shapley values of a linear model, a tree or a forest of scikit-learn.

    features    [item, feature], as the estimator takes them
    background  [item, feature] whose mean stands for a feature that is not known; of linear models only

    Raises UsageError for any other estimator.
    """
    if hasattr(estimator, "coef_"):
        return _linear(estimator, features, background)
    trees = [estimator] if hasattr(estimator, "tree_") else list(getattr(estimator, "estimators_", []))
    if not trees:
        raise UsageError("shapley", "estimator", type(estimator).__name__, "a linear model, a tree or a forest")
    parts = [_tree(tree.tree_, features) for tree in trees]
    values, base = (np.mean([part[i] for part in parts], axis=0) for i in range(2))
    return Shares(values, base, estimator.predict_proba(features))


def _linear(estimator: Any, features: Floats, background: Floats) -> Shares:
    weights, mean = np.asarray(estimator.coef_, float), background.mean(axis=0)
    values = (features - mean)[:, :, None] * weights.T[None]
    answer = np.asarray(estimator.decision_function(features), float).reshape(len(features), -1)
    return Shares(values, mean @ weights.T + estimator.intercept_, answer)


def _tree(tree: Any, features: Floats) -> tuple[Floats, Floats]:
    """Return [item, feature, output] and [output] of one tree."""
    shares = tree.value / tree.value.sum(axis=2, keepdims=True)  # [node, 1, class]
    outputs = shares[:, 0]
    values = np.zeros((*features.shape, outputs.shape[1]))
    base = np.zeros(outputs.shape[1])
    x32 = features.astype(np.float32)  # as scikit-learn compares them
    for leaf, path in _paths(tree):
        followed, averaged = _ways(tree, path, x32)
        names = list(followed)
        base += np.prod([averaged[name] for name in names]) * outputs[leaf] if names else outputs[leaf]
        for name in names:
            others = [other for other in names if other != name]
            weight = _coalitions([(followed[o], averaged[o]) for o in others], len(features))
            values[:, name] += ((followed[name] - averaged[name]) * weight)[:, None] * outputs[leaf]
    return values, base


def _paths(tree: Any) -> list[tuple[int, list[tuple[int, bool]]]]:
    """Return each leaf with the nodes on the way to it and whether the way goes left."""
    found, waiting = [], [(0, list[tuple[int, bool]]())]
    while waiting:
        node, path = waiting.pop()
        if tree.children_left[node] < 0:
            found.append((int(node), path))
            continue
        waiting.append((tree.children_left[node], [*path, (node, True)]))
        waiting.append((tree.children_right[node], [*path, (node, False)]))
    return found


def _ways(tree: Any, path: list[tuple[int, bool]], x: np.ndarray) -> tuple[dict[int, Floats], dict[int, float]]:
    """Return by feature whether an item follows all its turns to the leaf [item], and the share of samples that did."""
    followed: dict[int, Floats] = {}
    averaged: dict[int, float] = {}
    for node, left in path:
        name = int(tree.feature[node])
        goes = (x[:, name] <= tree.threshold[node]) == left
        child = tree.children_left[node] if left else tree.children_right[node]
        share = float(tree.weighted_n_node_samples[child] / tree.weighted_n_node_samples[node])
        followed[name] = followed.get(name, np.ones(len(x))) * goes
        averaged[name] = averaged.get(name, 1.0) * share
    return followed, averaged


def _coalitions(others: list[tuple[Floats, float]], n_items: int) -> Floats:
    """Return the mean payoff, by Shapley's weights, of the coalitions of the others [item].

    prod(averaged + followed t) has, as coefficient of t^k, the sum over all coalitions of k.
    """
    polynomial = np.zeros((len(others) + 1, n_items))
    polynomial[0] = 1.0
    for followed, averaged in others:
        shifted = np.roll(polynomial, 1, axis=0)
        shifted[0] = 0.0
        polynomial = polynomial * averaged + shifted * followed
    m = len(others) + 1
    weights = np.array([factorial(k) * factorial(m - k - 1) / factorial(m) for k in range(m)])
    return weights @ polynomial
