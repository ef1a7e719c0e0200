# SPDX-License-Identifier: Apache-2.0
"""Our block-wise resampling is SciPy's, whatever the rates, the length and the number of leads."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from ecglens.errors import SignalError
from ecglens.preprocessing.resample import resample

# Products in float32 of up to 21 taps per output (SciPy's filter, down > up): rounding about 21 * 6e-8 of the
# amplitude; the filter's gain between taps stays near 1.
TOLERANCE = 5e-6
RATES = [(500, 100), (100, 500), (360, 250), (257, 100), (1000, 360), (250, 257), (128, 100), (4000, 50), (999, 1000),
         (500, 499), (62.5, 100), (500, 33.5), (2000, 500)]  # fmt: skip


def reference(signal: np.ndarray, fs: float, new_fs: float) -> np.ndarray:
    """SciPy in float64, rates as whole numbers of tenths of a hertz."""
    up, down = round(new_fs * 10), round(fs * 10)
    common = math.gcd(up, down)
    return resample_poly(signal.astype(np.float64), up // common, down // common, axis=-1)


@pytest.mark.parametrize(("fs", "new_fs"), RATES)
def test_like_scipy(fs: float, new_fs: float) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 99, 100, 101, 500, 1003, 5000):
        signal = rng.standard_normal((2, 3, n)).astype(np.float32)
        ours, theirs = resample(signal, fs, new_fs), reference(signal, fs, new_fs)
        assert (ours.shape, ours.dtype) == (theirs.shape, np.float32)
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


@settings(max_examples=60, deadline=None)
@given(up=st.integers(1, 40), down=st.integers(1, 40), n=st.integers(1, 700), seed=st.integers(0, 2**32 - 1))
def test_like_scipy_for_any_ratio(up: int, down: int, n: int, seed: int) -> None:
    signal = np.random.default_rng(seed).standard_normal((2, n)).astype(np.float32)
    ours = resample(signal, 50.0 * down, 50.0 * up)
    theirs = reference(signal, 50.0 * down, 50.0 * up)
    assert ours.shape == theirs.shape == (2, math.ceil(n * up / down))
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


def test_records_do_not_touch_each_other() -> None:
    signal = np.random.default_rng(1).standard_normal((5, 12, 5000)).astype(np.float32)
    together = resample(signal, 500, 100)
    for record, alone in zip(signal, together, strict=True):
        np.testing.assert_allclose(resample(record[None], 500, 100)[0], alone, atol=1e-6, rtol=0)
    signal[2] = np.nan
    np.testing.assert_allclose(resample(signal, 500, 100)[[0, 1, 3, 4]], together[[0, 1, 3, 4]], atol=1e-6, rtol=0)


def test_a_slow_sine_stays_what_it_is_and_a_fast_one_goes() -> None:
    t, new_t = np.arange(5000) / 500, np.arange(1000) / 100
    inside = slice(50, -50)
    slow = resample(np.sin(2 * np.pi * 5 * t)[None], 500, 100)[0]
    np.testing.assert_allclose(slow[inside], np.sin(2 * np.pi * 5 * new_t)[inside], atol=2e-3)
    fast = resample(np.sin(2 * np.pi * 120 * t)[None], 500, 100)[0]  # would fold to 20 Hz
    assert np.abs(fast[inside]).max() < 5e-3


def test_same_rate_is_no_change() -> None:
    signal = np.random.default_rng(2).standard_normal((1, 2, 50)).astype(np.float32)
    np.testing.assert_array_equal(resample(signal, 500, 500.0), signal)


def test_input_is_left_alone_and_any_layout_is_taken() -> None:
    signal = np.random.default_rng(3).standard_normal((50, 2)).astype(np.float32)
    before = signal.copy()
    np.testing.assert_array_equal(resample(signal.T, 500, 100), resample(np.ascontiguousarray(signal.T), 500, 100))
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize(("fs", "new_fs"), [(500, 500.01), (500, 1e9), (100.003, 100), (500, 0.001)])
def test_ratios_that_cannot_be_are_refused(fs: float, new_fs: float) -> None:
    with pytest.raises(SignalError, match="ratio") as caught:
        resample(np.zeros((1, 100), np.float32), fs, new_fs)
    assert caught.value.exit_code == 3


def test_a_steep_ratio_takes_no_huge_matrix() -> None:
    signal = np.random.default_rng(4).standard_normal((1, 5000)).astype(np.float32)
    tracemalloc.start()
    try:
        ours = resample(signal, 500, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(ours, reference(signal, 500, 1), atol=TOLERANCE, rtol=0)
    assert peak < 20e6


def test_a_gap_stays_a_gap_of_its_own_length() -> None:
    rng = np.random.default_rng(3)
    whole = np.cumsum(rng.standard_normal((2, 2, 5000)), axis=-1).astype(np.float32)
    holed = whole.copy()
    holed[0, 1, 1000:1100] = np.nan  # 0.2 s of one lead of one record
    out, clean = resample(holed, 500, 100), resample(whole, 500, 100)
    assert np.flatnonzero(np.isnan(out[0, 1])).tolist() == list(range(200, 220))
    assert np.isnan(out).sum() == 20
    assert np.array_equal(out[1], clean[1])
    assert np.array_equal(out[0, 0], clean[0, 0])
    assert np.abs(out[0, 1, 300:] - clean[0, 1, 300:]).max() < 1e-4 * np.abs(clean).max()


def test_a_lead_of_gaps_alone_stays_one() -> None:
    signal = np.full((1, 2, 500), np.nan, np.float32)
    signal[0, 0] = 1.0
    out = resample(signal, 500, 250)
    assert np.isnan(out[0, 1]).all()
    assert not np.isnan(out[0, 0]).any()
