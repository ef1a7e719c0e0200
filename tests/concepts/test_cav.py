# SPDX-License-Identifier: Apache-2.0
"""Directions: the closed form is scikit-learn's shrunk discriminant and ridge regression, in either of its two ways."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, SGDClassifier

from ecglens.concepts.cav import SHRINKAGE, closed_form, find_fit, sgd, solve_shrunk
from ecglens.errors import UsageError


def two_groups(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((p, p)) / np.sqrt(p)
    return generator.standard_normal((n, p)) @ mixing + 0.5, generator.standard_normal((n, p)) @ mixing


@pytest.mark.parametrize(("n", "p"), [(60, 7), (15, 80)], ids=["more records", "more dimensions"])
def test_the_closed_form_is_the_shrunk_discriminant_of_scikit_learn(n: int, p: int) -> None:
    yes, no = two_groups(n, p)
    found = closed_form(yes, no)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
    theirs.fit(np.r_[yes, no], np.r_[np.ones(n), np.zeros(n)])
    expected = theirs.coef_[0] / np.linalg.norm(theirs.coef_[0])
    np.testing.assert_allclose(found.direction, expected, atol=1e-8)
    assert (found.has(np.r_[yes, no]) == theirs.predict(np.r_[yes, no])).all()


def test_ridge_regression_of_the_concept_has_the_same_direction() -> None:
    n, p = 40, 6
    yes, no = two_groups(n, p, 3)
    centred = np.r_[yes - yes.mean(0), no - no.mean(0)]
    ridge = SHRINKAGE * np.square(centred).sum() / p / (1 - SHRINKAGE)
    theirs = Ridge(alpha=ridge).fit(np.r_[yes, no], np.r_[np.ones(n), -np.ones(n)]).coef_
    np.testing.assert_allclose(closed_form(yes, no).direction, theirs / np.linalg.norm(theirs), atol=1e-8)


def test_sgd_is_captums_classifier_by_name() -> None:
    yes, no = two_groups(50, 5)
    theirs = SGDClassifier(alpha=0.01, max_iter=1000, tol=1e-3, random_state=4)
    theirs.fit(np.r_[yes, no], np.r_[np.ones(50), np.zeros(50)])
    found = find_fit("sgd")(yes, no, 4)
    np.testing.assert_allclose(found.direction, theirs.coef_[0] / np.linalg.norm(theirs.coef_[0]))
    assert (found.has(np.r_[yes, no]) == theirs.predict(np.r_[yes, no])).all()
    assert sgd(yes, no, 1).direction @ closed_form(yes, no).direction > 0.3


def test_what_does_not_vary_has_no_direction() -> None:
    assert not closed_form(np.ones((4, 3)), np.ones((4, 3))).direction.any()
    assert not solve_shrunk(np.zeros((4, 3)), np.ones((3, 2))).any()


def test_unknown_fits_are_refused() -> None:
    with pytest.raises(UsageError):
        find_fit("svm")
