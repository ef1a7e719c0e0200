# SPDX-License-Identifier: Apache-2.0
"""Scaling and gaps: mean 0 and deviation 1 of what is asked for; straight lines where samples are missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecglens.preprocessing.scale import bridge_gaps, longest_gap, standardize

SIGNAL = (np.random.default_rng(0).standard_normal((4, 12, 1000)) * np.arange(1, 13)[:, None] + 3).astype(np.float32)


@pytest.mark.parametrize(("by", "axes"), [("record", (1, 2)), ("lead", (2,))])
def test_like_the_formula_in_float64(by: str, axes: tuple[int, ...]) -> None:
    exact = SIGNAL.astype(np.float64)
    expected = (exact - exact.mean(axes, keepdims=True)) / exact.std(axes, keepdims=True)
    ours = standardize(SIGNAL, by)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=2e-5, rtol=0)


def test_by_record_keeps_the_ratio_of_leads_and_by_lead_does_not() -> None:
    deviations = SIGNAL.std(axis=2)
    by_record = standardize(SIGNAL).std(axis=2)
    np.testing.assert_allclose(by_record / by_record[:, :1], deviations / deviations[:, :1], rtol=1e-4)
    np.testing.assert_allclose(standardize(SIGNAL, "lead").std(axis=2), 1, rtol=1e-4)


def test_gain_and_offset_do_not_matter_and_records_are_apart() -> None:
    np.testing.assert_allclose(standardize(SIGNAL * 1000 - 40), standardize(SIGNAL), atol=1e-3)
    for k in range(4):
        np.testing.assert_allclose(standardize(SIGNAL[k : k + 1])[0], standardize(SIGNAL)[k], atol=1e-6)


def test_a_flat_signal_becomes_zeros() -> None:
    assert (standardize(np.full((1, 2, 50), 7, np.float32)) == 0).all()


signals = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=st.sampled_from([0.0, 1.5, -2.0, np.nan])
)


@given(signals)
def test_bridges_are_those_of_pandas(signal: np.ndarray) -> None:
    before = signal.copy()
    expected = pd.DataFrame(signal.T.astype(np.float64)).interpolate("linear", limit_direction="both").to_numpy().T
    np.testing.assert_allclose(bridge_gaps(signal), expected, atol=1e-6)  # a lead of nothing but gaps stays one
    np.testing.assert_array_equal(signal, before)


@given(signals)
def test_longest_gap_is_the_longest_run(signal: np.ndarray) -> None:
    for row, longest in zip(signal, longest_gap(signal), strict=True):
        runs = "".join("x" if missing else " " for missing in np.isnan(row)).split()
        assert longest == max(map(len, runs), default=0)
