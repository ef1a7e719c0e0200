# SPDX-License-Identifier: Apache-2.0
"""Temperature and offset are those that were planted, or scikit-learn's; thresholds come from validation alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, FormatError, UsageError
from ecglens.prediction.calibration import (
    RULES,
    calibrate,
    deciding_by,
    fit_platt,
    fit_temperature,
    fit_threshold,
    thresholds_of,
)
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import Prepared, prepare


def planted(temperature: float, n: int = 200_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose honest probability is sigmoid(logit / temperature)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, n)
    return logits, (generator.random(n) < 1 / (1 + np.exp(-logits / temperature))).astype(float)


@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.0, 1.7, 5.0])
def test_recovers_a_planted_temperature(temperature: float) -> None:
    assert fit_temperature(*planted(temperature)) == pytest.approx(temperature, rel=0.04)


def test_is_the_minimum_of_the_cross_entropy() -> None:
    logits, labels = planted(2.0, 500)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        p = 1 / (1 + np.exp(-logits / temperature))
        return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))

    assert all(loss(found) <= loss(found * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))


def test_unknown_labels_do_not_count() -> None:
    logits, labels = planted(2.0, 1000)
    doubled = np.concatenate([logits, -100 * np.ones(50)]), np.concatenate([labels, np.full(50, np.nan)])
    assert fit_temperature(*doubled) == fit_temperature(logits, labels)


def test_nothing_to_fit() -> None:
    for labels in ([1.0, 1.0], [0.0, 0.0], [np.nan, 1.0]):
        assert fit_temperature(np.array([1.0, -1.0]), np.array(labels)) == 1.0


def test_stays_within_its_limits() -> None:
    perfect = np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0])
    assert 0.1 <= fit_temperature(*perfect) < 0.11  # separable: colder is always better
    assert 9.9 < fit_temperature(perfect[0], 1 - perfect[1]) <= 10  # wrong: warmer is always better
    assert np.isfinite(fit_temperature(np.array([1e6, -1e6]), np.array([0.0, 1.0])))


# ----------------------------------------------------------------------------------------------------- Platt scaling


@pytest.mark.parametrize(("temperature", "offset"), [(1.0, 0.0), (2.0, 1.0), (0.5, -3.0), (5.0, 0.7)])
def test_platt_recovers_what_was_planted(temperature: float, offset: float) -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 3, 200_000)
    labels = (generator.random(200_000) < expit(logits / temperature + offset)).astype(float)
    found = fit_platt(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.offset == pytest.approx(offset, abs=0.05)


def test_platt_is_scikit_learns() -> None:
    logits, labels = planted(2.0, 400)
    model = LogisticRegression()  # decision_function is the logit: weight 1, bias 0
    model.classes_, model.coef_, model.intercept_ = np.array([0.0, 1.0]), np.array([[1.0]]), np.array([0.0])
    model.n_features_in_ = 1
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(logits[:, None], labels)
    ours = fit_platt(logits, labels)
    said = expit(logits / ours.temperature + ours.offset)
    np.testing.assert_allclose(said, theirs.predict_proba(logits[:, None])[:, 1], atol=2e-4)


def test_platt_makes_the_mean_right_and_a_temperature_does_not() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 2, 3000)
    labels = (generator.random(3000) < expit(logits - 1.5)).astype(float)
    temperature, offset = fit_platt(logits, labels)
    assert expit(logits / temperature + offset).mean() == pytest.approx(labels.mean(), abs=1e-3)
    assert expit(logits / fit_temperature(logits, labels)).mean() > labels.mean() + 0.1


def test_platt_never_turns_a_ranking_round_and_stays_finite() -> None:
    perfect = np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0])
    for labels in (perfect[1], 1 - perfect[1]):
        temperature, offset = fit_platt(perfect[0], labels)
        assert 0.1 <= temperature <= 10
        assert abs(offset) < 10
    assert fit_platt(perfect[0], 1 - perfect[1]).temperature == pytest.approx(10.0)
    huge = fit_platt(np.array([1e6, -1e6, 1e5, -1e5]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert np.isfinite(huge).all()
    flat = fit_platt(np.zeros(10), np.r_[np.ones(3), np.zeros(7)])
    assert np.isfinite(flat).all()
    for labels in ([1.0, 1.0], [0.0, 0.0], [np.nan, 1.0]):
        assert fit_platt(np.array([1.0, -1.0]), np.array(labels)) == (1.0, 0.0)


def test_platt_leaves_unknown_labels_out() -> None:
    logits, labels = planted(2.0, 500)
    more = np.concatenate([logits, np.full(50, -100.0)]), np.concatenate([labels, np.full(50, np.nan)])
    assert fit_platt(*more) == fit_platt(logits, labels)


# ------------------------------------------------------------------------------------------------------- thresholds


@pytest.fixture(scope="module")
def valid(tiny_bundle: Bundle, small_cohort: Cohort) -> Prepared:
    return prepare(small_cohort.where(fold=[8, 9]), tiny_bundle.preprocessing)


def test_calibrate_keeps_thresholds_by_every_rule(tiny_bundle: Bundle, valid: Prepared) -> None:
    found = calibrate(tiny_bundle, valid, rule="specificity-0.80")
    labels = valid.cohort.labels.to_numpy()
    said = found.activate(predict_raw(found, valid.signals))
    kept = thresholds_of(found)
    assert set(kept) == {*RULES, "specificity-0.80"}
    for k, name in enumerate(found.classes):
        for rule, each in kept.items():
            assert each[name] == fit_threshold(labels[:, k], said[:, k], rule)
        assert found.thresholds[k] == kept["specificity-0.80"][name]
        cut = kept["specificity-0.90"][name]
        assert cut is not None
        assert np.mean(said[labels[:, k] == 0, k] < cut) >= 0.90
    assert deciding_by(found, "f1").thresholds == tuple(kept["f1"][name] for name in found.classes)
    assert found.weights_sha256 == tiny_bundle.weights_sha256


def test_methods(tiny_bundle: Bundle, valid: Prepared) -> None:
    platt, warm = calibrate(tiny_bundle, valid), calibrate(tiny_bundle, valid, method="temperature")
    assert platt.details["calibration"] == "platt"
    assert all(output.offset == 0 for output in warm.outputs)
    labels, raw = valid.cohort.labels.to_numpy(), predict_raw(tiny_bundle, valid.signals)
    for k, output in enumerate(platt.outputs):
        assert (output.temperature, output.offset) == fit_platt(raw[:, k], labels[:, k])
        assert warm.outputs[k].temperature == fit_temperature(raw[:, k], labels[:, k])
    turned = calibrate(replace(tiny_bundle, outputs=tuple(replace(o, offset=9.0) for o in tiny_bundle.outputs)), valid)
    assert turned.outputs == platt.outputs  # what was there before is no matter


def test_a_saved_bundle_keeps_its_rules(tiny_bundle: Bundle, tmp_path) -> None:
    loaded = Bundle.load(tiny_bundle.save(tmp_path / "bundle"))
    assert loaded.outputs == tiny_bundle.outputs
    assert any(output.offset != 0 for output in loaded.outputs)
    assert thresholds_of(loaded) == thresholds_of(tiny_bundle)


@pytest.mark.parametrize("rule", ["f2", "specificity-", "specificity-1", "specificity-0", "specificity-x", ""])
def test_unknown_rules_are_refused(tiny_bundle: Bundle, valid: Prepared, rule: str) -> None:
    with pytest.raises(UsageError):
        calibrate(tiny_bundle, valid, rule=rule)


def test_a_rule_that_a_bundle_does_not_keep_is_refused(tiny_bundle: Bundle, valid: Prepared) -> None:
    with pytest.raises(ContractError, match=r"specificity-0\.90") as caught:
        deciding_by(tiny_bundle, "specificity-0.99")
    assert caught.value.kind == "thresholds"
    with pytest.raises(UsageError):
        calibrate(tiny_bundle, valid, method="magic")


@pytest.mark.parametrize("wrong", ["text", {"f1": 3}, {"f1": {}}, {"f1": {"NORM": "x", "MI": 0, "CD": 0}},
                                   {"f1": {"NORM": float("nan"), "MI": 0, "CD": 0}}])  # fmt: skip
def test_nonsense_in_a_bundle_is_one_line(tiny_bundle: Bundle, wrong: object) -> None:
    with pytest.raises(FormatError):
        thresholds_of(replace(tiny_bundle, details={"thresholds": wrong}))
