# SPDX-License-Identifier: Apache-2.0
"""Evidence by its definition, exact marks, planted lesions, shortcuts, faults: the truth is the truth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.fiducials import MARKS
from ecglens.leads import LIMB_LEADS, STANDARD_LEADS, limb_residual
from ecglens.simulation import (
    CONDITIONS,
    FAULTS,
    SEGMENTS,
    Evidence,
    Noise,
    Shortcut,
    segment_samples,
    simulate_cohort,
    simulate_ecg,
)  # fmt: skip

# What changes amplitudes only: the same draws give the same timing with and without it.
STILL = [name for name, c in CONDITIONS.items() if not c.changes_timing]


def row(lead: str) -> int:
    return STANDARD_LEADS.index(lead)


# ---------------------------------------------------------------- with and without


@pytest.mark.parametrize("condition", STILL)
def test_evidence_is_with_minus_without_from_the_same_draws(condition):
    for record in ("a", "b"):
        with_lesion, without = (simulate_ecg(record, c, fs=250.0) for c in (condition, "NORM"))
        np.testing.assert_array_equal(with_lesion.beats, without.beats)
        expected = np.abs(with_lesion.clean - without.clean)
        np.testing.assert_allclose(with_lesion.evidence.weight, expected, atol=5e-7)
        noise = with_lesion.ecg.signal - with_lesion.clean
        np.testing.assert_allclose(noise, without.ecg.signal - without.clean, atol=2e-6)
        assert with_lesion.evidence.weight.dtype == np.float32


def test_the_mask_is_what_can_be_seen():
    quiet, loud = (simulate_ecg("a", "IMI", noise=n) for n in (None, Noise(white=0.2)))
    np.testing.assert_array_equal(quiet.evidence.mask, quiet.evidence.weight > 0.05)
    assert loud.evidence.mask.sum() < 0.5 * quiet.evidence.mask.sum()  # twice a noise of 0.2 mV hides most of it
    np.testing.assert_array_equal(loud.evidence.weight, quiet.evidence.weight)


def test_nothing_is_evidence_of_norm():
    evidence = simulate_ecg("a", "NORM").evidence
    assert (evidence.kind, evidence.intervals) == ("none", ())
    assert not evidence.weight.any()


def test_each_of_two_findings_has_its_own_evidence():
    both = simulate_ecg("a", ("IMI", "INVT"), noise=None)
    alone = {c: simulate_ecg("a", c, noise=None).evidence.weight for c in ("IMI", "INVT")}
    for name, weight in alone.items():
        np.testing.assert_allclose(both.evidence[name].weight, weight, atol=1e-6)
    assert (both.evidence.weight <= alone["IMI"] + alone["INVT"] + 1e-5).all()
    with pytest.raises(UsageError, match="IMI, INVT"):
        both.evidence["AMI"]


@pytest.mark.parametrize("record", ["a", "b", "c"])
def test_where_in_the_beat_the_evidence_lies(record):
    where = {"IMI": (-70, 30), "LAE": (-260, -40), "STD": (0, 420), "INVT": (60, 450), "LVH": (-60, 450)}
    for condition, (low, high) in where.items():
        made = simulate_ecg(record, condition, noise=None, rate=60.0)
        since = 1000 * (made.ecg.times[:, None] - made.beats)
        inside = ((since >= low) & (since <= high)).any(axis=1)
        beyond = ~inside & (made.ecg.times > made.beats[0]) & (made.ecg.times < made.beats[-1])
        assert made.evidence.mask[:, inside].any(), condition
        assert not made.evidence.mask[:, beyond].any(), condition


def test_a_half_lesion_is_half_the_evidence():
    full, half = (simulate_ecg("a", "CLBBB", severity=s).evidence.weight for s in (1.0, 0.5))
    np.testing.assert_allclose(half, 0.5 * full, atol=1e-6)
    ill, well, between = (simulate_ecg("a", "CLBBB", severity=s).clean for s in (1.0, 0.0, 0.5))
    np.testing.assert_allclose(between, (ill + well) / 2, atol=1e-9)


# ---------------------------------------------------------------- timing


def test_timing_is_evidence_of_another_kind():
    block = simulate_ecg("a", "1AVB")
    assert (block.evidence.kind, {i.what for i in block.evidence.intervals}) == ("interval", {"PR"})
    assert not block.evidence.mask.any()
    lengths = [i.stop - i.start for i in block.evidence.intervals[1:-1]]
    assert min(lengths) > 0.2
    fibrillating = simulate_ecg("a", "AFIB").evidence
    assert {i.what for i in fibrillating.intervals} == {"RR", "no P"}
    assert simulate_ecg("a", "WPW").evidence.kind == "both"


@pytest.mark.parametrize("condition", ["PVC", "APC"])
def test_evidence_of_premature_beats_is_theirs(condition):
    made = simulate_ecg("a", condition, noise=None)
    symbol = {"PVC": "V", "APC": "A"}[condition]
    early = [beat for beat, s in zip(made.beats, made.symbols, strict=True) if s == symbol]
    near = np.zeros(5000, bool)
    for beat in early:
        near |= (made.ecg.times > beat - 0.3) & (made.ecg.times < beat + 0.6)
    assert made.evidence.mask[:, near].any()
    assert not made.evidence.mask[:, ~near].any()
    spans = [i for i in made.evidence.intervals if i.what == "RR"]
    assert any(i.start < early[0] <= i.stop + 1e-9 for i in spans)
    assert made.evidence.interval_mask(made.ecg.times, ["RR"]).mean() < 1.0


# ---------------------------------------------------------------- planted


@pytest.mark.parametrize("condition", [c for c in STILL if c != "NORM"])
@pytest.mark.parametrize("lead", ["V2", "I", "II"])
def test_a_planted_lesion_is_in_its_lead_and_nowhere_else(condition, lead):
    made = simulate_ecg("a", condition, mode="planted", lead=lead)
    follow = set(LIMB_LEADS) - {"I", "II"} | {lead} if lead in ("I", "II") else {lead}
    for name in STANDARD_LEADS:
        assert made.evidence.weight[row(name)].any() == (name in follow), name  # elsewhere 0, exactly
    assert made.evidence.mask[row(lead)].any()
    normal = simulate_ecg("a", "NORM")
    untouched = [row(name) for name in STANDARD_LEADS if name not in follow]
    np.testing.assert_allclose(made.ecg.signal[untouched], normal.ecg.signal[untouched], atol=1e-8)  # rounding
    assert limb_residual(made.ecg.signal, made.ecg.leads) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"lead": "aVF"}, "sums of I and II"),
        ({"lead": "X"}, "V1 to V6"),
        ({"condition": "1AVB"}, "timing is in all leads"),
        ({"condition": "PVC"}, "timing is in all leads"),
        ({"mode": "C"}, "needs a cohort"),
        ({"mode": "D"}, r"dipolar \(A\)"),
    ],
)
def test_what_cannot_be_planted(arguments, match):
    with pytest.raises(UsageError, match=match):
        simulate_ecg("x", **({"condition": "IMI", "mode": "B", "lead": "V1"} | arguments))


# ---------------------------------------------------------------- shortcuts


def test_a_shortcut_goes_with_its_class_in_training_and_not_in_test():
    some = {"classes": ("NORM", "IMI"), "fs": 100.0, "duration": 2.0}
    made = simulate_cohort(300, mode="C", shortcut=Shortcut("MI", rho=0.8), **some)
    has = np.array(["shortcut" in e.parts for e in made.evidence])
    ill, test = made.labels["MI"].to_numpy() == 1, made.metadata["fold"].to_numpy() == 10
    assert np.corrcoef(has[~test], ill[~test])[0, 1] == pytest.approx(0.8, abs=0.1)
    assert not has[test].any()
    first = int(np.flatnonzero(has)[0])
    mark = made.evidence[first]["shortcut"]
    assert mark.mask[row("V6")].any()
    assert not np.delete(mark.mask, row("V6"), axis=0).any()
    plain = simulate_cohort(300, **some)
    np.testing.assert_allclose(np.abs(made[first].signal - plain[first].signal), mark.weight, atol=1e-6)
    np.testing.assert_array_equal(made.evidence[first].weight, plain.evidence[first].weight)  # no part of the lesion
    assert "a mark in V6 goes with MI" in made.label_rule


def test_reversed_and_humming_shortcuts():
    there = Shortcut("MI", rho=1.0, mark="hum", lead="V1", test="reversed")
    made = simulate_cohort(80, classes=("NORM", "IMI"), mode="shortcut", shortcut=there, duration=2)
    has = np.array(["shortcut" in e.parts for e in made.evidence])
    ill, test = made.labels["MI"].to_numpy() == 1, made.metadata["fold"].to_numpy() == 10
    np.testing.assert_array_equal(has, ill != test)
    hum = made.evidence[int(np.flatnonzero(has)[0])]["shortcut"].weight[row("V1")]
    assert hum.max() == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("wrong", [{"rho": 1.5}, {"lead": "II"}, {"mark": "dot"}, {"test": "later"}, {"size": 0.0}])
def test_impossible_shortcuts(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Shortcut("MI", **wrong)


# ---------------------------------------------------------------- faults


def test_swapped_arms_are_swapped_in_signal_evidence_and_marks():
    good, bad = (simulate_ecg("a", "IMI", fault=f) for f in ("", "limb_reversal"))
    np.testing.assert_allclose(bad.ecg["I"], -good.ecg["I"], atol=1e-6)
    np.testing.assert_allclose(bad.ecg["II"], good.ecg["III"], atol=1e-6)
    np.testing.assert_allclose(bad.ecg["aVR"], good.ecg["aVL"], atol=1e-6)
    np.testing.assert_array_equal(bad.ecg["V1"], good.ecg["V1"])
    assert limb_residual(bad.ecg.signal, bad.ecg.leads) < 1e-5
    np.testing.assert_allclose(bad.evidence.weight[row("II")], good.evidence.weight[row("III")], atol=1e-6)
    np.testing.assert_allclose(bad.fiducials["II", "QRS_onset"], good.fiducials["III", "QRS_onset"])
    assert (good.fault, bad.fault) == ("", "limb_reversal")


def test_the_other_faults():
    good = simulate_ecg("a", "LVH")
    lost, swapped, clipped, micro = (
        simulate_ecg("a", "LVH", fault=f) for f in ("lost_lead", "swapped_leads", "clipping", "wrong_unit")
    )
    flat = [name for name in STANDARD_LEADS if not lost.ecg[name].any()]
    assert len(flat) == 1
    assert not lost.evidence.weight[row(flat[0])].any()
    assert np.isnan(lost.fiducials[flat[0], "QRS_onset"]).all()
    moved = [name for name in STANDARD_LEADS if not np.array_equal(swapped.ecg[name], good.ecg[name])]
    np.testing.assert_array_equal(swapped.ecg[moved[0]], good.ecg[moved[1]])
    top = np.abs(clipped.ecg.signal).max()
    assert top == pytest.approx(np.abs(good.ecg.signal).max() / 2, rel=1e-5)
    assert (np.abs(clipped.ecg.signal) > top - 1e-6).sum() > 5
    np.testing.assert_allclose(micro.ecg.signal, 1000 * good.ecg.signal, rtol=1e-5)


def test_faults_of_a_cohort_are_told():
    shares = {"limb_reversal": 0.2, "clipping": 0.1}
    faults = simulate_cohort(400, faults=shares).metadata["fault"].value_counts(normalize=True)
    assert {name: faults[name] for name in shares} == pytest.approx(shares, abs=0.06)
    assert set(faults.index) == {"", *shares}
    with pytest.raises(UsageError, match="limb_reversal"):
        simulate_cohort(3, faults={"dust": 0.1})
    with pytest.raises(UsageError, match="at most 1"):
        simulate_cohort(3, faults=dict.fromkeys(FAULTS, 0.5))


# ---------------------------------------------------------------- marks


@pytest.mark.parametrize("condition", CONDITIONS)
def test_marks_lie_on_the_waves(condition):
    made = simulate_ecg("a", condition, noise=None, fs=1000.0, duration=6.0)
    marks = made.fiducials
    assert marks.n_beats == len(made.beats)
    for lead in ("II", "V2"):
        r = marks[lead, "R_peak"]
        for at in r[~np.isnan(r)][1:-1]:
            curve = made.clean[row(lead)]
            k = round(at * 1000)
            assert curve[k] >= curve[k - 6 : k + 7].max() - 0.06  # other waves may lift a flank
        width = marks[lead, "QRS_offset"] - marks[lead, "QRS_onset"]
        known = width[~np.isnan(width)]
        assert ((known > 0.02) & (known < 0.25)).all()
    assert all(wave in ("P", "QRS", "T") for _, _, wave in marks.absent)


def test_onset_and_offset_keep_their_rule():
    made = simulate_ecg("a", "NORM", noise=None, fs=1000.0, rate=55.0)
    for beat in range(1, 5):
        for lead in ("I", "II", "V2", "V5"):
            curve = np.abs(made.clean[row(lead)])
            on, off = (made.fiducials[lead, name][beat] for name in ("QRS_onset", "QRS_offset"))
            assert np.interp(on, made.ecg.times, curve) == pytest.approx(0.02, abs=0.01)  # P and T reach in a little
            peak = curve[round(on * 1000) : round(off * 1000)].max()
            assert peak > 0.1


def test_every_sample_between_the_marks_has_one_of_24_segments():
    made = simulate_ecg("a", "NORM", noise=None, fs=500.0)
    labels = segment_samples(made.fiducials, made.ecg.times)
    assert (len(SEGMENTS), labels.shape, labels.dtype) == (24, (12, 5000), np.int8)
    two = labels[row("II")]
    for name in ("P_peak", "QRS_onset", "R_peak", "T_offset"):
        at = made.fiducials["II", name]
        at = at[~np.isnan(at)]
        np.testing.assert_allclose(made.ecg.times[two == SEGMENTS.index(name)], at, atol=0.0011)
    known = np.flatnonzero(two >= 0)
    assert (two[known[0] : known[-1] + 1] >= 0).all()
    # Within a beat the segments come in order.
    onsets = np.flatnonzero(two == SEGMENTS.index("P_onset"))
    for start, stop in pairwise(onsets):
        assert (np.diff(two[start:stop].astype(int)) >= 0).all()
    assert MARKS[0] in SEGMENTS


def test_evidence_needs_no_lesion():
    empty = Evidence.of({}, 0.05, shape=(12, 7))
    assert (empty.weight.shape, empty.kind) == ((12, 7), "none")
