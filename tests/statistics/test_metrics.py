# SPDX-License-Identifier: Apache-2.0
"""Every figure against scikit-learn, against its definition by brute force, and against what must stay the same."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from ecglens.errors import InputError, UsageError
from ecglens.statistics import metrics

# Sums of a few dozen float64 products, in another order than scikit-learn's: some hundred roundings of 1e-16.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}
# Sums of whole numbers are exact, only the last divisions and the sum of steps round.
COUNTS_CLOSE = {"rtol": 1e-14, "atol": 1e-14}

FROM_COUNTS = (metrics.f1, metrics.sensitivity, metrics.specificity, metrics.ppv, metrics.balanced_accuracy)


@st.composite
def cohorts(draw, max_records=30, both=True):
    """Labels, scores with many ties, and weights [resample, record] with zeros."""
    n = draw(st.integers(2, max_records))
    labels = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])))
    levels = st.sampled_from([-1.5, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 3.0])
    scores = draw(hnp.arrays(np.float64, n, elements=levels | st.floats(-1, 1, width=32)))
    weights = draw(hnp.arrays(np.int64, (3, n), elements=st.integers(0, 4)))
    if both:
        assume(0 < labels.sum() < n)
    return labels, scores, weights


def lost_a_side(labels, weights):
    return (weights[labels == 1].sum() == 0) or (weights[labels == 0].sum() == 0)


def simulated(n=200, seed=0, decimals=1):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    return labels, np.round(labels + rng.normal(size=n), decimals)


# ------------------------------------------------------------------------------------------ against scikit-learn


@given(cohorts())
@settings(max_examples=60, deadline=None)
def test_threshold_free_figures_equal_scikit_learn_on_weights_and_ties(cohort):
    labels, scores, weights = cohort
    area, precision = metrics.discrimination(labels, scores, weights)
    for row, a, p in zip(weights, area, precision, strict=True):
        if lost_a_side(labels, row):
            assert np.isnan(a)
            assert np.isnan(p)
            continue
        np.testing.assert_allclose(a, sklearn_metrics.roc_auc_score(labels, scores, sample_weight=row), **CLOSE)
        expected = sklearn_metrics.average_precision_score(labels, scores, sample_weight=row)
        np.testing.assert_allclose(p, expected, **CLOSE)


@given(cohorts())
@settings(max_examples=50, deadline=None)
def test_unweighted_and_fractional_weights_equal_scikit_learn(cohort):
    labels, scores, weights = cohort
    assert isinstance(metrics.auroc(labels, scores), float)
    np.testing.assert_allclose(metrics.auroc(labels, scores), sklearn_metrics.roc_auc_score(labels, scores), **CLOSE)
    expected = sklearn_metrics.average_precision_score(labels, scores)
    np.testing.assert_allclose(metrics.average_precision(labels, scores), expected, **CLOSE)
    fraction = weights[:1] / 7 + 0.1
    expected = sklearn_metrics.roc_auc_score(labels, scores, sample_weight=fraction[0])
    np.testing.assert_allclose(metrics.auroc(labels, scores, fraction)[0], expected, **CLOSE)


@given(cohorts(), st.sampled_from([-2.0, 0.0, 0.25, 0.3, 1.0, 9.0]))
@settings(max_examples=60, deadline=None)
def test_figures_at_a_threshold_equal_scikit_learn(cohort, threshold):
    labels, scores, weights = cohort
    yes = metrics.decide(scores, threshold)
    counts = metrics.confusion(labels, yes, weights)
    for i, row in enumerate(weights):
        if lost_a_side(labels, row):
            assert all(np.isnan(figure(counts)[i]) for figure in FROM_COUNTS)
            continue
        table = sklearn_metrics.confusion_matrix(labels, yes, sample_weight=row, labels=[0, 1])
        np.testing.assert_array_equal([[counts.tn[i], counts.fp[i]], [counts.fn[i], counts.tp[i]]], table)
        given_ = {"sample_weight": row, "zero_division": np.nan}
        expected = [
            sklearn_metrics.f1_score(labels, yes, **given_),
            sklearn_metrics.recall_score(labels, yes, **given_),
            sklearn_metrics.recall_score(labels, yes, pos_label=0, **given_),
            sklearn_metrics.precision_score(labels, yes, **given_),
            sklearn_metrics.balanced_accuracy_score(labels, yes, sample_weight=row),
        ]
        np.testing.assert_allclose([figure(counts)[i] for figure in FROM_COUNTS], expected, **COUNTS_CLOSE)


@given(cohorts())
@settings(max_examples=50, deadline=None)
def test_curves_pass_through_scikit_learns_points_and_enclose_the_figures(cohort):
    labels, scores, _ = cohort
    roc, pr = metrics.roc_points(labels, scores), metrics.pr_points(labels, scores)
    fpr, tpr, cuts = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc, (fpr, tpr, cuts), **COUNTS_CLOSE)
    precision, recall, cuts = sklearn_metrics.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(pr.recall, recall[::-1], **COUNTS_CLOSE)
    np.testing.assert_allclose(pr.precision, precision[::-1], **COUNTS_CLOSE)
    np.testing.assert_array_equal(pr.threshold[1:], cuts[::-1])
    np.testing.assert_allclose(
        np.trapezoid(roc.sensitivity, roc.false_positive_rate), metrics.auroc(labels, scores), **CLOSE
    )
    steps = np.sum(np.diff(pr.recall) * pr.precision[1:])
    np.testing.assert_allclose(steps, metrics.average_precision(labels, scores), **CLOSE)


# ------------------------------------------------------------------------------------- definitions and identities


@given(cohorts())
@settings(max_examples=50, deadline=None)
def test_auroc_is_the_share_of_pairs_in_the_right_order(cohort):
    labels, scores, weights = cohort
    ups, downs = scores[labels == 1][:, None], scores[labels == 0][None, :]
    order = (ups > downs) + 0.5 * (ups == downs)
    np.testing.assert_allclose(metrics.auroc(labels, scores), order.mean(), **COUNTS_CLOSE)
    for row, value in zip(weights, metrics.auroc(labels, scores, weights), strict=True):
        if not lost_a_side(labels, row):
            pairs = row[labels == 1][:, None] * row[labels == 0][None, :]
            np.testing.assert_allclose(value, (pairs * order).sum() / pairs.sum(), **COUNTS_CLOSE)


@given(cohorts())
@settings(max_examples=60, deadline=None)
def test_negated_scores_and_swapped_labels_mirror_the_auroc(cohort):
    labels, scores, weights = cohort
    area = metrics.auroc(labels, scores, weights)
    np.testing.assert_allclose(metrics.auroc(labels, -scores, weights), 1 - area, **COUNTS_CLOSE)
    np.testing.assert_allclose(metrics.auroc(1 - labels, scores, weights), 1 - area, **COUNTS_CLOSE)


@given(cohorts())
@settings(max_examples=60, deadline=None)
def test_a_weight_is_a_record_that_often(cohort):
    labels, scores, weights = cohort
    counts = metrics.confusion(labels, metrics.decide(scores, 0.25), weights)
    for i, row in enumerate(weights):
        again = np.repeat(np.arange(labels.size), row)
        repeated = metrics.discrimination(labels[again], scores[again])
        np.testing.assert_array_equal(metrics.auroc(labels, scores, weights)[i], repeated.auroc)
        np.testing.assert_allclose(
            metrics.average_precision(labels, scores, weights)[i], repeated.average_precision, **COUNTS_CLOSE
        )
        once = metrics.confusion(labels[again], metrics.decide(scores[again], 0.25))
        assert tuple(column[i] for column in counts) == once


@given(cohorts(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_records_changes_nothing(cohort, random):
    labels, scores, weights = cohort
    order = np.array(random.sample(range(labels.size), labels.size))
    before = metrics.discrimination(labels, scores, weights)
    after = metrics.discrimination(labels[order], scores[order], weights[:, order])
    np.testing.assert_array_equal(before, after)
    assert metrics.fit_threshold_f1(labels, scores) == metrics.fit_threshold_f1(labels[order], scores[order])


def test_growing_transformations_of_the_scores_change_nothing():
    labels, scores = simulated()
    assert metrics.discrimination(labels, scores) == metrics.discrimination(labels, np.exp(scores))


def test_known_values():
    labels, scores = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]
    assert metrics.auroc(labels, scores) == 0.75
    assert metrics.average_precision(labels, scores) == (1 + 2 / 3) / 2
    # a constant predictor: all tied, so one step at the prevalence
    assert metrics.discrimination([1, 0, 0, 0], [0.3] * 4) == (0.5, 0.25)


def test_blocks_of_resamples_give_what_single_resamples_give(monkeypatch):
    labels, scores = simulated()
    weights = np.random.default_rng(1).integers(0, 4, size=(23, labels.size), dtype=np.uint8)
    whole = metrics.discrimination(labels, scores, weights)
    counts = metrics.confusion(labels, scores > 0, weights)
    monkeypatch.setattr(metrics, "_BLOCK", 5 * labels.size)  # 5 blocks, the last one short
    np.testing.assert_array_equal(metrics.discrimination(labels, scores, weights), whole)
    np.testing.assert_array_equal(metrics.confusion(labels, scores > 0, weights), counts)
    single = [metrics.discrimination(labels, scores, row[None]) for row in weights]
    np.testing.assert_array_equal(np.concatenate(single, axis=1), whole)


def test_a_byte_of_weight_does_not_overflow():
    labels, scores = simulated(2000)
    weights = np.full((1, 2000), 250, dtype=np.uint8)
    np.testing.assert_allclose(metrics.auroc(labels, scores, weights), metrics.auroc(labels, scores), **COUNTS_CLOSE)
    assert metrics.confusion(labels, scores > 0, weights).tp[0] == 250 * np.sum((labels == 1) & (scores > 0))


# ----------------------------------------------------------------------------- not estimable, unknown, not allowed


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [np.nan, 1, 1], [np.nan] * 3, []])
def test_one_class_is_not_estimable(labels):
    scores = [0.1, 0.5, 0.9][: len(labels)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = metrics.confusion(labels, metrics.decide(scores, 0.4))
        figures = [*metrics.discrimination(labels, scores), metrics.fit_threshold_f1(labels, scores)]
        figures += [figure(counts) for figure in FROM_COUNTS]
        curves = [*metrics.roc_points(labels, scores)[:2], *metrics.pr_points(labels, scores)[:2]]
    assert all(isinstance(figure, float) and np.isnan(figure) for figure in figures)
    assert all(np.isnan(curve).all() for curve in curves)


def test_only_the_resamples_that_lost_a_side_are_not_estimable():
    weights = np.array([[1, 1, 1], [0, 1, 1], [2, 0, 0], [0, 0, 0]])
    area, precision = metrics.discrimination([1, 0, 0], [0.9, 0.1, 0.95], weights)
    np.testing.assert_array_equal(area, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(precision, [0.5, np.nan, np.nan, np.nan])


def test_ppv_of_a_silent_model_is_not_estimable_and_its_f1_is_0():
    counts = metrics.confusion([1, 0, 1], [0, 0, 0])
    assert np.isnan(metrics.ppv(counts))
    assert (metrics.f1(counts), metrics.sensitivity(counts), metrics.specificity(counts)) == (0.0, 0.0, 1.0)


def test_unknown_labels_are_left_out_whatever_their_scores():
    labels, scores = simulated()
    more = np.append(labels, [np.nan, np.nan])
    # a record with an unknown label may even lack a score
    more_scores = np.append(scores, [np.nan, 99.0])
    assert metrics.discrimination(more, more_scores) == metrics.discrimination(labels, scores)
    assert metrics.fit_threshold_f1(more, more_scores) == metrics.fit_threshold_f1(labels, scores)
    assert metrics.confusion(more, np.append(scores > 0, [True, True])) == metrics.confusion(labels, scores > 0)
    np.testing.assert_array_equal(metrics.roc_points(more, more_scores), metrics.roc_points(labels, scores))
    weights = np.random.default_rng(0).integers(0, 3, size=(4, more.size), dtype=np.uint8)
    np.testing.assert_array_equal(
        metrics.auroc(more, more_scores, weights), metrics.auroc(labels, scores, weights[:, :-2])
    )


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "error", "word"),
    [
        ([0, 2], [0.1, 0.2], None, InputError, "labels"),
        ([0, 1], [0.1, np.nan], None, InputError, "1 not finite, first at record 1"),
        ([0, 1], [0.1, np.inf], None, InputError, "scores"),
        ([0, 1], [0.1], None, UsageError, "shape"),
        ([[0, 1]], [[0.1, 0.2]], None, UsageError, "score one class"),
        ([0, 1], [0.1, 0.2], np.ones(2), UsageError, "weights"),
        ([0, 1], [0.1, 0.2], np.ones((1, 3)), UsageError, "with 2 records"),
        ([0, 1], [0.1, 0.2], np.ones((0, 2)), UsageError, "weights"),
        ([0, 1], [0.1, 0.2], np.array([[1, -1]]), InputError, "0 or more"),
        ([0, 1], [0.1, 0.2], np.array([[1, np.nan]]), InputError, "0 or more"),
    ],
)
def test_what_cannot_be_is_refused(labels, scores, weights, error, word):
    with pytest.raises(error, match=word):
        metrics.auroc(labels, scores, weights)


def test_scores_are_no_decisions():
    with pytest.raises(InputError, match="decide"):
        metrics.confusion([0, 1], [0.2, 0.7])


# ---------------------------------------------------------------------------------------------- thresholds, tables


@given(cohorts(), st.sampled_from([np.float64, np.float32]))
@settings(max_examples=50, deadline=None)
def test_fitted_threshold_has_the_best_f1_of_all_cuts(cohort, dtype):
    labels, scores, _ = cohort
    scores = scores.astype(dtype)
    threshold = metrics.fit_threshold_f1(labels, scores)
    cuts = np.unique(scores)
    every = [metrics.f1(metrics.confusion(labels, metrics.decide(scores, cut))) for cut in cuts]
    yes = metrics.decide(scores, threshold)
    assert metrics.f1(metrics.confusion(labels, yes)) == max(every)
    # of equally good cuts the one with the fewest yes
    assert yes.sum() == np.sum(scores >= cuts[np.flatnonzero(every == np.max(every))[-1]])
    # also where somebody compares in the scores' own precision
    np.testing.assert_array_equal(yes, scores >= threshold)
    inside = scores[~yes]
    assert inside.size == 0 or inside.max() < threshold


def test_fitted_threshold_lies_midway_and_at_the_lowest_score_for_yes_to_all():
    assert metrics.fit_threshold_f1([0, 0, 1, 1], [0.0, 0.25, 0.75, 1.0]) == 0.5
    assert metrics.fit_threshold_f1([1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == 0.1
    neighbours = np.array([1.0, np.nextafter(np.float32(1), np.float32(2))], dtype=np.float32)
    assert metrics.fit_threshold_f1([0, 1], neighbours) == neighbours[1]


def test_decide_compares_in_double_precision():
    score = np.array([0.1], dtype=np.float32)  # 0.10000000149
    assert metrics.decide(score, 0.1).tolist() == [True]
    assert metrics.decide(score, 0.10000000148).tolist() == [True]
    assert metrics.decide(score, 0.1000000015).tolist() == [False]


def test_confusion_table_counts_every_class():
    labels = np.array([[1, 0], [0, np.nan], [1, 1]])
    table = metrics.confusion_table(labels, np.array([[1, 1], [1, 1], [0, 1]]), ["MI", "CD"])
    assert table.columns.tolist() == ["class", "tp", "fp", "fn", "tn", "n", "n_unknown"]
    assert table.to_numpy().tolist() == [["MI", 1, 1, 1, 0, 3, 0], ["CD", 1, 1, 0, 0, 2, 1]]
    assert metrics.confusion_table(labels, labels > 0)["class"].tolist() == ["0", "1"]
    with pytest.raises(UsageError, match="one name for each"):
        metrics.confusion_table(labels, labels > 0, ["MI"])
    with pytest.raises(UsageError, match="shape"):
        metrics.confusion_table(labels, labels[:2] > 0)


# --------------------------------------------------------------------------------------- threshold at a specificity


@given(cohorts(), st.sampled_from([0.05, 0.5, 0.75, 0.9, 0.95]))
def test_threshold_at_a_specificity_has_the_best_sensitivity_of_all_that_keep_it(cohort, share):
    labels, scores, _ = cohort
    threshold = metrics.fit_threshold_specificity(labels, scores, share)
    counts = metrics.confusion(labels, metrics.decide(scores, threshold))
    assert metrics.specificity(counts) >= share - 1e-9
    for cut in [*np.unique(scores), np.inf]:
        other = metrics.confusion(labels, metrics.decide(scores, cut))
        if metrics.specificity(other) >= share:
            assert metrics.sensitivity(other) <= metrics.sensitivity(counts)
            if metrics.sensitivity(other) == metrics.sensitivity(counts):
                assert metrics.specificity(other) <= metrics.specificity(counts)  # nobody is called in vain


def test_threshold_at_a_specificity_lies_between_scores_and_counts_exactly():
    labels, scores = np.r_[np.zeros(20), 1.0, 1.0], np.r_[np.arange(20) / 20, 0.93, 0.99]
    # 0.95 of 20 leaves one false alarm: the score 0.95; both positives lie at 0.93 or above
    assert metrics.fit_threshold_specificity(labels, scores, 0.95) == pytest.approx((0.93 + 0.9) / 2)
    assert metrics.fit_threshold_specificity(labels, scores, 0.96) == pytest.approx((0.99 + 0.95) / 2)
    low = metrics.fit_threshold_specificity(labels, np.r_[np.arange(20) / 20, -1, -1], 0.95)
    assert low > 0.95  # no positive can be had: nobody is called
    assert np.isnan(metrics.fit_threshold_specificity(np.ones(3), np.arange(3.0), 0.9))
    for share in (0.0, 1.0):
        with pytest.raises(UsageError):
            metrics.fit_threshold_specificity(labels, scores, share)
