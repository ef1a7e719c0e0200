# SPDX-License-Identifier: Apache-2.0
"""Intervals: patients stay whole, every figure equals a plain loop, and 95 % means 95 % (also where it could fail)."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from ecglens.errors import InputError, UsageError
from ecglens.statistics import bootstrap, metrics
from ecglens.statistics.bootstrap import (
    COLUMNS,
    METRICS,
    Estimate,
    interval,
    paired_difference,
    patient_weights,
    score_table,
)

CLASSES = ["NORM", "MI", "HYP"]
# Whole numbers are summed exactly, only a few divisions and means round.
CLOSE = {"rtol": 1e-13, "atol": 1e-13}


def cohort(n=150, seed=0, prevalence=(0.5, 0.3, 0.2), n_patients=90):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, len(prevalence))) < prevalence).astype(float)
    scores = np.round(labels + rng.normal(size=labels.shape), 1)
    patients = np.array([f"p{i:03d}" for i in rng.integers(n_patients, size=n)])
    return labels, scores, patients


def cell(table, name, metric):
    return table[(table["class"] == name) & (table["metric"] == metric)].iloc[0]


# ------------------------------------------------------------------------------------------------- the resamples


def test_records_of_a_patient_stay_together_and_patients_are_drawn_with_replacement():
    _, _, patients = cohort()
    weights = patient_weights(patients, 500, 0)
    assert weights.shape == (500, 150)
    assert weights.dtype == np.uint8
    names, first = np.unique(patients, return_index=True)
    for name, at in zip(names, first, strict=True):
        assert (weights[:, patients == name] == weights[:, [at]]).all()
    per_patient = weights[:, first]
    assert (per_patient.sum(axis=1) == names.size).all()
    # each patient is drawn once on average: 500 draws of variance 1 - 1/n, five standard errors
    assert np.abs(per_patient.mean(axis=0) - 1).max() < 5 / np.sqrt(500)
    assert (per_patient == 0).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_resamples_depend_on_the_seed_alone():
    _, _, patients = cohort()
    weights = patient_weights(patients, 20, 7)
    np.testing.assert_array_equal(weights, patient_weights(patients, 20, 7))
    np.testing.assert_array_equal(weights[:5], patient_weights(patients, 5, 7))
    np.testing.assert_array_equal(weights, patient_weights(patients, 20, np.random.default_rng(7)))
    assert (weights != patient_weights(patients, 20, 8)).any()
    order = np.random.default_rng(0).permutation(patients.size)
    np.testing.assert_array_equal(weights[:, order], patient_weights(patients[order], 20, 7))


def test_ids_may_be_anything_that_tells_patients_apart():
    expected = patient_weights([0, 1, 1, 2], 10, 0)
    for ids in (["a", "b", "b", "c"], pd.Series(["a", "b", "b", "c"], index=[9, 8, 7, 6]), np.array([1.0, 2, 2, 5])):
        np.testing.assert_array_equal(patient_weights(ids, 10, 0), expected)


@pytest.mark.parametrize("ids", [["a", None, "b"], [1.0, np.nan, 2.0]])
def test_a_missing_patient_is_refused(ids):
    with pytest.raises(InputError, match="1 missing, first at record 1"):
        patient_weights(ids, 10, 0)


def test_no_records_or_no_resamples_are_refused():
    with pytest.raises(InputError, match="patient_ids"):
        patient_weights([], 10, 0)
    with pytest.raises(UsageError, match="n_resamples"):
        patient_weights(["a"], 0, 0)


# -------------------------------------------------------------------------------------------------- the intervals


def test_interval_is_the_percentiles_of_what_is_usable():
    values = np.arange(1001.0)
    assert interval(values) == pytest.approx((25.0, 975.0, 1001), rel=1e-14)
    assert interval(values, level=0.9) == pytest.approx((50.0, 950.0, 1001), rel=1e-14)
    assert interval(np.append(values, [np.nan] * 50)) == interval(values)


def test_too_few_usable_resamples_give_no_interval():
    assert interval(np.arange(40.0)).usable == 40
    assert np.isfinite(interval(np.arange(40.0)).low)
    low, high, usable = interval(np.append(np.arange(39.0), np.nan))
    assert (np.isnan(low), np.isnan(high), usable) == (True, True, 39)
    assert interval([np.nan] * 100).usable == 0
    with pytest.raises(UsageError, match="95"):
        interval(np.arange(100), level=95)


def test_estimate_speaks_and_is_json_safe():
    estimate = Estimate(0.8949, 0.8712, 0.9149, 285, 270, "percentile")
    assert str(estimate) == "0.89 [0.87, 0.91]"
    assert json.loads(json.dumps(estimate.as_dict(), allow_nan=False))["n_patients"] == 270
    nothing = Estimate(np.nan, np.nan, np.nan, 1, 1, "none")
    assert str(nothing) == "not estimable"
    assert json.loads(json.dumps(nothing.as_dict(), allow_nan=False))["low"] is None
    assert str(Estimate(-0.001, np.nan, np.nan, 1, 1, "none")) == "0.00 [no interval]"


def binormal(rng, n_patients=60, per_patient=4, within=0.8, shift=1.0):
    """Records of patients who all have or lack the label; scores N(shift or 0, 1), correlated `within` a patient.

    A positive and a negative come from different patients, so they are independent and AUROC is Phi(shift / sqrt 2).
    """
    patient = np.repeat(np.arange(n_patients), per_patient)
    labels = (patient % 2).astype(float)
    own = rng.normal(size=n_patients)[patient]
    scores = shift * labels + np.sqrt(within) * own + np.sqrt(1 - within) * rng.normal(size=patient.size)
    return labels, scores, patient, stats.norm.cdf(shift / np.sqrt(2))


def coverage(unit, n_cohorts=200, n_resamples=300):
    rng = np.random.default_rng(123)
    hits = 0
    for i in range(n_cohorts):
        labels, scores, patient, truth = binormal(rng)
        ids = patient if unit == "patient" else np.arange(patient.size)
        low, high, _ = interval(metrics.auroc(labels, scores, patient_weights(ids, n_resamples, i)))
        hits += low <= truth <= high
    return hits


def test_95_percent_intervals_cover_the_truth_in_95_percent_of_cohorts():
    hits = coverage("patient")
    # what 200 honest intervals give in 999 of 1000 runs
    low, high = stats.binom.interval(0.999, 200, 0.95)
    assert low <= hits <= high


def test_resampling_records_of_repeated_patients_would_fail_that_test():
    assert coverage("record") < stats.binom.interval(0.999, 200, 0.95)[0] - 20


# --------------------------------------------------------------------------------------------------- the score table


def by_plain_loop(labels, scores, cuts, weights):
    """Return [class, metric, resample] by scikit-learn, one resample after the other."""
    out = np.empty((labels.shape[1], len(METRICS), len(weights)))
    for c, r in np.ndindex(labels.shape[1], len(weights)):
        index = np.repeat(np.arange(len(labels)), weights[r])
        y, s = labels[index, c], scores[index, c]
        yes = s >= cuts[c]
        out[c, :, r] = (
            sklearn_metrics.roc_auc_score(y, s),
            sklearn_metrics.average_precision_score(y, s),
            sklearn_metrics.f1_score(y, yes),
            sklearn_metrics.recall_score(y, yes),
            sklearn_metrics.recall_score(y, yes, pos_label=0),
            sklearn_metrics.precision_score(y, yes),
            sklearn_metrics.balanced_accuracy_score(y, yes),
        )
    return out


def test_table_equals_a_plain_loop_over_scikit_learn_on_the_same_resamples():
    labels, scores, patients = cohort()
    cuts = [0.3, 0.5, 0.7]
    table = score_table(labels, scores, CLASSES, patients, cuts, n_resamples=60, seed=3)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == (len(CLASSES) + 1) * len(METRICS)
    loop = by_plain_loop(labels, scores, cuts, patient_weights(patients, 60, 3))
    points = by_plain_loop(labels, scores, cuts, np.ones((1, len(labels)), int))[..., 0]
    loop, points = np.concatenate([loop, loop.mean(0)[None]]), np.concatenate([points, points.mean(0)[None]])
    np.testing.assert_allclose(table["value"], points.ravel(), **CLOSE)
    np.testing.assert_allclose(table["low"], np.quantile(loop, 0.025, axis=2).ravel(), **CLOSE)
    np.testing.assert_allclose(table["high"], np.quantile(loop, 0.975, axis=2).ravel(), **CLOSE)
    assert (table["n"] == 150).all()
    assert (table["n_patients"] == np.unique(patients).size).all()
    assert cell(table, "MI", "f1")["threshold"] == 0.5
    assert np.isnan(cell(table, "MI", "auroc")["threshold"])
    assert cell(table, "MI", "f1")["method"] == "95 % percentile interval, 60 of 60 patient resamples usable"
    assert cell(table, "macro", "f1")["method"].endswith("; mean of all 3 classes")


def test_same_seed_same_table_and_the_order_of_records_is_no_matter():
    labels, scores, patients = cohort()
    given = {"n_resamples": 80, "seed": 5}
    first = score_table(labels, scores, CLASSES, patients, [0.5] * 3, **given)
    pd.testing.assert_frame_equal(first, score_table(labels, scores, CLASSES, patients, [0.5] * 3, **given))
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = score_table(labels[order], scores[order], CLASSES, patients[order], [0.5] * 3, **given)
    pd.testing.assert_frame_equal(first, shuffled, rtol=1e-13)
    other = score_table(labels, scores, CLASSES, patients, [0.5] * 3, n_resamples=80, seed=6)
    assert (first["value"] == other["value"]).all()
    assert (first["low"] != other["low"]).any()


def test_unknown_labels_count_for_their_class_only():
    labels, scores, patients = cohort()
    labels[:40, 1] = np.nan
    table = score_table(labels, scores, CLASSES, patients, [0.5] * 3, n_resamples=50)
    row = cell(table, "MI", "auroc")
    assert (row["n"], row["n_positive"], row["n_patients"]) == (
        110,
        np.nansum(labels[:, 1]),
        np.unique(patients[40:]).size,
    )
    assert row["value"] == metrics.auroc(labels[40:, 1], scores[40:, 1])
    assert cell(table, "NORM", "auroc")["n"] == 150
    assert cell(table, "macro", "auroc")["n"] == 150


def test_without_thresholds_the_figures_that_need_one_are_not_estimable():
    labels, scores, patients = cohort()
    table = score_table(labels, scores, CLASSES, patients, [None, 0.5, np.nan], n_resamples=50)
    row = cell(table, "NORM", "f1")
    assert np.isnan([row["value"], row["low"], row["high"], row["chance"], row["baseline"]]).all()
    assert row["method"] == "not estimable (no threshold)"
    assert cell(table, "macro", "f1")["value"] == cell(table, "MI", "f1")["value"]
    assert cell(table, "macro", "f1")["method"].endswith("mean of 1 of 3 classes, without NORM, HYP")
    bare = score_table(labels, scores, CLASSES, patients, n_resamples=50)
    assert bare["value"].notna().sum() == 4 * 2
    assert cell(bare, "macro", "ppv")["method"] == "not estimable (no class is)"


@pytest.mark.parametrize(
    ("positives", "reason"),
    [([], "n+ = 0, from 0"), ([3], "n+ = 1, from 1"), ([3, 4, 5], "n+ = 3, from 1"), (range(12), "n- = 0, from 0")],
)
def test_a_class_that_one_patient_makes_is_not_estimable(positives, reason):
    patients = ["a", "a", "b", "c", "c", "c", "d", "e", "f", "g", "h", "i"]
    labels, scores = np.zeros((12, 2)), np.random.default_rng(0).random((12, 2))
    labels[::2, 0] = 1
    labels[list(positives), 1] = 1
    table = score_table(labels, scores, ["MI", "WPW"], patients, [0.5, 0.5], n_resamples=100)
    rare = table[table["class"] == "WPW"]
    assert rare[["value", "low", "high"]].isna().all(axis=None)
    assert (rare["n_positive"] == len(positives)).all()
    assert rare["method"].str.startswith(f"not estimable ({reason}").all()
    macro = cell(table, "macro", "auroc")
    assert macro["value"] == cell(table, "MI", "auroc")["value"]
    assert macro["method"].endswith("mean of 1 of 2 classes, without WPW")


def test_resamples_that_lose_a_class_are_left_out_and_counted_not_scored_as_0():
    labels, scores, patients = cohort(n=120, n_patients=10**6, prevalence=(0.5, 0.4, 0.0))
    labels[[5, 60, 110], 2] = 1
    scores[:, 2] = labels[:, 2] + np.linspace(0, 0.5, 120)  # the rare class is easy: AUROC 1
    table = score_table(labels, scores, CLASSES, patients, n_resamples=1000)
    weights = patient_weights(patients, 1000, 0)
    draws = np.stack([metrics.auroc(labels[:, i], scores[:, i], weights) for i in range(3)])
    kept = ~np.isnan(draws).any(axis=0)
    assert 0.9 < kept.mean() < 0.98  # (1 - 3/120)^120 = 4.8 % of the resamples lose it
    row = cell(table, "macro", "auroc")
    assert f", {kept.sum()} of 1000 patient resamples usable" in row["method"]
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(draws[:, kept].mean(0), [0.025, 0.975]), **CLOSE)
    # the trap: the lost class counted as 0 drags the lower bound down by a third of an AUROC
    trapped = interval(np.nan_to_num(draws).mean(axis=0))
    assert trapped.low < row["low"] - 0.1
    assert row["low"] < row["value"] < row["high"]


def test_a_model_that_never_says_yes_has_no_ppv():
    labels, scores, patients = cohort()
    table = score_table(labels, scores, CLASSES, patients, [99.0, 0.5, 0.5], n_resamples=50)
    row = cell(table, "NORM", "ppv")
    assert np.isnan(row["value"])
    assert row["method"] == "not estimable (nobody called positive)"
    assert cell(table, "NORM", "f1")["value"] == 0
    assert cell(table, "macro", "ppv")["method"].endswith("mean of 2 of 3 classes, without NORM")


def test_chance_is_what_shuffled_scores_get():
    labels, scores, patients = cohort(n=400, n_patients=10**6)
    table = score_table(labels, scores, CLASSES, patients, [0.5] * 3, n_resamples=40)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(400) for _ in range(600)]
    draws = np.array([bootstrap._figures(labels[:, 1], scores[order, 1], 0.5)[:, 0] for order in orders])
    expected = table[table["class"] == "MI"]["chance"].to_numpy(dtype=float)
    error = stats.sem(draws, axis=0)
    # average precision's chance is the limit for many records: at 400 it lies 0.01 above the prevalence
    slack = np.where(np.array(METRICS) == "average_precision", 0.015, 0.0)
    # sensitivity and its kin have the same yes rate in each shuffle; four standard errors
    assert (np.abs(draws.mean(axis=0) - expected) <= 4 * error + slack).all()


def test_baseline_is_the_better_of_yes_to_all_and_no_to_all():
    labels, scores, patients = cohort()
    table = score_table(labels, scores, CLASSES, patients, [0.5] * 3, n_resamples=40)
    constant = np.zeros(len(labels))
    yes, no = (bootstrap._figures(labels[:, 2], constant, cut)[:, 0] for cut in (-1.0, 1.0))
    expected = table[table["class"] == "HYP"]["baseline"].to_numpy(dtype=float)
    np.testing.assert_allclose(np.fmax(yes, no), expected, **CLOSE)
    p = labels[:, 2].mean()
    assert cell(table, "HYP", "f1")["baseline"] == pytest.approx(2 * p / (1 + p))
    means = table[(table["class"] != "macro") & (table["metric"] == "f1")]["baseline"].mean()
    assert cell(table, "macro", "f1")["baseline"] == pytest.approx(means)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"classes": ["A", "B"]}, "one name for each of 3"),
        ({"classes": ["A", "B", "macro"]}, "macro"),
        ({"classes": ["A", "A", "B"]}, "differ"),
        ({"thresholds": [0.5]}, "thresholds"),
        ({"patient_ids": ["a"]}, "one id for each"),
        ({"scores": np.zeros((150, 2))}, "scores"),
        ({"labels": np.zeros(150)}, "labels"),
        ({"level": 95}, "level"),
    ],
)
def test_what_does_not_fit_is_refused(change, word):
    labels, scores, patients = cohort()
    given = {"labels": labels, "scores": scores, "classes": CLASSES, "patient_ids": patients, "n_resamples": 5}
    with pytest.raises(UsageError, match=word):
        score_table(**(given | change))


# ----------------------------------------------------------------------------------------------- paired differences


def test_paired_difference_is_the_difference_of_the_tables_and_narrower_than_two_intervals():
    labels, a, patients = cohort()
    b = a + 0.4 * np.random.default_rng(9).normal(size=a.shape)
    difference = paired_difference(labels, a, b, patients, n_resamples=300, seed=2)
    one, two = (
        cell(score_table(labels, s, CLASSES, patients, n_resamples=300, seed=2), "macro", "auroc") for s in (a, b)
    )
    assert difference.value == pytest.approx(one["value"] - two["value"], abs=1e-13)
    assert (difference.n, difference.n_patients) == (one["n"], one["n_patients"])
    assert difference.high - difference.low < (one["high"] - one["low"]) + (two["high"] - two["low"])
    weights = patient_weights(patients, 300, 2)
    macro = [np.mean([metrics.auroc(labels[:, i], s[:, i], weights) for i in range(3)], axis=0) for s in (a, b)]
    np.testing.assert_allclose(
        [difference.low, difference.high], np.quantile(macro[0] - macro[1], [0.025, 0.975]), **CLOSE
    )
    assert difference == paired_difference(labels, a, b, patients, n_resamples=300, seed=2)
    back = paired_difference(labels, b, a, patients, n_resamples=300, seed=2)
    assert back.low == pytest.approx(-difference.high, abs=1e-13)
    assert "paired 95 % percentile interval" in difference.method


def test_a_model_does_not_differ_from_itself():
    labels, scores, patients = cohort()
    same = paired_difference(labels, scores, 2 * scores + 1, patients, n_resamples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_paired_difference_takes_one_class_and_leaves_out_what_is_not_estimable():
    labels, scores, patients = cohort()
    other = np.roll(scores, 1, axis=0)
    one = paired_difference(labels[:, 1], scores[:, 1], other[:, 1], patients, n_resamples=50)
    labels[:, [0, 2]] = 0
    some = paired_difference(labels, scores, other, patients, n_resamples=50)
    assert (some.value, some.low, some.high) == (one.value, one.low, one.high)
    assert some.method.endswith("mean of 1 of 3 classes, without 0, 2")
    nothing = paired_difference(np.zeros((150, 3)), scores, other, patients, n_resamples=50)
    assert np.isnan(nothing.value)
    assert nothing.n == 0
