# SPDX-License-Identifier: Apache-2.0
"""Decision curves are the sums one would do by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import patient_weights
from ecglens.statistics.decision import THRESHOLDS, decision_curve, net_benefit

LABELS = np.array([1.0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
SAID = np.array([0.9, 0.6, 0.2, 0.7, 0.4, 0.3, 0.1, 0.1, 0.05, 0.0])


def test_by_hand():
    # At 0.5: two true, one false positive of ten, odds 1; at 0.25: two true, three false, odds 1/3; at 0.1: three
    # true, and 0.7 0.4 0.3 0.1 0.1 false, odds 1/9.
    expected = [2 / 10 - 1 / 10, 2 / 10 - 3 / 10 / 3, 3 / 10 - 5 / 10 / 9]
    assert net_benefit(LABELS, SAID, [0.5, 0.25, 0.1])[0] == pytest.approx(expected)


def test_treat_all_and_none():
    labels, said = np.tile(LABELS, 4)[:, None], np.tile(SAID, 4)[:, None]
    table = decision_curve(labels, said, ["A"], list(range(40)), n_resamples=100)
    p, t = 0.3, np.array(THRESHOLDS)
    assert table["treat_all"].to_numpy() == pytest.approx(p - (1 - p) * t / (1 - t))
    assert net_benefit(LABELS, np.zeros(10), THRESHOLDS)[0] == pytest.approx(0.0)
    best = np.maximum(table["treat_all"], 0)
    assert table["gain"].to_numpy() == pytest.approx((table["net_benefit"] - best).to_numpy())
    assert (table["low"] <= table["net_benefit"] + 1e-12).all()
    assert (table["net_benefit"] <= table["high"] + 1e-12).all()
    assert tuple(table["threshold"]) == THRESHOLDS


def test_three_patients_with_a_label_prove_no_gain():
    few = decision_curve(LABELS[:, None], SAID[:, None], ["A"], list(range(10)), n_resamples=100)
    assert few["gain"].notna().all()
    assert few[["low", "high", "gain_low", "gain_high"]].isna().all(axis=None)


def test_resamples_are_the_plain_loop():
    weights = patient_weights([0, 0, 1, 2, 2, 3, 4, 5, 6, 6], 30, 2)
    drawn = net_benefit(LABELS, SAID, [0.15, 0.5], weights)
    for row, values in zip(weights, drawn, strict=True):
        index = np.repeat(np.arange(10), row)
        assert values == pytest.approx(net_benefit(LABELS[index], SAID[index], [0.15, 0.5])[0])


def test_honest_probabilities_never_lose_and_useless_ones_never_gain():
    generator = np.random.default_rng(0)
    logits = generator.normal(-1, 2, 100_000)
    labels = (generator.random(100_000) < expit(logits)).astype(float)
    everyone = net_benefit(labels, np.ones(100_000), THRESHOLDS)[0]
    honest = net_benefit(labels, expit(logits), THRESHOLDS)[0]
    assert (honest >= np.maximum(everyone, 0) - 1e-3).all()
    dealt_out = net_benefit(labels, generator.permutation(expit(logits)), THRESHOLDS)[0]
    assert (dealt_out <= np.maximum(everyone, 0) + 1e-3).all()


def test_acting_on_boasts_costs():
    """The same ranking, but too high: honest probabilities are worth more wherever it matters."""
    generator = np.random.default_rng(1)
    logits = generator.normal(-1, 2, 100_000)
    labels = (generator.random(100_000) < expit(logits)).astype(float)
    honest, boast = (net_benefit(labels, expit(logits + shift), [0.2, 0.5, 0.8])[0] for shift in (0.0, 2.0))
    assert (honest > boast).all()


def test_unknown_labels_and_hopeless_classes_are_left_out():
    labels = np.column_stack([LABELS, np.full(10, np.nan), np.zeros(10)])
    labels[3, 0] = np.nan
    table = decision_curve(labels, np.column_stack([SAID] * 3), ["A", "B", "C"], list(range(10)), n_resamples=50)
    assert set(table["class"]) == {"A"}
    assert (table["n"] == 9).all()
    nothing = decision_curve(labels[:, 1:], np.column_stack([SAID] * 2), ["B", "C"], list(range(10)), n_resamples=50)
    assert nothing.empty


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.2])
def test_thresholds_lie_between(threshold: float):
    with pytest.raises(UsageError):
        net_benefit(LABELS, SAID, [threshold])
