# SPDX-License-Identifier: Apache-2.0
"""Shapley values against their definition: the mean over all orders in which features become known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from ecglens.errors import UsageError
from ecglens.privacy.shapley import shapley_shares


def data(n_classes: int = 3, n: int = 80):
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 4))
    return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int) + (n_classes > 2) * (x[:, 3] > 1)


def expected_output(tree, x, known: set[int], node: int = 0) -> np.ndarray:
    """The tree's answer where only some features are known, by walking it."""
    if tree.children_left[node] < 0:
        return tree.value[node][0] / tree.value[node].sum()
    left, right = tree.children_left[node], tree.children_right[node]
    name = tree.feature[node]
    if name in known:
        return expected_output(tree, x, known, left if np.float32(x[name]) <= tree.threshold[node] else right)
    share = tree.n_node_samples[left] / tree.n_node_samples[node]
    return share * expected_output(tree, x, known, left) + (1 - share) * expected_output(tree, x, known, right)


def by_definition(payoff, n_features: int) -> np.ndarray:
    total = 0.0
    orders = list(permutations(range(n_features)))
    for order in orders:
        known: set[int] = set()
        steps = np.zeros((n_features, len(payoff(set()))))
        for name in order:
            before = payoff(known)
            known = known | {name}
            steps[name] = payoff(known) - before
        total = total + steps
    return total / len(orders)


def test_of_a_tree_they_are_those_of_the_definition():
    x, y = data()
    model = DecisionTreeClassifier(max_depth=5, random_state=1).fit(x, y)
    found = shapley_shares(model, x[:3], x)
    for item in range(3):
        expected = by_definition(lambda known, item=item: expected_output(model.tree_, x[item], known), 4)
        np.testing.assert_allclose(found.values[item], expected, atol=1e-12)
    np.testing.assert_allclose(found.base, expected_output(model.tree_, x[0], set()), atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        DecisionTreeClassifier(max_depth=6, random_state=0),
        RandomForestClassifier(7, max_depth=4, random_state=0, bootstrap=True),
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_they_sum_to_the_answer(model, n_classes: int):
    x, y = data(n_classes)
    found = shapley_shares(model.fit(x, y), x, x)
    assert found.gap < 1e-9
    assert np.abs(found.values).max() > 0.01
    if hasattr(model, "predict_proba") and not hasattr(model, "coef_"):
        np.testing.assert_allclose(found.answer, model.predict_proba(x))


def test_of_a_forest_they_are_the_mean_of_its_trees():
    x, y = data()
    forest = RandomForestClassifier(3, max_depth=3, random_state=0).fit(x, y)
    each = [shapley_shares(tree, x[:5], x).values for tree in forest.estimators_]
    np.testing.assert_allclose(shapley_shares(forest, x[:5], x).values, np.mean(each, axis=0))


def test_of_a_linear_model_they_are_those_of_the_definition_against_the_mean():
    x, y = data(2)
    model = LogisticRegression().fit(x, y)
    found = shapley_shares(model, x[:2], x)
    for item in range(2):

        def payoff(known, item=item):
            mixed = [x[item, j] if j in known else x[:, j].mean() for j in range(4)]
            return model.decision_function([mixed])

        np.testing.assert_allclose(found.values[item], by_definition(payoff, 4), atol=1e-12)


def test_a_feature_that_no_split_uses_adds_nothing():
    x, y = data(2)
    x[:, 2] = 7.0
    assert not shapley_shares(DecisionTreeClassifier(random_state=0).fit(x, y), x, x).values[:, 2].any()


def test_what_cannot_be_read_is_refused():
    x, y = data()
    with pytest.raises(UsageError, match="KNeighbors"):
        shapley_shares(KNeighborsClassifier().fit(x, y), x, x)
