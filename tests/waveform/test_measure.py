# SPDX-License-Identifier: Apache-2.0
"""Measurements: beats drawn with known ends and sizes, identities, and signals that cannot be measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from planted import USUAL, chest, exact_marks, half_sines, planted

from ecglens import ECG, Fiducials
from ecglens.errors import UsageError
from ecglens.fiducials import MARKS
from ecglens.leads import STANDARD_LEADS
from ecglens.waveform.beats import MOST_BEATS, agreed, median
from ecglens.waveform.deflections import deflections
from ecglens.waveform.measure import measure
from ecglens.waveform.measurements import LEAD, WHOLE

GENERATOR = np.random.default_rng(3)


def value(found, *key):
    out = found[key if len(key) > 1 else key[0]].value
    assert out is not None, (key, found[key if len(key) > 1 else key[0]].reason)
    return out


# -------------------------------------------------------------------------------------------------------- planted truth


def test_intervals_are_those_that_were_drawn():
    found = measure(*planted())
    assert value(found, "heart_rate_bpm") == pytest.approx(75, abs=0.1)
    assert value(found, "rr_ms") == pytest.approx(800, abs=0.5)
    assert value(found, "p_ms") == pytest.approx(100, abs=1)
    assert value(found, "pr_ms") == pytest.approx(160, abs=1)
    assert value(found, "qrs_ms") == pytest.approx(100, abs=1)
    assert value(found, "qt_ms") == pytest.approx(400, abs=1)
    assert found.beats.used.all()
    assert all(v.n_beats == 12 for v in found.whole.values())


def test_corrected_qt_by_hand():
    # QT 400 ms; RR 0.8 s: the square root is 0.894427, the cube root 0.928318
    found = measure(*planted())
    assert value(found, "qtc_bazett_ms") == pytest.approx(400 / 0.894427, abs=1.2)
    assert value(found, "qtc_fridericia_ms") == pytest.approx(400 / 0.928318, abs=1.2)
    slow = measure(*planted(tuple(0.5 + 1.0 * np.arange(9))))
    assert value(slow, "qtc_bazett_ms") == pytest.approx(value(slow, "qt_ms"), abs=0.2)  # at 60 per minute both are QT


@pytest.mark.parametrize("lead", STANDARD_LEADS)
def test_waves_of_each_lead(lead):
    ecg, marks = planted(one=0.8, foot=0.5)
    found = measure(ecg, marks)
    size = {"I": 0.8, "II": 0.9, "III": 0.1, "aVR": -0.85, "aVL": 0.35, "aVF": 0.5}
    scale = size.get(lead) or 0.5 + 0.1 * int(lead[1])
    assert value(found, "p_mv", lead) == pytest.approx(0.15 * scale, rel=0.02, abs=0.002)
    assert value(found, "t_mv", lead) == pytest.approx(0.35 * scale, rel=0.02, abs=0.002)
    if scale > 0:
        for name, at in (("q", -0.10), ("r", 1.20), ("s", -0.30)):
            if abs(at * scale) > 0.021:
                assert value(found, f"{name}_mv", lead) == pytest.approx(at * scale, rel=0.02)
        if lead != "III":
            assert value(found, "q_ms", lead) == pytest.approx(30, abs=1.5)
            assert value(found, "s_ms", lead) == pytest.approx(30, abs=1.5)
        assert value(found, "r_ms", lead) == pytest.approx(40, abs=2.5)
    else:  # upside down: R' is what was S
        assert value(found, "r_mv", lead) == pytest.approx(0.085, rel=0.03)
        assert value(found, "s_mv", lead) == pytest.approx(-1.02, rel=0.02)
        assert value(found, "r2_mv", lead) == pytest.approx(0.255, rel=0.02)
        assert found["q_mv", lead].status == "none"


@pytest.mark.parametrize("st", [0.25, -0.15])
def test_st_level_at_j_and_later(st):
    found = measure(*planted(st=st))
    for lead, scale in (("I", 0.8), ("V3", 0.8), ("aVR", -0.85)):
        assert value(found, "st_60_mv", lead) == pytest.approx(st * scale, abs=0.004)
    assert abs(value(measure(*planted()), "st_60_mv", "V3")) < 0.004
    assert found["r2_mv", "V3"].status == "none"  # the raised J point is no second R


@pytest.mark.parametrize("angle", range(-170, 181, 35))
def test_axes_are_those_that_were_drawn(angle):
    # aVF shows a vector sqrt(3)/2 as large as lead I does
    one, foot = np.cos(np.radians(angle)), np.sin(np.radians(angle)) * np.sqrt(3) / 2
    ecg, marks = planted(one=one, foot=foot)
    found = measure(ecg, marks)
    for name in ("p_axis_deg", "qrs_axis_deg", "t_axis_deg"):
        assert (value(found, name) - angle + 180) % 360 - 180 == pytest.approx(0, abs=0.5), name
    for pair in (("II", "III"), ("aVR", "aVL"), ("I", "aVF")):  # any two limb leads determine the frontal plane
        two = measure(ecg.select(pair), exact_marks(marks.times[0, :, MARKS.index("QRS_onset")], pair))
        assert value(two, "qrs_axis_deg") == pytest.approx(value(found, "qrs_axis_deg"), abs=0.5)


# ----------------------------------------------------------------------------------------------------------- identities


def all_values(found):
    row = {k: v for k, v in found.as_row().items() if v is not None and not k.endswith("_se")}
    assert len(row) > 150
    return row


def test_gain_scales_amplitudes_and_nothing_else():
    ecg, marks = planted(st=0.1)
    plain, doubled = all_values(measure(ecg, marks)), all_values(measure(replace(ecg, signal=2 * ecg.signal), marks))
    for name, old in plain.items():
        factor = 2 if name.endswith("_mv") else 1
        if not name.endswith("force_mvms") and not name.startswith("III_"):  # its Q passes the 0.02 mV only doubled
            assert doubled[name] == pytest.approx(factor * old, rel=0.002, abs=0.3 if factor == 1 else 0.001), name


def test_offset_and_wander_change_little():
    ecg, marks = planted()
    plain = all_values(measure(ecg, marks))
    slow = 0.3 * np.sin(2 * np.pi * 0.15 * ecg.times)[None, :] + np.linspace(-0.5, 0.5, 12)[:, None]
    moved = all_values(measure(replace(ecg, signal=ecg.signal + slow), marks))
    for name, old in plain.items():
        if not name.startswith("III_"):
            least = 0.02 if name.endswith("_mv") else 3.0 if name.endswith("_ms") else 4.0
            assert moved[name] == pytest.approx(old, abs=least), name


@pytest.mark.parametrize("fs", [100, 125, 250, 360, 1000, 4000])
def test_the_sampling_rate_hardly_matters(fs):
    usual, other = measure(*planted()), measure(*planted(fs=fs))
    for name in WHOLE:
        assert value(other, name) == pytest.approx(value(usual, name), abs=3 if fs > 100 else 6), name
    for name in ("r_mv", "t_mv", "s_mv"):
        # at 100 Hz a wave of 40 ms is four samples
        assert value(other, name, "V4") == pytest.approx(value(usual, name, "V4"), rel=0.03 if fs > 125 else 0.12)


def test_the_clock_does_not_matter():
    ecg, marks = planted()
    later = Fiducials(marks.times + 3600.0, marks.leads, marks.method)
    there = measure(replace(ecg, start=3600.0), later)
    assert all_values(there) == pytest.approx(all_values(measure(ecg, marks)), abs=1e-3)


def test_leads_are_measured_by_name():
    ecg, marks = planted()
    order = tuple(reversed(STANDARD_LEADS))
    turned = measure(ecg.select(order), marks)
    assert list(turned.leads) == list(order)
    assert value(turned, "r_mv", "V2") == pytest.approx(0.7 * 1.2, rel=0.02)


def test_a_mark_moved_inwards_moves_its_interval_and_one_in_the_flat_does_not():
    ecg, marks = planted()
    plain = measure(ecg, marks)
    moves = (("P_onset", "pr_ms", 1), ("QRS_offset", "qrs_ms", -1), ("T_offset", "qt_ms", -1))
    for mark, name, inwards in moves:
        for sign in (1, -1):
            times = marks.times.copy()
            times[:, :, MARKS.index(mark)] += 0.012 * sign
            change = value(measure(ecg, Fiducials(times, marks.leads, "moved")), name) - value(plain, name)
            if (sign == inwards and name == "pr_ms") or sign == inwards == -1:
                assert change == pytest.approx(-12, abs=2.5), mark
            elif name == "qt_ms":
                assert change == pytest.approx(12, abs=0.5)  # T ends where it is marked
            else:
                assert 0 <= change < 7, mark  # nothing moves there: the mark was too generous


# ---------------------------------------------------------------------------------------------------------- which beats


BROAD = {"R": (0.0, 0.16, -1.8), "S": (0.16, 0.17, 0.0), "T": (0.24, 0.42, 0.6)}


def test_odd_and_early_beats_are_left_out_and_counted():
    onsets = np.array([0.5, 1.3, 2.1, 2.5, 3.7, 4.5, 5.3, 5.7, 6.6, 7.4, 8.2])
    found = measure(*planted(tuple(onsets), shapes={3: BROAD}))
    assert [found.beats.why_not[k] for k in (3, 7)] == ["odd QRS", "early"]
    assert found.beats.used.sum() == 9
    assert value(found, "r_mv", "V5") == pytest.approx(1.2, rel=0.02)
    told = found.as_dict()["beats"]
    assert (told["found"], told["used"], len(told["left_out"])) == (11, 9, 2)


def test_in_an_irregular_rhythm_no_beat_is_early():
    steps = np.tile([0.5, 0.9, 0.55, 1.0], 3)[:11]
    found = measure(*planted(tuple(0.3 + np.concatenate([[0], np.cumsum(steps)]))))
    assert found.beats.used.all()


def test_the_shape_of_most_beats_counts_wherever_they_stand():
    found = measure(*planted(shapes=dict.fromkeys((0, 1, 2, 3), BROAD)))
    assert [not reason for reason in found.beats.why_not] == [False] * 4 + [True] * 8


def test_jitter_of_the_marks_of_r_is_undone():
    ecg, marks = planted()
    times = marks.times.copy()
    times[:, :, MARKS.index("R_peak")] += GENERATOR.uniform(-0.015, 0.015, times.shape[1])[None, :]
    jittered = measure(ecg, Fiducials(times, marks.leads, "jittered"))
    assert value(jittered, "r_mv", "V5") == pytest.approx(1.2, rel=0.02)
    assert value(jittered, "rr_sd_ms") < 2.0


def test_a_long_recording_uses_some_beats_and_says_so():
    onsets = tuple(0.5 + 0.6 * np.arange(400))
    found = measure(*planted(onsets, duration=241.0, fs=100))
    assert found.beats.used.sum() == MOST_BEATS
    assert found.beats.times.size == 400
    assert value(found, "heart_rate_bpm") == pytest.approx(100, abs=0.1)


# --------------------------------------------------------------------------------------------------------- uncertainty


def test_the_standard_error_is_about_that_of_a_median():
    # Standard error of the median of n draws: 1.2533 sigma / sqrt(n)
    ecg, marks = planted()
    errors, values = [], []
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(0, 0.03, ecg.signal.shape)
        found = measure(replace(ecg, signal=ecg.signal + noise), marks)
        errors += [found["st_60_mv", lead].uncertainty for lead in ("V1", "V3", "V5")]
        values += [value(found, "st_60_mv", lead) for lead in ("V1", "V3", "V5")]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.3)


def test_one_beat_has_no_standard_error_and_no_rate():
    found = measure(*planted((0.6,), duration=2.0))
    assert value(found, "qrs_ms") == pytest.approx(100, abs=1)
    assert found["qrs_ms"].uncertainty is None
    assert found["qrs_ms"].n_beats == 1
    assert found["heart_rate_bpm"].reason == "no two beats follow each other"
    assert found["qtc_bazett_ms"].value is None


# ------------------------------------------------------------------------------------------------- what is not measured


def without(marks, wave, reason):
    times = marks.times.copy()
    times[:, :, [k for k, mark in enumerate(MARKS) if mark.startswith(wave)]] = np.nan
    return Fiducials(times, marks.leads, "planted", absent={(lead, None, wave): reason for lead in marks.leads})


def test_what_is_not_marked_is_absent_with_the_markers_reason():
    ecg, marks = planted()
    found = measure(ecg, without(marks, "P", "atrial fibrillation"))
    for name in ("p_ms", "pr_ms", "p_axis_deg", "p_terminal_force_mvms"):
        assert (found[name].value, found[name].reason) == (None, "atrial fibrillation")
    assert found["p_mv", "V1"].reason == "atrial fibrillation"
    assert value(found, "qt_ms") == pytest.approx(400, abs=1)
    assert measure(ecg, without(marks, "T", "flat"))["qtc_fridericia_ms"].reason == "flat"


def test_p_waves_that_go_their_own_way_give_no_pr():
    ecg, marks = planted()
    times = marks.times.copy()
    times[:, :, :3] -= np.linspace(0, 0.2, times.shape[1])[None, :, None]
    found = measure(ecg, Fiducials(times, marks.leads, "dissociated"))
    assert found["pr_ms"].reason.startswith("P waves are not linked with QRS")
    assert found["p_mv", "II"].value is None


def test_short_or_unsteady_marks_of_p_are_no_p():
    ecg, marks = planted()
    short = marks.times.copy()
    short[:, :, :2] += np.array([0.06, 0.03])
    found = measure(ecg, Fiducials(short, marks.leads, "short"))
    assert "too short" in found["pr_ms"].reason
    assert found["p_mv", "II"].value is None
    loose = marks.times.copy()
    loose[:, :, 0] -= np.random.default_rng(0).uniform(0, 0.1, loose.shape[1])[None, :]
    assert "P" in measure(ecg, Fiducials(loose, marks.leads, "loose"))["pr_ms"].reason


def test_flat_missing_and_clipped_leads_say_so():
    ecg, marks = planted()
    signal = ecg.signal.copy()
    signal[6], signal[7] = 0.0, np.nan
    signal[8] = signal[8].clip(max=0.5)
    found = measure(replace(ecg, signal=signal), marks)
    assert "noise" in found["r_mv", "V1"].reason
    assert found["r_mv", "V2"].reason == "all samples are missing"
    assert found["r_mv", "V3"].reason == "clipped at 0.50 mV"
    assert value(found, "r_mv", "V4") == pytest.approx(0.9 * 1.2, rel=0.02)


def test_a_gap_takes_its_beats_and_the_interval_across_it():
    ecg, marks = planted()
    signal = ecg.signal.copy()
    signal[:, 1800:2300] = np.nan  # 3.6 to 4.6 s
    onsets = [onset for onset in 0.5 + 0.8 * np.arange(12) if not 3.3 < onset < 4.7]
    found = measure(replace(ecg, signal=signal), exact_marks(onsets))
    assert value(found, "rr_ms") == pytest.approx(800, abs=1)
    half = measure(replace(ecg, signal=signal), marks)
    assert "cut off or in a gap" in half.beats.why_not
    assert value(half, "r_mv", "V5") == pytest.approx(1.2, rel=0.02)


def test_leads_without_marks_and_marks_without_leads():
    ecg, _ = planted()
    few = measure(ecg, exact_marks(0.5 + 0.8 * np.arange(12), ("II", "V5")))
    assert few["r_mv", "V1"].reason == "this lead is not marked"
    assert few["qrs_axis_deg"].reason == "two limb leads are needed"
    none = measure(ecg.select(["V1"]), exact_marks([0.5, 1.3], ("II",)))
    assert none["qrs_ms"].reason == "none of the leads is marked"


def test_marks_of_r_alone_give_the_rate_alone():
    ecg, marks = planted()
    times = np.full_like(marks.times, np.nan)
    times[:, :, MARKS.index("R_peak")] = marks.times[:, :, MARKS.index("R_peak")]
    absent = {(lead, None, wave): "not looked for" for lead in marks.leads for wave in ("P", "T")}
    found = measure(ecg, Fiducials(times, marks.leads, "R only", absent=absent))
    assert value(found, "heart_rate_bpm") == pytest.approx(75, abs=0.1)
    assert found["qrs_ms"].reason == "the onset of QRS is not marked"


def test_an_axis_of_noise_is_none():
    ecg, marks = planted(one=0.004, foot=0.003)
    noisy = ecg.signal + np.random.default_rng(0).normal(0, 0.05, ecg.signal.shape)
    assert "too small" in measure(replace(ecg, signal=noisy), marks)["qrs_axis_deg"].reason


SIGNALS = {
    "flat": lambda n: np.zeros((12, n)),
    "noise": lambda n: GENERATOR.normal(0, 0.2, (12, n)),
    "clipped": lambda n: np.clip(GENERATOR.normal(0, 5, (12, n)), -1, 1),
    "all gaps": lambda n: np.full((12, n), np.nan),
    "every other sample": lambda n: np.where(np.arange(n) % 2, 0.1, np.nan) * np.ones((12, 1)),
    "huge": lambda n: GENERATOR.normal(0, 1e30, (12, n)),
}


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("fs", [50, 500, 4000])
@pytest.mark.parametrize("duration", [1.0, 6.0])
def test_marks_on_what_is_no_ecg_never_crash(kind, fs, duration):
    ecg = ECG(SIGNALS[kind](round(fs * duration)), fs, STANDARD_LEADS)
    onsets = np.arange(0.1, duration, 0.7)
    found = measure(ecg, exact_marks(onsets))
    told = json.dumps(found.as_dict(), allow_nan=False)
    assert "Infinity" not in told
    for one in (*found.whole.values(), *(v for table in found.leads.values() for v in table.values())):
        assert (one.value is None) == bool(one.reason)
        assert one.status in ("measured", "unknown", "none")
    if kind in ("flat", "all gaps"):
        assert all(v.value is None for table in found.leads.values() for n, v in table.items() if n.endswith("r_mv"))


# ---------------------------------------------------------------------------------------------------------- small parts


def drawn(**parts):
    times = np.arange(0, 0.2, 0.001)
    return deflections(half_sines(times, parts), 1000.0, 0.02, 0.14, 0.0)


def test_complexes_are_named_as_on_the_ward():
    assert list(drawn(a=(0.02, 0.14, -1.0))) == ["qs"]
    assert list(drawn(a=(0.02, 0.06, 0.4), b=(0.06, 0.10, -0.5), c=(0.10, 0.14, 0.9))) == ["r", "s", "r2"]
    assert list(drawn(a=(0.02, 0.05, -0.1), b=(0.05, 0.14, 1.0))) == ["q", "r"]
    assert list(drawn(a=(0.02, 0.14, 0.015))) == []  # below 0.02 mV
    notch = drawn(a=(0.02, 0.08, 1.0), b=(0.08, 0.084, -0.03), c=(0.084, 0.14, 0.8))
    assert list(notch) == ["r"]  # shorter than 6 ms: no S, and the two halves are one R
    assert notch["r"].ms == pytest.approx(120, abs=1.5)
    assert notch["r"].mv == pytest.approx(1.0, abs=0.001)


def test_noise_hides_small_deflections():
    times = np.arange(0, 0.2, 0.001)
    values = half_sines(times, {"a": (0.02, 0.05, -0.05), "b": (0.05, 0.14, 1.0)})
    assert list(deflections(values, 1000.0, 0.02, 0.14, 0.001)) == ["q", "r"]
    assert list(deflections(values, 1000.0, 0.02, 0.14, 0.02)) == ["r"]


def test_agreed_is_the_earliest_that_three_others_confirm():
    for _ in range(50):
        marks = GENERATOR.uniform(0, 0.1, 12)
        ordered = sorted(marks)
        expected = next((m for k, m in enumerate(ordered[:9]) if ordered[k + 3] - m <= 0.01), np.median(marks))
        assert agreed(marks, 0.01) == pytest.approx(expected)
        assert agreed(marks, 0.01, latest=True) == pytest.approx(-agreed(-marks, 0.01))
    assert agreed(np.array([0.3, 0.1]), 0.01) == 0.1
    assert np.isnan(agreed(np.array([np.nan, np.nan]), 0.01))


def test_median_is_that_of_numpy_without_its_warning():
    values = GENERATOR.normal(size=(9, 40))
    assert np.array_equal(median(values), np.median(values, axis=0))
    values[GENERATOR.random(values.shape) < 0.4] = np.nan
    values[:, 3] = np.nan
    usable = np.isfinite(values).any(axis=0)
    assert np.allclose(median(values)[usable], np.nanmedian(values[:, usable], axis=0))
    assert np.isnan(median(values)[3])


def test_names_that_are_not_measured_are_refused():
    found = measure(*planted())
    for key in ("qrs", ("qrs_ms", "V9"), ("pr_ms", "V1")):
        with pytest.raises(UsageError):
            found[key]


def test_every_name_is_there_and_carries_its_unit():
    found = measure(*planted())
    assert tuple(found.whole) == tuple(WHOLE)
    assert all(tuple(table) == tuple(LEAD) for table in found.leads.values())
    assert {v.unit for v in found.whole.values()} == {"1/min", "ms", "deg", "mV ms"}
    assert str(found["qrs_ms"]).endswith(" ms")
    assert chest()["V6"]["R"][2] == pytest.approx(1.1 * USUAL["R"][2])
