# SPDX-License-Identifier: Apache-2.0
"""Accuracy and its kin against scikit-learn, resampled by person against doing it with copies."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as theirs

from ecglens.errors import UsageError
from ecglens.statistics.classification import FIGURES, classification, macro_roc


def some(n_classes: int = 3, n: int = 90, seed: int = 0):
    random = np.random.default_rng(seed)
    labels = random.integers(n_classes, size=n)
    scores = random.random((n, n_classes)) + 0.5 * np.eye(n_classes)[labels]
    return scores / scores.sum(axis=1, keepdims=True), labels, random.integers(15, size=n)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_they_are_those_of_scikit_learn(n_classes: int):
    scores, labels, people = some(n_classes)
    told, chances = classification(scores, labels, people, n_resamples=40)
    named = scores.argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "accuracy": theirs.accuracy_score(labels, named),
        "precision": theirs.precision_score(labels, named, **macro),
        "recall": theirs.recall_score(labels, named, **macro),
        "f1": theirs.f1_score(labels, named, **macro),
        "balanced_accuracy": theirs.balanced_accuracy_score(labels, named),
        "auroc": np.mean([theirs.roc_auc_score(labels == k, scores[:, k]) for k in range(n_classes)]),
    }
    assert {name: told[name].value for name in FIGURES} == pytest.approx(expected)
    assert chances["balanced_accuracy"] == 1 / n_classes
    assert chances["accuracy"] == np.bincount(labels).max() / 90
    assert chances["auroc"] == 0.5


def test_whole_people_are_resampled():
    scores, labels, people = some()
    told, _ = classification(scores, labels, people, n_resamples=60, seed=2)
    order = list(dict.fromkeys(people.tolist()))
    random, accuracies = np.random.default_rng(2), []
    for _ in range(60):
        taken = np.concatenate([np.flatnonzero(people == order[p]) for p in random.integers(15, size=15)])
        accuracies.append((scores[taken].argmax(axis=1) == labels[taken]).mean())
    assert (told["accuracy"].low, told["accuracy"].high) == pytest.approx(np.quantile(accuracies, [0.025, 0.975]))
    assert told["accuracy"].n_patients == 15


def test_where_people_are_the_classes_each_counts_as_it_is_among_all():
    scores, people, _ = some(6)
    told, _ = classification(scores, people, people, n_resamples=200, seed=3)
    named = scores.argmax(axis=1)
    each = {
        "precision": theirs.precision_score(people, named, average=None),
        "recall": theirs.recall_score(people, named, average=None),
        "f1": theirs.f1_score(people, named, average=None),
        "auroc": [theirs.roc_auc_score(people == k, scores[:, k]) for k in range(6)],
    }
    order, random = list(dict.fromkeys(people.tolist())), np.random.default_rng(3)
    taken = [[order[p] for p in random.integers(6, size=6)] for _ in range(200)]
    for name, figure in each.items():
        means = [np.mean([figure[k] for k in one]) for one in taken]
        assert told[name].value == pytest.approx(np.mean(figure))
        assert (told[name].low, told[name].high) == pytest.approx(np.quantile(means, [0.025, 0.975]))
    assert told["balanced_accuracy"].low == told["recall"].low


def test_of_one_class_there_is_no_auroc():
    told, _ = classification(np.eye(2)[[0, 1]], [0, 0], list("ab"), n_resamples=20)
    assert np.isnan([told["auroc"].value, told["auroc"].low]).all()


def test_a_class_that_is_never_named_costs_precision_and_one_that_never_occurs_does_not_count():
    told, chances = classification(np.eye(3)[[0, 0, 0]], [0, 0, 1], list("abc"), n_resamples=40)
    assert told["precision"].value == pytest.approx((2 / 3 + 0) / 2)
    assert told["recall"].value == 0.5
    assert chances["balanced_accuracy"] == 0.5


@pytest.mark.parametrize("wrong", [([[0.1]], [0, 1], "ab"), ([0.1], [0], "a"), (np.empty((0, 2)), [], "")])
def test_shapes_are_checked(wrong):
    with pytest.raises(UsageError, match="shapes"):
        classification(*wrong)


def test_the_mean_roc_curve_has_the_macro_auroc_below_it_and_each_class_its_own():
    random = np.random.default_rng(5)
    labels = np.r_[random.integers(0, 3, 600), [4]]
    scores = random.normal(size=(601, 6)) + 1.2 * np.eye(6)[labels]
    curves = macro_roc(scores, labels, 4001)
    assert set(curves) == {0, 1, 2, 4, None}  # nobody is of 3 or 5
    told, _ = classification(scores, labels, np.arange(601), n_resamples=5)
    assert np.trapezoid(curves[None].tpr, curves[None].fpr) == pytest.approx(told["auroc"].value, abs=2e-3)
    for k in (0, 4):
        fpr, tpr, _ = theirs.roc_curve(labels == k, scores[:, k], drop_intermediate=False)
        for rate in (0.0, 0.1, 0.5):  # on the steps of the curve where it is level, not in the middle of a rise
            assert curves[k].tpr[round(rate * 4000)] == pytest.approx(tpr[fpr <= rate + 1e-12].max(), abs=2e-2)
    assert macro_roc(scores[:3], [1, 1, 1]) == {}
