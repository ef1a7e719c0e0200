# SPDX-License-Identifier: Apache-2.0
"""Figures of 0 and 1: as sure as there are patients, never certain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import interval, paired_difference, patient_weights, score_table
from ecglens.statistics.boundary import all_or_none
from ecglens.statistics.classification import classification
from ecglens.statistics.identification import Ranked, identification
from ecglens.statistics.metrics import auroc
from ecglens.statistics.verification import Trials, verification


def rows_of(labels, scores, patients, cut=0.5):
    table = score_table(np.array(labels)[:, None], np.array(scores)[:, None], ["MI"], patients, [cut], n_resamples=100)
    return {row["metric"]: row for row in table.to_dict("records") if row["class"] == "MI"}


def theirs(right, n):
    told = binomtest(right, n).proportion_ci(0.95, "wilson")
    return pytest.approx((told.low, told.high))


def test_all_found_is_as_sure_as_there_are_patients_whatever_their_records():
    labels = [1.0] * 9 + [0.0] * 14
    scores = [0.9] * 9 + [0.1] * 13 + [0.8]
    patients = [*"aaabbbccc", *"ddddddeeeefffg"]  # three have it, four have it not
    found = rows_of(labels, scores, patients)
    assert (found["sensitivity"]["low"], found["sensitivity"]["high"]) == theirs(3, 3)
    assert found["sensitivity"]["method"] == "95 % Wilson interval, 3 patients"
    assert 0 < found["specificity"]["value"] < 1  # one false alarm: resampled as ever
    assert "percentile" in found["specificity"]["method"]


def test_nobody_found():
    found = rows_of([1.0, 1, 1, 0, 0, 0], [0.1, 0.2, 0.1, 0.7, 0.1, 0.2], [*"abcdef"])
    for metric, n in (("sensitivity", 3), ("ppv", 1)):
        assert (found[metric]["low"], found[metric]["high"]) == theirs(0, n)
    share = binomtest(0, 4).proportion_ci(0.95, "wilson").high  # of a, b, c and d, who was called
    assert (found["f1"]["low"], found["f1"]["high"]) == (0, pytest.approx(2 * share / (1 + share)))


def test_a_perfect_ranking_is_as_many_right_answers_as_disjoint_pairs_of_patients():
    labels, scores = [1.0] * 4 + [0.0] * 30, np.r_[np.linspace(0.6, 0.9, 4), np.linspace(0.1, 0.4, 30)]
    found = rows_of(labels, scores, [f"p{i}" for i in range(34)])
    assert (found["auroc"]["low"], found["auroc"]["high"]) == theirs(4, 4)
    assert found["auroc"]["method"] == "95 % Wilson interval, 4 pairs of patients"
    sides = [binomtest(n, n).proportion_ci(0.95, "wilson").low for n in (4, 30)]
    assert found["balanced_accuracy"]["low"] == pytest.approx(np.mean(sides))
    assert np.isnan(found["average_precision"]["low"])
    both = rows_of(labels[:8], scores[:8], [*"abcdabcd"])  # each has records of both kinds: two pairs of two people
    assert (both["auroc"]["low"], both["auroc"]["high"]) == theirs(2, 2)


def test_macro_of_perfect_classes_is_the_mean_of_their_bounds_and_else_resampled():
    labels = np.array([[1.0, 1], [1, 1], [0, 1], [0, 0], [0, 0]])
    scores = labels * 0.8 + 0.1
    table = score_table(labels, scores, ["A", "B"], [*"abcde"], [0.5, 0.5], n_resamples=100)
    cells = {(row["class"], row["metric"]): row for row in table.to_dict("records")}
    lows = [cells[name, "sensitivity"]["low"] for name in "AB"]
    assert cells["macro", "sensitivity"]["low"] == pytest.approx(np.mean(lows))
    scores[3, 1] = 0.95  # B is no longer perfect
    table = score_table(labels, scores, ["A", "B"], [*"abcde"], [0.5, 0.5], n_resamples=100)
    how = table[(table["class"] == "macro") & (table["metric"] == "auroc")].iloc[0]["method"]
    assert "percentile" in how
    assert how.endswith("mean of all 2 classes; as if A stood at 0 or 1 for certain")


def test_two_perfect_networks_have_a_difference_of_which_resampling_knows_nothing():
    labels, patients = np.array([1.0, 1, 0, 0, 0]), [*"abcde"]
    one, other = np.array([0.9, 0.8, 0.3, 0.2, 0.1]), np.array([0.8, 0.9, 0.1, 0.2, 0.3])
    told = paired_difference(labels, one, other, patients, n_resamples=200)
    assert told.value == 0
    assert np.isnan(told.low)
    assert told.method.startswith("no interval")
    same = paired_difference(labels, one, 2 * one, patients, n_resamples=200)  # one order: they cannot differ
    assert (same.low, same.high) == (0, 0)


def test_a_level_that_is_none_is_refused():
    with pytest.raises(UsageError):
        all_or_none(1.0, 5, level=1.5)


def test_cohorts_of_six_patients_are_told_the_truth_where_percentiles_promise_certainty():
    """True sensitivity 0.8, AUROC 0.95: in cohorts that show 1, an interval without width is always wrong."""
    generator = np.random.default_rng(0)
    shown, missed, narrow = 0, 0, 0
    for k in range(300):
        patients, labels = np.arange(26), np.r_[np.ones(6), np.zeros(20)]
        scores = generator.normal(size=26) + labels * np.sqrt(2) * 1.6448536  # AUROC 0.95
        area = auroc(labels, scores)
        if area == 1:
            told = rows_of(labels, scores, patients)["auroc"]
            shown += 1
            missed += not told["low"] <= 0.95 <= told["high"]
            low, high, _ = interval(auroc(labels, scores, patient_weights(patients, 100, k)))
            narrow += not low <= 0.95 <= high
    assert shown > 30
    assert narrow == shown
    assert missed == 0


def test_people_who_are_all_found_or_never_mistaken():
    people = np.array([0, 0, 0, 1, 1, 2])
    found = identification(Ranked(np.zeros(6, int), np.zeros(6, int), people, 9), ks=(1,))["rank1"]
    assert (found.low, found.high) == theirs(3, 3)
    apart = Trials(np.array([0.9, 0.8, 0.9, 0.1, 0.2, 0.1]), np.array([0, 0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 2, 3]))
    error = verification(apart, fmrs=(), n_resamples=50)["eer"]  # two people have genuine trials
    assert (error.low, error.high) == theirs(0, 2)
    named, _ = classification(np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 2], [*"abcc"], n_resamples=50)
    assert {(round(one.low, 6), one.high) for one in named.values()} == {(round(theirs(3, 3).expected[0], 6), 1.0)}
