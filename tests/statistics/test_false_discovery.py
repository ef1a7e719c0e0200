# SPDX-License-Identifier: Apache-2.0
"""q values: scipy's, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from ecglens.errors import UsageError
from ecglens.statistics.false_discovery import false_discovery


def test_same_as_scipy() -> None:
    for seed in range(20):
        p = np.random.default_rng(seed).uniform(size=50) ** (1 + seed % 3)
        np.testing.assert_allclose(false_discovery(p), false_discovery_control(p))


def test_what_was_not_tested_counts_for_nothing() -> None:
    p = np.array([[0.01, np.nan], [0.02, 0.5]])
    np.testing.assert_allclose(false_discovery(p)[~np.isnan(p)], false_discovery_control([0.01, 0.02, 0.5]))
    assert np.isnan(false_discovery(p)[0, 1])
    assert false_discovery([]).size == 0
    assert np.isnan(false_discovery([np.nan])).all()
    with pytest.raises(UsageError):
        false_discovery([1.2])


def test_of_the_findings_few_are_chance() -> None:
    shares, found = [], []
    for seed in range(200):
        z = np.random.default_rng(seed).normal(size=200) + np.where(np.arange(200) < 20, 3.5, 0.0)
        hit = false_discovery(norm.sf(z)) <= 0.1
        shares.append(hit[20:].sum() / max(hit.sum(), 1))
        found.append(hit[:20].mean())
    assert np.mean(shares) <= 0.11
    assert np.mean(found) > 0.7
