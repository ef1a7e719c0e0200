# SPDX-License-Identifier: Apache-2.0
"""The temperature is the one that was planted."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.prediction.calibration import fit_temperature


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
