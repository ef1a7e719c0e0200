# SPDX-License-Identifier: Apache-2.0
"""R peaks: exact beats of simulated ECGs, identities, and signals that hold no beat."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from ecglens import ECG, simulate_ecg
from ecglens.errors import UsageError
from ecglens.statistics.matching import Matches, count_matches, event_scores
from ecglens.waveform import rpeaks
from ecglens.waveform.rpeaks import METHODS, detect_r_peaks

CONDITIONS = ("NORM", "IMI", "CLBBB")


@lru_cache
def simulated(name="a", condition="NORM", fs=500.0, duration=10.0):
    return simulate_ecg(name, condition, fs=fs, duration=duration)


def scored(ecg: ECG, beats: np.ndarray, method="all_leads", tolerance=0.06) -> Matches:
    stop = ecg.start + ecg.duration
    # beats cut by an end of the recording have no whole QRS
    return count_matches(detect_r_peaks(ecg, method).times, beats, tolerance, start=ecg.start + 0.2, stop=stop - 0.2)


# ------------------------------------------------------------------------------------------------------------ the truth


# Pan and Tompkins' rules take the steep T waves of simulated left bundle branch block for beats.
@pytest.mark.parametrize(
    ("condition", "method"), [*((c, "all_leads") for c in CONDITIONS), *((c, "pan_tompkins") for c in CONDITIONS[:2])]
)
def test_every_simulated_beat_is_found_and_no_other(condition, method):
    for i in range(4):
        found = simulated(f"truth-{i}", condition)
        match = scored(found.ecg, found.beats, method, 0.08)
        assert (match.false_positives, match.false_negatives) == (0, 0), (condition, i)
        assert match.true_positives > 5


def test_heavy_noise_costs_few_beats():
    generator = np.random.default_rng(1)
    matches = []
    for i in range(12):
        found = simulated(f"noise-{i}", CONDITIONS[i % 3])
        noisy = found.ecg.signal + generator.normal(0, 0.05, found.ecg.signal.shape)
        matches.append(scored(replace(found.ecg, signal=noisy), found.beats, tolerance=0.15))
    table = event_scores(matches, list(range(12)), n_resamples=100).set_index("metric")
    assert table.loc["f1", "value"] > 0.99


@pytest.mark.parametrize("fs", [50, 100, 128, 250, 360, 1000, 4000])
def test_the_sampling_rate_hardly_matters(fs):
    fine = simulated("rate", fs=4000.0)
    times = np.arange(round(10 * fs)) / fs
    signal = np.stack([np.interp(times, fine.ecg.times, row) for row in smooth(fine.ecg.signal, fs)])
    ecg = ECG(signal, fs, fine.ecg.leads)
    match = scored(ecg, fine.beats)
    assert (match.false_positives, match.false_negatives) == (0, 0)
    assert np.abs(count_matches(detect_r_peaks(ecg).times, detect_r_peaks(fine.ecg).times).errors).max() < 1 / fs + 0.01


def smooth(signal, fs):
    return sosfiltfilt(butter(4, 0.4 * fs, fs=4000, output="sos"), signal) if fs < 4000 else signal


@pytest.mark.parametrize("duration", [2, 3, 120])
def test_short_and_long_recordings(duration):
    found = simulated("length", duration=float(duration))
    match = scored(found.ecg, found.beats)
    assert (match.false_positives, match.false_negatives) == (0, 0)


def test_beats_of_one_lead_are_found_in_each_lead():
    found = simulated("one")
    for name in ("I", "II", "V1", "V2", "V5"):
        match = scored(found.ecg.select([name]), found.beats, tolerance=0.08)
        assert (match.false_positives, match.false_negatives) == (0, 0), name


# ----------------------------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("method", METHODS)
def test_gain_and_polarity_do_not_matter(method):
    ecg = simulated("gain", "IMI").ecg
    expected = detect_r_peaks(ecg, method)
    for factor in (-1, 0.125, 64, -4):  # powers of two are exact in floating point
        found = detect_r_peaks(replace(ecg, signal=ecg.signal * factor), method)
        np.testing.assert_array_equal(found.samples, expected.samples)
        np.testing.assert_allclose(found.certainty, expected.certainty)
    flipped = ecg.signal * np.where(np.arange(12) % 2, -1, 1)[:, None]
    np.testing.assert_array_equal(detect_r_peaks(replace(ecg, signal=flipped)).samples, detect_r_peaks(ecg).samples)


def test_offsets_order_of_leads_and_start_do_not_matter():
    ecg = simulated("offset").ecg
    expected = detect_r_peaks(ecg)
    shifted = detect_r_peaks(replace(ecg, signal=ecg.signal + 2.0, start=100.0))
    np.testing.assert_allclose(shifted.samples, expected.samples, atol=1)
    np.testing.assert_allclose(shifted.times, 100 + shifted.samples / 500)
    backwards = detect_r_peaks(ecg.select(ecg.leads[::-1]))
    np.testing.assert_allclose(backwards.samples, expected.samples, atol=1)


def test_a_recording_in_pieces_gives_what_one_piece_gives(monkeypatch):
    ecg = simulated("pieces", duration=150.0).ecg
    pieces = detect_r_peaks(ecg)
    monkeypatch.setattr(rpeaks, "_PIECE", 10_000)
    whole = detect_r_peaks(ecg)
    np.testing.assert_allclose(pieces.samples, whole.samples, atol=1)
    np.testing.assert_allclose(pieces.certainty, whole.certainty, atol=1e-3)


def test_the_same_ecg_gives_the_same_beats_whatever_came_before():
    ecgs = [simulated(name, condition).ecg for name in "ab" for condition in CONDITIONS]
    forwards = [detect_r_peaks(ecg).samples for ecg in ecgs]
    backwards = [detect_r_peaks(ecg).samples for ecg in ecgs[::-1]][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------- difficult signals


@pytest.mark.parametrize("fault", ["noise", "flat", "missing", "bursts", "mains"])
def test_bad_leads_do_not_spoil_the_good_ones(fault):
    found, generator = simulated("bad"), np.random.default_rng(2)
    signal = np.array(found.ecg.signal)
    for row in (1, 6, 7):
        signal[row] = {
            "noise": generator.normal(0, 3, 5000),
            "flat": np.full(5000, 5.0),
            "missing": np.full(5000, np.nan),
            "bursts": signal[row] + 20 * ((np.arange(5000) + 200 * row) % 1700 < 15),  # not all at once
            "mains": signal[row] + 2 * np.sin(2 * np.pi * 50 * found.ecg.times),
        }[fault]
    # every beat is found; a burst of 20 mV beside a QRS does pull its centre
    match = scored(replace(found.ecg, signal=signal), found.beats, tolerance=0.15)
    assert (match.false_positives, match.false_negatives) == (0, 0)


def test_gaps_hold_no_beats_and_leave_the_rest_alone():
    found = simulated("gap")
    signal = np.array(found.ecg.signal)
    signal[:, 1500:3500] = np.nan
    beats = detect_r_peaks(replace(found.ecg, signal=signal))
    assert not ((beats.times > 3.0) & (beats.times < 7.0)).any()
    match = count_matches(beats.times, found.beats, 0.06, start=0.2, stop=9.8, left_out=[(2.8, 7.2)])
    assert (match.false_positives, match.false_negatives) == (0, 0)
    assert match.true_positives > 3


def test_a_fall_of_amplitude_is_followed():
    found = simulated("fall", duration=120.0)
    faint = found.ecg.signal * np.where(found.ecg.times < 60, 1.0, 0.2)
    match = scored(replace(found.ecg, signal=faint), found.beats)
    assert match.false_positives == 0
    assert match.false_negatives <= 1


def noises(n_leads, fs, duration, seed):
    generator = np.random.default_rng(seed)
    white = generator.normal(size=(n_leads, round(fs * duration)))
    times = np.arange(white.shape[1]) / fs
    drawn = {"white": white, "brown": np.cumsum(white, axis=1), "one for all": np.repeat(white[:1], n_leads, axis=0)}
    return drawn | {"mains": np.sin(2 * np.pi * 20 * times) + 0.01 * white}


@pytest.mark.parametrize("method", ["all_leads"])
@pytest.mark.parametrize(("fs", "duration"), [(500, 10), (100, 10), (500, 2), (250, 60)])
def test_noise_holds_no_beats(fs, duration, method):
    for n_leads in (1, 2, 12):
        names = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")[:n_leads]
        for seed in range(2):
            for kind, signal in noises(n_leads, fs, duration, seed).items():
                beats = detect_r_peaks(ECG(signal, fs, names), method)
                assert len(beats) == 0, (kind, n_leads, seed)
                assert "noise" in beats.reason or "stands out" in beats.reason


@pytest.mark.parametrize("method", METHODS)
def test_what_holds_no_beats_says_why(method):
    def reason(signal, fs=500):
        beats = detect_r_peaks(ECG(np.atleast_2d(signal), fs, ["II"]), method)
        assert len(beats) == beats.times.size == beats.certainty.size == 0
        return beats.reason

    assert reason(np.full(5000, 0.3)) == "flat"
    assert reason(np.full(5000, np.nan)) == "all samples are missing"
    assert reason(np.sin(np.arange(30)), 50) == "shorter than 1 s"
    assert reason(np.arange(5000) / 1000)


@pytest.mark.parametrize("method", METHODS)
def test_odd_signals_never_crash(method):
    generator = np.random.default_rng(3)
    for fs in (50, 51.3, 4000):
        for n in (1, 2, 7, 40, 60, 301):
            for kind in range(4):
                signal = generator.normal(size=(2, n))
                signal[generator.random(signal.shape) < (0, 0.1, 0.9, 0)[kind]] = np.nan
                signal = np.clip(signal, -0.2, 0.2) if kind == 3 else signal
                beats = detect_r_peaks(ECG(signal, fs, ["II", "V1"]), method)
                assert (np.diff(beats.samples) > 0).all()
                assert ((beats.samples >= 0) & (beats.samples < n)).all()
                assert ((beats.certainty >= 0) & (beats.certainty <= 1)).all()
                assert (beats.reason == "") == (len(beats) > 0)


def test_clipped_ecg_keeps_its_beats():
    found = simulated("clip")
    match = scored(replace(found.ecg, signal=found.ecg.signal.clip(-0.3, 0.3)), found.beats, tolerance=0.08)
    assert (match.false_positives, match.false_negatives) == (0, 0)


def test_tall_t_waves_are_not_beats():
    found = simulate_ecg("t-wave", "NORM", noise=None)
    tall = found.ecg.signal.astype(np.float64)
    for beat in found.beats:  # a T wave as tall as the QRS, and as broad as T waves are
        tall += np.exp(-0.5 * ((found.ecg.times - beat - 0.28) / 0.04) ** 2) * np.abs(tall).max()
    match = scored(replace(found.ecg, signal=tall), found.beats)
    assert (match.false_positives, match.false_negatives) == (0, 0)


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match="all_leads"):
        detect_r_peaks(simulated().ecg, "best")
