# SPDX-License-Identifier: Apache-2.0
"""The band-pass is SciPy's sosfiltfilt; it keeps the QRS, removes drift and hum, and moves nothing in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, sosfreqz

from ecglens.errors import SignalError
from ecglens.preprocessing.filter import apply_zero_phase, design_bandpass

SECTIONS = design_bandpass(0.5, 40, 2, 100)


@pytest.mark.parametrize(("low", "high", "order", "fs"), [(0.5, 40, 2, 100), (0.5, 40, 3, 500), (0.05, 47, 1, 100)])
@pytest.mark.parametrize("n", [40, 250, 1000, 2048, 2049, 5000])
def test_like_scipy_on_both_sides_of_the_longest_matrix(low: float, high: float, order: int, fs: float, n: int) -> None:
    signal = np.random.default_rng(n).standard_normal((2, 3, n)).astype(np.float32)
    theirs = sosfiltfilt(butter(order, [low, high], "bandpass", fs=fs, output="sos"), signal.astype(np.float64))
    ours = apply_zero_phase(signal, design_bandpass(low, high, order, fs))
    assert (ours.dtype, ours.shape) == (np.float32, signal.shape)
    # A sum of n products in float32: the rounding grows with sqrt(n), 2e-6 at the n = 1000 of a 10 s record.
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max(), rtol=0)


def gain(f: float) -> float:
    """Measured: amplitude of a filtered sine of 60 s, away from the ends, by least squares."""
    t = np.arange(6000) / 100
    out = apply_zero_phase(np.sin(2 * np.pi * f * t)[None].astype(np.float32), SECTIONS)[0]
    inside = slice(1500, 4500)
    basis = np.stack([np.sin(2 * np.pi * f * t), np.cos(2 * np.pi * f * t)], axis=1)[inside]
    sine, cosine = np.linalg.lstsq(basis, out[inside], rcond=None)[0]
    assert abs(cosine) < 0.02, "a phase"
    return float(sine)


def test_frequency_response() -> None:
    assert gain(10) == pytest.approx(1, abs=1e-3)
    assert gain(0.05) < 2e-3
    assert gain(49) < 2e-3
    for corner in (0.5, 40):  # -3 dB once, -6 dB forwards and backwards
        assert gain(corner) == pytest.approx(0.5, abs=0.02)
    for f in (1.0, 5.0, 20.0, 30.0):
        once = abs(sosfreqz(SECTIONS, [f], fs=100)[1][0])
        assert gain(f) == pytest.approx(once**2, abs=2e-3)


def test_a_symmetric_pulse_stays_symmetric_in_its_place() -> None:
    for n in (1001, 3001):
        distance = np.abs(np.arange(n) - n // 2)
        pulse = np.exp(-0.5 * (distance / 3.0) ** 2)[None].astype(np.float32)
        out = apply_zero_phase(pulse, SECTIONS)[0]
        assert int(np.argmax(out)) == n // 2
        np.testing.assert_allclose(out, out[::-1], atol=3e-5)  # up to how far the filter rings at the ends


def test_it_is_linear_and_leads_are_apart() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 4, 1000)).astype(np.float32)
    summed = apply_zero_phase(2 * a - b, SECTIONS)
    parts = 2 * apply_zero_phase(a, SECTIONS) - apply_zero_phase(b, SECTIONS)
    np.testing.assert_allclose(summed, parts, atol=2e-5)
    a[1] = 1e3
    np.testing.assert_allclose(
        apply_zero_phase(a, SECTIONS)[[0, 2, 3]], apply_zero_phase(a[[0, 2, 3]], SECTIONS), atol=1e-5
    )


def test_a_constant_vanishes_and_the_input_stays() -> None:
    signal = np.full((1, 1000), 5, np.float32)
    assert np.abs(apply_zero_phase(signal, SECTIONS)).max() < 5e-3
    assert (signal == 5).all()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 40), (40, 0.5), (0.5, 50), (0.5, 60), (-1, 40), (float("nan"), 40), (5, 5)]
)
def test_cut_offs_are_checked(low: float, high: float) -> None:
    with pytest.raises(SignalError, match="cut-offs"):
        design_bandpass(low, high, 2, 100)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_signal_too_short_to_pad_is_refused_not_crashed_upon(order: int) -> None:
    sections = design_bandpass(0.5, 40, order, 100)
    shortest = next(n for n in range(1, 200) if _works(sections, n))
    with pytest.raises(SignalError, match=f"at least {shortest}"):
        apply_zero_phase(np.zeros((1, shortest - 1), np.float32), sections)
    assert apply_zero_phase(np.zeros((1, shortest), np.float32), sections).shape == (1, shortest)


def _works(sections: np.ndarray, n: int) -> bool:
    try:
        sosfiltfilt(sections, np.zeros(n))
    except ValueError:
        return False
    return True
