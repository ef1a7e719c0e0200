# SPDX-License-Identifier: Apache-2.0
"""Holm's correction: against its definition step by step, and its promise by simulation."""

from __future__ import annotations

import numpy as np

from ecglens.statistics.multiplicity import holm


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
