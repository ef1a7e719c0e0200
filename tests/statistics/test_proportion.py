# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.boundary import Z_95, wilson
from ecglens.statistics.proportion import proportion


@pytest.mark.parametrize(("positive", "n"), [(0, 10), (1, 10), (10, 10), (37, 2000), (1000, 2000)])
def test_wilson_is_scipys(positive, n):
    theirs = binomtest(positive, n).proportion_ci(0.95, "wilson")
    assert wilson(positive, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_inverts_the_score_test():
    low, high = wilson(7, 40)
    for bound, bracket in ((low, (1e-9, 7 / 40)), (high, (7 / 40, 1 - 1e-9))):
        root = brentq(lambda p: (7 / 40 - p) ** 2 - Z_95**2 * p * (1 - p) / 40, *bracket)
        assert bound == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize(("positive", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_what_is_no_share(positive, n):
    with pytest.raises(UsageError):
        wilson(positive, n)


def test_one_record_each_is_plain_wilson():
    labels = np.array([1.0] * 13 + [0.0] * 87)
    found = proportion(labels, list(range(100)))
    assert (found.low, found.high) == pytest.approx(wilson(13, 100))
    assert (found.n, found.n_patients) == (100, 100)


def test_copies_of_a_persons_record_add_nothing():
    labels, people = np.array([1.0] * 13 + [0.0] * 87), np.arange(100)
    once, thrice = proportion(labels, people.tolist()), proportion(np.repeat(labels, 3), np.repeat(people, 3).tolist())
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert thrice.n == 300


def test_unknown_labels_leave_the_record_out():
    some = proportion([1, 0, np.nan, 0], ["a", "b", "c", "d"])
    assert (some.n, some.n_patients, some.value) == (3, 3, pytest.approx(1 / 3))
    none = proportion([np.nan], ["a"])
    assert np.isnan(none.value)
    assert none.n == 0


def test_a_label_that_nobody_has_is_as_sure_as_there_are_people():
    found = proportion(np.zeros(40), np.repeat(np.arange(8), 5).tolist())
    assert (found.low, found.high) == wilson(0, 8)


def clustered_draw(rng, people=60):
    """People with 1 to 6 records, who have the condition in most of them or in few."""
    sizes = rng.integers(1, 7, people)
    rates = rng.choice([0.03, 0.75], people, p=[0.8, 0.2])
    who = np.repeat(np.arange(people), sizes)
    return (rng.random(len(who)) < rates[who]).astype(float), who


def test_the_interval_covers_the_truth_where_records_of_a_person_are_alike():
    rng, truth = np.random.default_rng(0), 0.8 * 0.03 + 0.2 * 0.75
    ours = naive = 0
    for _ in range(600):
        labels, who = clustered_draw(rng)
        found = proportion(labels, who.tolist())
        ours += found.low <= truth <= found.high
        low, high = wilson(labels.sum(), len(labels))
        naive += low <= truth <= high
    assert 0.92 <= ours / 600 <= 0.98
    assert naive / 600 < 0.88  # what counting records as independent would do


def test_it_agrees_with_resampling_patients_where_that_works():
    labels, who = clustered_draw(np.random.default_rng(3), people=1500)
    weights = patient_weights(who, 2000, 0).astype(float)
    drawn = interval(weights @ labels / weights.sum(axis=1))
    found = proportion(labels, who.tolist())
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.004)
