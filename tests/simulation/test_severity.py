# SPDX-License-Identifier: Apache-2.0
"""Severity: the share of a lesion that is in the signal, and in the evidence alike."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.simulation import simulate_cohort, simulate_ecg


def leads(severity: float, condition: str = "CLBBB") -> np.ndarray:
    return simulate_ecg("x1", condition, noise=None, severity=severity).ecg.signal.astype(float)


def test_the_signal_moves_on_a_straight_line_from_normal_to_ill():
    normal, half, ill = leads(0.0), leads(0.5), leads(1.0)
    assert np.abs(leads(0.0) - leads(1.0, "NORM")).max() < 1e-6
    assert np.abs(half - (normal + ill) / 2).max() < 1e-6
    assert np.abs(ill - normal).max() > 0.3


def test_evidence_shrinks_with_the_lesion():
    full = simulate_ecg("x1", "IMI").evidence
    assert np.allclose(simulate_ecg("x1", "IMI", severity=0.25).evidence, 0.25 * full, atol=1e-6)


def test_a_cohort_draws_its_severities_from_the_range_and_says_so():
    cohort = simulate_cohort(60, severity=(0.2, 0.6), noise=None)
    textbook = simulate_cohort(60, noise=None)
    ill = np.flatnonzero(cohort.labels["NORM"] == 0)
    share = [cohort.evidence[i].sum() / textbook.evidence[i].sum() for i in ill]
    assert 0.2 <= min(share) < 0.3
    assert 0.5 < max(share) <= 0.6
    assert "severity 0.2 to 0.6" in cohort.label_rule


@pytest.mark.parametrize("severity", [(-0.1, 1.0), (0.5, 0.2), (0.0, 1.1), (float("nan"), 1.0)])
def test_impossible_severities_are_refused(severity):
    with pytest.raises(UsageError, match="severity"):
        simulate_cohort(3, severity=severity)
