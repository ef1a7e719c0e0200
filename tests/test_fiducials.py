# SPDX-License-Identifier: Apache-2.0
"""The promises of Fiducials: absent is absent with a reason, in order, checked at birth, frozen."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from ecglens.ecg import ECG
from ecglens.errors import SignalError, UsageError
from ecglens.fiducials import MARKS, WAVES, Fiducials

BEAT = [0.80, 0.84, 0.90, 0.95, 0.96, 1.00, 1.03, 1.05, 1.20, 1.28, 1.36]


def beats(n_leads=2, n_beats=3) -> np.ndarray:
    return np.array(BEAT)[None, None] + np.arange(n_beats)[None, :, None] + np.zeros((n_leads, 1, 1))


def test_every_mark_belongs_to_one_wave_in_order():
    assert tuple(mark for wave in WAVES.values() for mark in wave) == MARKS


def test_marks_by_name():
    marks = Fiducials(beats(), ("II", "C2"), "by hand")
    assert marks.n_beats == 3
    assert marks["V2", "R_peak"].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(SignalError, match="no V9"):
        marks["V9", "R_peak"]
    with pytest.raises(UsageError, match="U_peak"):
        marks["II", "U_peak"]


@pytest.mark.parametrize("wave", list(WAVES))
def test_an_absent_wave_needs_a_reason(wave):
    times = beats()
    times[1, 2, [MARKS.index(mark) for mark in WAVES[wave]]] = np.nan
    with pytest.raises(SignalError, match=f"lead V2, beat 2: found no {wave} and no reason"):
        Fiducials(times, ("II", "V2"), "by hand")
    marks = Fiducials(times, ("II", "V2"), "by hand", absent={("V2", 2, wave): "flutter"})
    assert marks.absent["V2", 2, wave] == "flutter"
    assert np.isnan(marks["V2", WAVES[wave][0]][2])  # and never 0


def test_a_single_missing_mark_needs_none():
    times = beats()
    times[:, :, MARKS.index("Q_peak")] = np.nan  # QS, or no q: the QRS itself is there
    assert np.isnan(Fiducials(times, ("II", "V2"), "m")["II", "Q_peak"]).all()


@pytest.mark.parametrize(("first", "second"), [("P_onset", "P_peak"), ("R_peak", "S_peak"), ("P_offset", "T_onset")])
def test_marks_out_of_order_are_refused(first, second):
    times = beats()
    i, j = MARKS.index(first), MARKS.index(second)
    times[0, 1, [i, j]] = times[0, 1, [j, i]]
    with pytest.raises(SignalError, match="lead II, beat 1: found marks out of order"):
        Fiducials(times, ("II", "V2"), "m")


def test_order_is_checked_across_absent_marks():
    times = beats(1, 1)
    times[0, 0, MARKS.index("P_peak")] = np.nan
    times[0, 0, MARKS.index("P_offset")] = 0.7
    with pytest.raises(SignalError, match="out of order"):
        Fiducials(times, ("II",), "m")


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, len(MARKS)), (2, 3, len(MARKS) - 1)])
def test_shape_is_checked(shape):
    with pytest.raises(SignalError, match="shape"):
        Fiducials(np.zeros(shape), ("II", "V2"), "m")


def test_infinite_marks_and_doubled_leads_are_refused():
    times = beats()
    times[0, 2, -1] = np.inf
    with pytest.raises(SignalError, match="infinite"):
        Fiducials(times, ("II", "V2"), "m")
    with pytest.raises(SignalError, match="more than once"):
        Fiducials(beats(), ("V2", "C2"), "m")


def test_certainty_has_the_shape_of_the_marks_and_lies_in_0_to_1():
    certainty = np.full(beats().shape, 0.5)
    marks = Fiducials(beats(), ("II", "V2"), "m", certainty)
    with pytest.raises(ValueError, match="read-only"):
        marks.certainty[0, 0, 0] = 1.0
    with pytest.raises(SignalError, match="certainty: found shape"):
        Fiducials(beats(), ("II", "V2"), "m", certainty[:1])
    with pytest.raises(SignalError, match=r"outside 0\.\.1"):
        Fiducials(beats(), ("II", "V2"), "m", certainty * 3)


def test_frozen_and_copied():
    times = beats()
    marks = Fiducials(times, ("II", "V2"), "m")
    times[:] = 0.0
    assert marks["II", "R_peak"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        marks["II", "R_peak"][0] = 0.0
    with pytest.raises(TypeError):
        marks.absent["II", 0, "P"] = "x"
    with pytest.raises(FrozenInstanceError):
        marks.method = "x"


def test_no_beats_is_no_error():
    assert Fiducials(np.zeros((1, 0, len(MARKS))), ("II",), "m").n_beats == 0


def test_survives_pickling():
    times = beats()
    times[0, 0, :3] = np.nan
    marks = Fiducials(times, ("II", "V2"), "m", np.ones(times.shape), absent={("II", 0, "P"): "AF"})
    again = pickle.loads(pickle.dumps(marks))
    np.testing.assert_array_equal(again.times, marks.times)
    np.testing.assert_array_equal(again.certainty, marks.certainty)
    assert (again.leads, again.method, dict(again.absent)) == (marks.leads, marks.method, dict(marks.absent))


def test_one_reason_for_all_beats():
    times = beats()
    times[1, :, :3] = np.nan
    marks = Fiducials(times, ("II", "V2"), "m", absent={("V2", None, "P"): "flutter"})
    assert dict(marks.absent) == {("V2", None, "P"): "flutter"}
    times[0, 1, :3] = np.nan
    with pytest.raises(SignalError, match="lead II, beat 1: found no P"):
        Fiducials(times, ("II", "V2"), "m", absent={("V2", None, "P"): "flutter"})


def test_beat_labels_and_rhythms():
    rhythms = ((0.0, 1.5, "N"), (1.5, 3.0, "AFIB"))
    marks = Fiducials(beats(), ("II", "V2"), "m", beat_labels=["N", "V", "N"], rhythms=rhythms)
    again = pickle.loads(pickle.dumps(marks))
    assert (again.beat_labels, again.rhythms) == (("N", "V", "N"), rhythms)
    with pytest.raises(SignalError, match="beat_labels"):
        Fiducials(beats(), ("II", "V2"), "m", beat_labels=("N",))
    for wrong in (((1.0, 0.0, "N"),), ((0.0, 2.0, "N"), (1.0, 3.0, "AFIB")), ((0.0, np.nan, "N"),)):
        with pytest.raises(SignalError, match="rhythms"):
            Fiducials(beats(), ("II", "V2"), "m", rhythms=wrong)


# ---------------------------------------------------------------------------------------------------------- stretches


def test_a_stretch_holds_the_beats_whose_qrs_lies_in_it():
    marks = Fiducials(
        beats(), ("II", "V2"), "m", beat_labels=("N", "V", "A"), rhythms=((0, 1.5, "N"), (1.5, 9, "AFIB"))
    )
    part = marks.crop(1.5, 2.5)
    assert (part.n_beats, part.beat_labels, part.method) == (1, ("V",), "m")
    np.testing.assert_array_equal(part.times, marks.times[:, 1:2])
    assert part.rhythms == ((1.5, 2.5, "AFIB"),)
    assert marks.crop(0.5, 1.6).rhythms == ((0.5, 1.5, "N"), (1.5, 1.6, "AFIB"))
    assert marks.crop(10, 20).n_beats == 0
    np.testing.assert_array_equal(marks.crop(-np.inf, np.inf).times, marks.times)


def test_marks_outside_the_stretch_are_absent_with_that_reason():
    part = Fiducials(beats(), ("II", "V2"), "m", certainty=np.full((2, 3, 11), 0.5)).crop(1.96, 2.3)
    assert part.n_beats == 1
    assert part.absent == {(lead, 0, "P"): "outside the stretch" for lead in ("II", "V2")}
    there = [name for name, time in zip(MARKS, part.times[0, 0], strict=True) if not np.isnan(time)]
    assert there == ["Q_peak", "R_peak", "S_peak", "QRS_offset", "T_onset", "T_peak"]  # QRS onset and T offset are cut
    assert (np.isnan(part.certainty) == np.isnan(part.times)).all()


def test_stretches_together_hold_each_beat_once():
    """Also where R lies on an edge, differs between leads, or was not marked; reasons stay with their beats."""
    times = beats(n_beats=30)
    times[1] += 0.02
    times[:, 7, MARKS.index("R_peak")] = np.nan
    times[0, 9, [MARKS.index(mark) for mark in WAVES["P"]]] = np.nan
    marks = Fiducials(times, ("II", "V2"), "m", absent={("II", 9, "P"): "hidden"})
    parts = [marks.crop(k / 10, k / 10 + 2.5) for k in range(0, 325, 25)]
    assert sum(part.n_beats for part in parts) == 30
    assert [(k, key) for k, part in enumerate(parts) for key, why in part.absent.items() if why == "hidden"] == [
        (4, ("II", 0, "P"))  # beat 9 has its R at 10.0 s: on the edge, and the first of its stretch
    ]


def test_a_stretch_of_the_ecg_and_of_its_marks_begin_at_the_same_sample():
    """A mark on the first sample of a stretch belongs to it, whatever the division leaves in the last digit."""
    fs = 360
    for sample in range(1, 4000, 7):
        times = np.full((1, 2, len(MARKS)), np.nan)
        times[0, :, MARKS.index("R_peak")] = [(sample - 1) / fs, sample / fs]
        absent = {("II", None, wave): "not marked" for wave in ("P", "T")}
        marks = Fiducials(times, ("II",), "m", absent=absent)
        ecg = ECG(np.zeros((1, 5000)), fs, ("II",)).crop(sample * (1 / fs), 12)
        part = marks.crop(sample * (1 / fs), 12)
        assert (part.n_beats, part["II", "R_peak"][0]) == (1, pytest.approx(ecg.start, abs=1e-9))


@pytest.mark.parametrize(("start", "stop"), [(2, 2), (3, 2), (np.nan, 2), (0, np.nan)])
def test_a_stretch_goes_forward(start, stop):
    with pytest.raises(SignalError, match="start < stop"):
        Fiducials(beats(), ("II", "V2"), "m").crop(start, stop)
