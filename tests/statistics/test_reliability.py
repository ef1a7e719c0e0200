# SPDX-License-Identifier: Apache-2.0
"""Figures of calibration are scikit-learn's, find what was planted, and their intervals keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from ecglens.errors import InputError, UsageError
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.reliability import METRICS, brier, calibration_table, recalibration, reliability_curve


def planted(intercept: float, slope: float, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits: the honest log odds are intercept + slope * logit."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, n)
    return (generator.random(n) < expit(intercept + slope * logits)).astype(float), logits


def by_metric(table, name="A"):
    return table[table["class"] == name].set_index("metric")


# ---------------------------------------------------------------------------------------------------- single figures


def test_logits_that_are_all_the_same_have_no_slope():
    intercept, slope = recalibration([1, 0, 0, 1, 0], [2.0] * 5, np.ones((3, 5), np.uint8))
    assert np.isnan(intercept).all()
    assert np.isnan(slope).all()
    assert np.isfinite(recalibration([1, 0, 0, 1, 0], [2.0] * 5, slope=1.0)[0]).all()


def test_brier_is_scikit_learns_also_with_weights():
    labels, logits = planted(0.3, 0.8, 300)
    weights = patient_weights(np.arange(300) // 3, 20, 1)
    drawn = brier(labels, expit(logits), weights)
    for row, value in zip(weights, drawn, strict=True):
        assert value == pytest.approx(brier_score_loss(labels, expit(logits), sample_weight=row), abs=1e-12)
    assert brier(labels, expit(logits))[0] == pytest.approx(brier_score_loss(labels, expit(logits)), abs=1e-12)


@pytest.mark.parametrize(("intercept", "slope"), [(1.0, 0.5), (0.0, 1.0), (-2.0, 2.0), (0.5, -0.7)])
def test_recalibration_recovers_what_was_planted(intercept: float, slope: float):
    labels, logits = planted(intercept, slope, 200_000)
    found = recalibration(labels, logits)
    assert (found[0][0], found[1][0]) == pytest.approx((intercept, slope), abs=0.04)


def test_recalibration_is_scikit_learns_logistic_regression_in_every_resample():
    labels, logits = planted(1.0, 0.5, 300)
    weights = patient_weights(np.arange(300) // 2, 15, 3)
    intercepts, slopes = recalibration(labels, logits, weights)
    for row, intercept, slope in zip(weights, intercepts, slopes, strict=True):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(logits[:, None], labels, sample_weight=row.astype(float))
        assert (intercept, slope) == pytest.approx((model.intercept_[0], model.coef_[0, 0]), abs=1e-5)


def test_level_is_where_expected_and_observed_numbers_agree():
    labels, logits = planted(-1.0, 1.0, 500)
    level, slope = recalibration(labels, logits, slope=1.0)
    assert slope[0] == pytest.approx(1.0)
    assert expit(logits + level[0]).sum() == pytest.approx(labels.sum(), abs=1e-6)


def test_what_no_slope_fits_is_nan():
    logits = np.array([-2.0, -1.0, 1.0, 2.0])
    separable, one_sided = np.array([0.0, 0, 1, 1]), np.zeros(4)
    assert np.isnan(recalibration(separable, logits)).all()
    assert np.isnan(recalibration(one_sided, logits)).all()
    weights = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.uint8)
    intercept, slope = recalibration(np.array([0.0, 1, 0, 1]), logits, weights)
    assert np.isfinite([intercept[0], slope[0], intercept[1] * 0 if np.isfinite(intercept[1]) else 0.0]).all()
    assert np.isnan(slope[1])  # the two records left are separated
    far = recalibration(np.array([0.0, 1, 0, 1]), 1e6 * logits)
    assert far[1][0] == pytest.approx(slope[0] / 1e6, rel=1e-6)  # the scale of the logits is no matter


def test_curve_is_scikit_learns():
    labels, logits = planted(0.5, 0.7, 1000)
    bins = reliability_curve(labels, expit(logits), list(range(1000)), n_bins=10)
    observed, said = calibration_curve(labels, expit(logits), n_bins=10, strategy="quantile")
    np.testing.assert_allclose([b.observed for b in bins], observed, atol=1e-12)
    np.testing.assert_allclose([b.mean_probability for b in bins], said, atol=1e-12)
    assert [b.n for b in bins] == [100] * 10
    assert all(b.low <= b.observed <= b.high for b in bins)
    assert sum(b.n_positive for b in bins) == labels.sum()


def test_curve_keeps_equal_probabilities_together_and_leaves_unknown_out():
    labels = np.array([0.0, 1, np.nan, 0, 1, 1])
    bins = reliability_curve(labels, np.array([0.2, 0.2, 0.9, 0.2, 0.7, 0.7]), list("abcdef"), n_bins=5)
    assert [(b.n, round(b.mean_probability, 12)) for b in bins] == [(3, 0.2), (2, 0.7)]
    assert reliability_curve(np.full(3, np.nan), np.full(3, 0.5), list("abc")) == []


def test_an_empty_bin_side_still_has_width():
    bins = reliability_curve(np.r_[np.zeros(50), np.ones(50)], np.linspace(0.01, 0.99, 100), list(range(100)))
    assert (bins[0].observed, bins[0].low) == (0.0, 0.0)
    assert bins[0].high > 0.05


# ---------------------------------------------------------------------------------------------------------- the table


@pytest.fixture(scope="module")
def table():
    labels, logits = planted(1.0, 0.5, 1200)
    wrong, right = expit(logits), expit(1.0 + 0.5 * logits)
    both = np.column_stack([wrong, right])
    return calibration_table(np.column_stack([labels] * 2), both, ["A", "B"], list(np.arange(1200) // 2),
                             n_resamples=300)  # fmt: skip


def test_the_table_tells_a_wrong_network_from_a_right_one(table):
    wrong, right = by_metric(table, "A"), by_metric(table, "B")
    assert tuple(wrong.index) == METRICS
    assert wrong.loc["slope", "high"] < 1 < right.loc["slope", "high"]
    assert right.loc["slope", "low"] < 1
    assert wrong.loc["intercept", "low"] > 0
    assert right.loc["level", "low"] < 0 < right.loc["level", "high"]
    assert wrong.loc["ece", "value"] > 2 * wrong.loc["ece", "reference"]
    assert right.loc["ece", "value"] < 2 * right.loc["ece", "reference"]
    assert right.loc["brier", "value"] < wrong.loc["brier", "value"]


def test_references_are_the_trivial_answers(table):
    rows, labels = by_metric(table), planted(1.0, 0.5, 1200)[0]
    p = labels.mean()
    assert rows.loc["brier", "reference"] == pytest.approx(p * (1 - p))
    assert rows.loc["brier", "reference"] == pytest.approx(brier_score_loss(labels, np.full(1200, p)))
    assert rows.loc["mean_probability", "reference"] == pytest.approx(p)
    skill = 1 - rows.loc["brier", "value"] / rows.loc["brier", "reference"]
    assert rows.loc["brier_skill", "value"] == pytest.approx(skill)
    assert (rows["n"] == 1200).all()
    assert (rows["n_patients"] == 600).all()
    assert "patient resamples" in rows.loc["slope", "method"]


def test_the_error_of_a_perfect_network_is_its_reference():
    """The bias is told: over many cohorts a perfect network's error is on average the reference beside it."""
    found = []
    for seed in range(40):
        labels, logits = planted(0.0, 1.0, 200, seed)
        rows = by_metric(calibration_table(labels[:, None], expit(logits)[:, None], ["A"], list(range(200)),
                                           n_resamples=50))  # fmt: skip
        found.append((rows.loc["ece", "value"], rows.loc["ece", "reference"]))
        assert np.isnan(rows.loc["ece", "low"])
    value, reference = np.mean(found, axis=0)
    assert value == pytest.approx(reference, rel=0.1)
    assert reference > 0.03  # far from 0, which is why it must be told


def test_a_class_that_one_patient_has_is_not_estimable():
    labels = np.array([1.0, 1, 0, 0, 0, 0])[:, None]
    rows = calibration_table(labels, np.full((6, 1), 0.4), ["A"], list("aabcde"), n_resamples=50)
    assert rows["value"].isna().all()
    assert "1 of at least 2 patients" in rows["method"][0]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_probabilities_must_be_probabilities(wrong: float):
    with pytest.raises(InputError):
        calibration_table([[0.0], [1.0]], [[0.5], [wrong]], ["A"], ["a", "b"])


def test_shapes_must_agree():
    with pytest.raises(UsageError):
        calibration_table([[0.0], [1.0]], [[0.5]], ["A"], ["a", "b"])
    with pytest.raises(UsageError):
        recalibration(np.zeros(3), np.zeros(4))


# --------------------------------------------------------------------------------------------- the intervals' promise


def cohort(generator: np.random.Generator, n_patients: int = 60, per_patient: int = 3) -> tuple[np.ndarray, ...]:
    """Patients whose records resemble each other; log odds given the score s are s - 1/2, and we say sigmoid(2 s - 1).

    Scores are N(label, 1) with half of the variance the patient's own. So the slope is 1/2 and the intercept 0.
    """
    patient = np.repeat(np.arange(n_patients), per_patient)
    labels = (patient % 2).astype(float)
    noise = np.sqrt(0.5) * (generator.normal(size=n_patients)[patient] + generator.normal(size=patient.size))
    return labels, 2 * (labels + noise) - 1, patient


def coverage(unit: str, per_patient: int = 3, n_cohorts: int = 120, n_resamples: int = 120) -> int:
    generator, hits = np.random.default_rng(5), 0
    for k in range(n_cohorts):
        labels, logits, patient = cohort(generator, per_patient=per_patient)
        weights = patient_weights(patient if unit == "patient" else np.arange(patient.size), n_resamples, k)
        drawn = interval(recalibration(labels, logits, weights)[1])
        hits += drawn.low <= 0.5 <= drawn.high
    return hits


def test_intervals_of_the_slope_cover_it():
    low, high = stats.binom.interval(0.999, 120, 0.95)
    assert low <= coverage("patient") <= high


def test_resampling_records_would_not():
    assert coverage("record", per_patient=8) < stats.binom.interval(0.999, 120, 0.95)[0] - 10


def test_the_planted_cohort_is_what_it_says():
    labels, logits, _ = cohort(np.random.default_rng(0), 100_000)
    assert [x[0] for x in recalibration(labels, logits)] == pytest.approx([0.0, 0.5], abs=0.02)
    assert np.var(logit(expit(logits)) / 2 - labels) == pytest.approx(1.0, abs=0.02)
