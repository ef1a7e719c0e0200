# SPDX-License-Identifier: Apache-2.0
"""Delineation: planted waves are found where they are, absences have reasons, and what cannot matter does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from ecglens import ECG, STANDARD_LEADS, delineate, map_segments, map_waves, simulate_cohort
from ecglens.errors import ContractError, FormatError, UnsafeError
from ecglens.fiducials import MARKS
from ecglens.models.unet1d import UNet1d
from ecglens.waveform import absences, delineate_cohort, wave_map
from ecglens.waveform.delineate import delineate_all
from ecglens.waveform.wave_weights import DELINEATOR, load_delineator

# Waves as Gaussians: centre and width in s from the beat, amplitude in mV in a lead of gain 1.
WAVES = {"P": ((-0.16, 0.020, 0.12),), "QRS": ((-0.025, 0.008, -0.1), (0, 0.011, 1.1), (0.028, 0.010, -0.25)),
         "T": ((0.27, 0.045, 0.3),)}  # fmt: skip
GAINS = np.array([0.8, 1.0, 0.4, -0.9, 0.3, 0.7, -0.5, -0.8, 0.6, 1.1, 1.0, 0.8])


def planted(rr=0.8, fs=500.0, duration=10.0, waves=WAVES, first=0.5, leads=STANDARD_LEADS, noise=0.004) -> ECG:
    """Return an ECG whose waves are known; `rr` one interval or several."""
    beats = first + np.concatenate([[0], np.cumsum(np.resize(np.atleast_1d(rr), 5000))])
    t = np.arange(round(duration * fs)) / fs
    one = np.zeros(t.size)
    for beat in beats[beats < duration + 1]:
        near = slice(*np.searchsorted(t, [beat - 0.6, beat + 0.8]))
        for parts in waves.values():
            for centre, width, amplitude in parts:
                one[near] += amplitude * np.exp(-0.5 * ((t[near] - beat - centre) / width) ** 2)
    gains = GAINS[[STANDARD_LEADS.index(name) for name in leads]]
    noisy = gains[:, None] * one + noise * np.random.default_rng(0).standard_normal((len(leads), t.size))
    return ECG(noisy, fs, leads, "planted")


@lru_cache
def usual() -> tuple[ECG, object]:
    ecg = planted()
    return ecg, delineate(ecg)


def inner(marks, lead, mark):
    """Return one mark of all beats but the first and the last."""
    return marks[lead, mark][1:-1]


# ------------------------------------------------------------------------------------------------------------ the truth


def test_planted_waves_are_found_where_they_are():
    _, marks = usual()
    beats = 0.5 + 0.8 * np.arange(marks.n_beats)
    assert marks.n_beats == 12
    for lead in ("I", "II", "V4", "V5"):
        for mark, at, tolerance in (("P_peak", -0.16, 0.015), ("R_peak", 0, 0.006), ("T_peak", 0.27, 0.02)):
            np.testing.assert_allclose(inner(marks, lead, mark), beats[1:-1] + at, atol=tolerance)
        # a Gaussian is over two to three widths from its centre
        for mark, at in (("P_onset", -0.21), ("P_offset", -0.11), ("QRS_onset", -0.045), ("QRS_offset", 0.055),
                         ("T_offset", 0.38)):  # fmt: skip
            assert np.abs(inner(marks, lead, mark) - beats[1:-1] - at).max() < 0.04, (lead, mark)
        assert not np.isnan(inner(marks, lead, "Q_peak")).any()
        np.testing.assert_allclose(inner(marks, lead, "S_peak"), beats[1:-1] + 0.03, atol=0.008)
    assert np.nanmin(marks.certainty) > 0.4


def test_a_lead_upside_down_has_q_where_others_have_r():
    _, marks = usual()
    np.testing.assert_allclose(inner(marks, "aVR", "P_peak"), inner(marks, "II", "P_peak"), atol=0.015)
    lowest = np.fmax(inner(marks, "aVR", "S_peak"), inner(marks, "aVR", "Q_peak"))
    np.testing.assert_allclose(lowest, inner(marks, "II", "R_peak"), atol=0.008)


def test_an_elevated_st_is_no_r_wave():
    waves = WAVES | {"QRS": ((0, 0.014, -1.2),), "ST": ((0.12, 0.06, 0.25),)}
    ecg = planted(waves=waves, leads=("II", "V4"))
    marks = delineate(ecg)
    assert np.isnan(inner(marks, "V4", "R_peak")).all()
    np.testing.assert_allclose(inner(marks, "V4", "Q_peak"), 0.5 + 0.8 * np.arange(1, 11), atol=0.008)


@pytest.mark.parametrize("rr", [0.55, 1.0, 1.4])
def test_fast_and_slow(rr):
    marks = delineate(planted(rr=rr))
    assert marks.n_beats == len(np.arange(0.5, 10, rr))
    assert not np.isnan(inner(marks, "II", "T_offset")).any()


# ---------------------------------------------------------------------------------------------- what should not matter


@pytest.mark.parametrize("fs", [100, 128, 250, 360, 1000])
def test_the_rate_hardly_matters(fs):
    _, marks = usual()
    other = delineate(planted(fs=float(fs)))
    assert other.n_beats == marks.n_beats
    for mark in ("P_onset", "QRS_onset", "QRS_offset", "T_offset"):
        difference = np.abs(inner(other, "II", mark) - inner(marks, "II", mark))
        assert np.median(difference) < 0.012, mark


def same(one, other, tolerance=1e-3):
    np.testing.assert_array_equal(np.isnan(one.times), np.isnan(other.times))
    np.testing.assert_allclose(one.times, other.times, atol=tolerance)


def test_offset_start_and_order_of_leads():
    ecg, marks = usual()
    same(delineate(replace(ecg, signal=ecg.signal + 3.0)), marks, 3e-3)
    later = delineate(replace(ecg, start=100.0))
    np.testing.assert_allclose(later.times - 100.0, marks.times, atol=1e-6)
    turned = delineate(ecg.select(ecg.leads[::-1]))
    np.testing.assert_allclose(turned.times[::-1], marks.times, atol=1e-6)
    assert turned.leads == ecg.leads[::-1]


def test_gain_and_polarity():
    ecg, marks = usual()
    for factor in (0.2, 5.0, -1.0):
        other = delineate(replace(ecg, signal=ecg.signal * factor))
        assert other.n_beats == marks.n_beats
        assert np.median(np.abs(inner(other, "II", "QRS_onset") - inner(marks, "II", "QRS_onset"))) < 0.02


@pytest.mark.parametrize("leads", [("II",), ("V1",), ("II", "V5"), ("I", "II", "III", "aVR", "aVL", "aVF")])
def test_few_leads_will_do(leads):
    marks = delineate(planted(leads=leads))
    assert marks.n_beats == 12
    assert np.isnan(inner(marks, leads[0], "QRS_onset")).sum() == 0
    assert np.isnan(inner(marks, leads[0], "T_offset")).sum() == 0


def test_a_lead_nobody_knows_and_one_that_is_like_another():
    ecg = planted(leads=("II", "V5"))
    marks = delineate(replace(ecg, leads=("II", "MLII")))
    assert marks.leads == ("II", "MLII")
    assert not np.isnan(inner(marks, "MLII", "QRS_onset")).any()


def test_batches_are_the_same_as_one_by_one():
    ecgs = [planted(rr=0.7), planted(rr=0.9, duration=6.0), planted(rr=1.1), planted(fs=250.0)]
    for together, alone in zip(delineate_all(ecgs), map(delineate, ecgs), strict=True):
        same(together, alone, 1e-4)


def test_windows_are_the_same_as_the_whole(monkeypatch):
    ecg = planted(rr=(0.7, 0.9, 1.0), duration=50.0, leads=("II", "V2"), fs=250.0)
    monkeypatch.setattr(wave_map, "_WINDOW", 1000.0)
    whole = map_waves(ecg).probability
    monkeypatch.setattr(wave_map, "_WINDOW", 9.0)
    np.testing.assert_allclose(map_waves(ecg).probability, whole, atol=2e-5)


def test_reach_is_what_an_answer_depends_on():
    network = UNet1d(widths=(4, 6, 8)).double().eval()
    signal = torch.zeros(1, 12, 1024, dtype=torch.double)
    with torch.inference_mode():
        before = network(signal)
        signal[0, :, 512] = 100.0
        moved = torch.nonzero((network(signal) - before).abs().amax(dim=(0, 1, 2)) > 1e-12).flatten()
    assert 512 - network.reach <= moved.min() <= moved.max() <= 512 + network.reach
    assert moved.max() - moved.min() > network.reach  # and not far more than is needed


# ------------------------------------------------------------------------------------------------- what is not there


def reasons(marks, wave):
    return {reason for (_, _, w), reason in marks.absent.items() if w == wave}


def test_fibrillation_has_no_p_and_says_so():
    waves = {name: parts for name, parts in WAVES.items() if name != "P"}
    marks = delineate(planted(rr=(0.55, 0.9, 0.7, 1.1, 0.62, 0.83), waves=waves))
    assert np.isnan(marks.times[:, :, MARKS.index("P_onset")]).mean() > 0.95
    assert absences.FIBRILLATION in reasons(marks, "P")


def test_a_p_that_few_beats_have_is_not_believed():
    waves = {name: parts for name, parts in WAVES.items() if name != "P"}
    ecg, with_p = planted(waves=waves), planted()
    signal = ecg.signal.copy()
    for first in (950, 2950):  # before the third beat (2.1 s) and the eighth (6.1 s)
        signal[:, first - 60 : first + 60] = with_p.signal[:, first - 60 : first + 60]
    marks = delineate(replace(ecg, signal=signal))
    assert np.isnan(marks.times[:, :, : MARKS.index("QRS_onset")]).all()
    assert absences.RARE in reasons(marks, "P")


def test_waves_beyond_the_edge_are_cut_off():
    marks = delineate(planted(first=0.08, duration=8.2))
    assert marks.absent["II", 0, "P"] == absences.CUT_OFF


@pytest.mark.parametrize("lost", [0.0, np.nan])
def test_a_lost_lead_has_no_waves_and_says_so(lost):
    ecg = planted()
    signal = ecg.signal.copy()
    signal[ecg.leads.index("V3")] = lost
    marks = delineate(replace(ecg, signal=signal))
    assert np.isnan(marks.times[ecg.leads.index("V3")]).all()
    assert marks.absent["V3", 5, "QRS"] == absences.LOST
    assert not np.isnan(inner(marks, "V4", "QRS_onset")).any()


def test_a_gap_holds_no_marks():
    ecg = planted()
    signal = ecg.signal.copy()
    signal[:, 2000:3000] = np.nan  # 4 to 6 s
    marks = delineate(replace(ecg, signal=signal))
    found = marks.times[~np.isnan(marks.times)]
    assert not ((found > 4.05) & (found < 5.95)).any()
    assert (found < 4).any()
    assert (found > 6).any()


def bad_signals(n, t):
    rng = np.random.default_rng(3)
    return {
        "noise": rng.standard_normal((2, n)), "flat": np.zeros((2, n)), "missing": np.full((2, n), np.nan),
        "hum": np.sin(2 * np.pi * 50 * t) * np.ones((2, 1)),
        "clipped noise": np.clip(rng.standard_normal((2, n)), -0.2, 0.2),
        "drift": np.linspace(-5, 5, n) * np.ones((2, 1)),
    }  # fmt: skip


@pytest.mark.parametrize("fs", [50.0, 257.3, 500.0, 4000.0])
@pytest.mark.parametrize("duration", [0.1, 1.0, 8.0])
def test_no_beat_is_invented_and_nothing_breaks(fs, duration):
    n = max(round(fs * duration), 1)
    for name, signal in bad_signals(n, np.arange(n) / fs).items():
        marks = delineate(ECG(signal, fs, ("II", "V2"), name))
        assert marks.n_beats == 0, name
        assert set(marks.absent) == {(lead, None, wave) for lead in ("II", "V2") for wave in ("P", "QRS", "T")}


@pytest.mark.parametrize("fs", [50.0, 333.0, 4000.0])
def test_odd_rates_and_one_second(fs):
    assert delineate(planted(fs=fs)).n_beats >= 11
    assert delineate(planted(fs=fs, duration=1.0)).n_beats <= 2


def test_a_spike_before_the_beat_is_a_reason():
    waves = {name: parts for name, parts in WAVES.items() if name != "P"}
    ecg = planted(waves=waves)
    signal = ecg.signal.copy()
    for beat in 0.5 + 0.8 * np.arange(12):
        at = round((beat - 0.07) * 500)
        signal[:, at : at + 2] += 1.5
    marks = delineate(replace(ecg, signal=signal))
    assert absences.PACED in reasons(marks, "P")


# ---------------------------------------------------------------------------------------------------------- the weights


def test_altered_weights_are_refused(tmp_path):
    folder = shutil.copytree(DELINEATOR, tmp_path / "delineator")
    raw = bytearray((folder / "weights.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(raw)
    with pytest.raises(UnsafeError, match="SHA-256"):
        load_delineator(folder)


def test_a_bundle_is_no_delineator():
    with pytest.raises(FormatError, match="a delineator of schema 1"):
        load_delineator(DELINEATOR.parent / "pretrained")


def test_fused_layers_are_the_same_function():
    network = load_delineator()
    signal = torch.randn(1, 12, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(wave_map.fused(network)(signal), network(signal), atol=2e-4, rtol=1e-3)


# ------------------------------------------------------------------------------------------------------------ segments


def test_segments_add_up_and_lie_where_the_waves_are():
    ecg, marks = usual()
    soft = map_segments(ecg, 100.0)
    assert soft.shape == (12, 1000, 24)
    np.testing.assert_allclose(soft.sum(axis=-1), 1.0, atol=1e-5)
    at = np.rint(100 * (inner(marks, "II", "T_peak") - 0.04)).astype(int)
    assert (soft[ecg.leads.index("II"), at].argmax(axis=-1) == 19).all()  # T_rise


# -------------------------------------------------------------------------------------------------------- whole cohorts


def test_an_interrupted_cohort_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(delineate_cohort, "BLOCK", 2)
    cohort = simulate_cohort(5)

    def interrupt(stage, done, total, note):
        if done == 4:
            raise KeyboardInterrupt

    whole = delineate_cohort.delineate_cohort(cohort, tmp_path / "whole", soft=True)
    with pytest.raises(KeyboardInterrupt):
        delineate_cohort.delineate_cohort(cohort, tmp_path / "parts", soft=True, progress=interrupt)
    parts = delineate_cohort.delineate_cohort(cohort, tmp_path / "parts", soft=True, resume=True)
    assert parts.records.equals(whole.records)
    for name in ("tables/marks.csv", "tables/records.csv", "arrays/segments.npy"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    held = np.load(tmp_path / "whole" / "arrays" / "segments.npy", mmap_mode="r")
    assert held.shape == (5, 12, 1000, 24)
    assert 250 <= held.sum(axis=-1, dtype=int).min() <= held.sum(axis=-1, dtype=int).max() <= 260
    again = delineate_cohort.delineate_cohort(cohort, tmp_path / "whole", soft=True, resume=True)
    assert again.n_beats == whole.n_beats > 30
    with pytest.raises(ContractError, match="soft"):
        delineate_cohort.delineate_cohort(cohort, tmp_path / "whole", resume=True)


def test_a_longer_record_is_left_out_and_listed(tmp_path):
    ecgs = [planted(), planted(duration=12.0), planted(duration=7.0)]
    cohort = simulate_cohort(3)
    cohort = replace(cohort, records=ecgs, fiducials=None, evidence=None)
    done = delineate_cohort.delineate_cohort(cohort, tmp_path / "run", soft=True)
    assert done.records["n_beats"].tolist()[1] == 0
    assert len(done.left_out) == 1
    assert "up to 10 s" in done.left_out[0]
    held = np.load(tmp_path / "run" / "arrays" / "segments.npy", mmap_mode="r")
    assert not held[1].any()
    assert not held[2, :, 700:].any()
