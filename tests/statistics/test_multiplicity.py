# SPDX-License-Identifier: Apache-2.0
"""Holm's correction and the false discovery rate: against their definitions, and their promises by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from ecglens.errors import UsageError
from ecglens.statistics.multiplicity import false_discovery, holm


def test_a_cell_is_rejected_exactly_where_holms_steps_reject_it() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        p = generator.random(8) ** 3
        for level in (0.01, 0.05, 0.3):
            rejected, order = np.zeros(8, bool), np.argsort(p)
            for k, place in enumerate(order):
                if p[place] > level / (8 - k):
                    break
                rejected[place] = True
            assert ((holm(p) <= level) == rejected).all()


def test_false_alarms_stay_below_the_level_whatever_hangs_together() -> None:
    generator = np.random.default_rng(1)
    shared = generator.standard_normal((4000, 1)) + generator.standard_normal((4000, 10))
    p = np.argsort(np.argsort(-shared, axis=0), axis=0) / 4000 + 1 / 4000
    assert np.mean([(holm(row) <= 0.05).any() for row in p]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_tables_and_missing_tests() -> None:
    found = holm(np.array([[0.01, np.nan], [0.02, 0.5]]))
    np.testing.assert_allclose(found, [[0.03, np.nan], [0.04, 0.5]])
    assert np.isnan(holm([np.nan])).all()


def test_a_finding_is_kept_exactly_where_the_step_up_of_benjamini_and_hochberg_keeps_it() -> None:
    for seed in range(20):
        p = np.random.default_rng(seed).uniform(size=50) ** (1 + seed % 3)
        for level in (0.01, 0.05, 0.3):
            kept = [p[p <= level * k / p.size].size >= k for k in range(1, p.size + 1)]
            bound = level * max((k for k, is_kept in enumerate(kept, 1) if is_kept), default=0) / p.size
            assert ((false_discovery(p) <= level) == (p <= bound)).all()


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
