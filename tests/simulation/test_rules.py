# SPDX-License-Identifier: Apache-2.0
"""Each condition meets its own published rule, a normal ECG none; measured on the noise-free beat.

The share over many people is in `benchmarks/simulator.py`; here are fewer, and measurements made another way: from the
samples of the ECG, not from the marks.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.leads import STANDARD_LEADS
from ecglens.simulation import CONDITIONS, RULES, rules_met, simulate_ecg
from ecglens.simulation.pathologies import NORMAL_NAMES, compatible_with, contradiction

N = 12


def made(condition, i: int, **arguments):
    return simulate_ecg(f"rule-{i}", condition, noise=None, fs=250.0, seed=4, **arguments)


@pytest.mark.parametrize("condition", [name for name in CONDITIONS if name != "NORM"])
def test_people_meet_the_rule_of_their_condition(condition):
    met = [condition in rules_met(made(condition, i).measurements()) for i in range(N)]
    assert np.mean(met) >= 0.83


def test_normal_people_meet_none():
    met = [rules_met(made("NORM", i).measurements()) for i in range(30)]
    assert sum(bool(names) for names in met) <= 3


def test_without_severity_nobody_is_ill():
    for condition in RULES:
        found = [condition in rules_met(made(condition, i, severity=0.0).measurements()) for i in range(4)]
        assert sum(found) <= 1, condition


def one_beat(simulated, lead: str) -> tuple[np.ndarray, np.ndarray]:
    """Return time from the second beat, in ms, and one lead around it, read off the samples."""
    beat = simulated.beats[1]
    at = 1000 * (simulated.ecg.times - beat)
    near = (at > -320) & (at < 480)
    return at[near], simulated.clean[STANDARD_LEADS.index(lead), near]


def test_left_bundle_branch_block_read_off_the_samples():
    at, v1 = one_beat(made("CLBBB", 1), "V1")
    _, v6 = one_beat(made("CLBBB", 1), "V6")
    qrs = (at > -60) & (at < 125)
    assert v1[qrs].min() < -0.5 < 3 * v1[qrs].max()
    assert v6[qrs].max() > 0.5
    assert v6[(at > 220) & (at < 330)].mean() < 0 < v1[(at > 220) & (at < 330)].mean()
    assert (np.abs(v1[qrs]) > 0.1).sum() * 4 > 100  # ms


def test_first_degree_block_moves_p_and_leaves_qrs_alone():
    block, normal = made("1AVB", 2), made("NORM", 2)
    np.testing.assert_array_equal(block.beats, normal.beats)
    at, two = one_beat(block, "II")
    _, usual = one_beat(normal, "II")
    there = (at > -50) & (at < 300)
    np.testing.assert_allclose(two[there], usual[there], atol=0.02)
    assert block.measurements().pr > 200 >= normal.measurements().pr
    assert at[two[at < -60].argmax()] < at[usual[at < -60].argmax()] - 30


def test_pre_excitation_begins_early_and_slowly():
    for i in range(4):
        m, usual = made("WPW", i).measurements(), made("NORM", i).measurements()
        assert m.pr < 120 < usual.pr
        assert m.qrs > usual.qrs + 20
        assert m.slope_ms > usual.slope_ms + 15


def test_fibrillation_is_irregular_and_has_no_p():
    for i in range(4):
        af, sinus = made("AFIB", i, duration=60.0), made("NORM", i, duration=60.0)
        rr = np.diff(af.beats)
        assert 0.12 < rr.std() / rr.mean() < 0.3
        lagged = np.corrcoef(rr[:-1], rr[1:])[0, 1]
        assert abs(lagged) < 0.35  # irregularly irregular: one interval says nothing of the next
        assert np.isnan(af.fiducials["II", "P_peak"]).all()
        assert "atrial fibrillation" in set(af.fiducials.absent.values())
        assert not np.isnan(sinus.fiducials["II", "QRS_onset"]).any()
        power = np.abs(np.fft.rfft(af.evidence.weight[STANDARD_LEADS.index("V1")].astype(float)))
        assert power.any()


@pytest.mark.parametrize(("condition", "symbol"), [("PVC", "V"), ("APC", "A")])
def test_premature_beats_come_early_and_pause_as_they_should(condition, symbol):
    for i in range(6):
        simulated = made(condition, i)
        early = [k for k, s in enumerate(simulated.symbols) if s == symbol and 0 < k < len(simulated.beats) - 1]
        assert early
        usual = np.median(np.diff(made("NORM", i).beats))
        for k in early:
            before, after = simulated.beats[k] - simulated.beats[k - 1], simulated.beats[k + 1] - simulated.beats[k]
            assert before < 0.8 * usual
            assert after > usual * 0.9
            together = (before + after) / (2 * usual)
            assert 0.9 < together < 1.1 if condition == "PVC" else together < 0.97
            has_p = not np.isnan(simulated.fiducials.times[:, k, :3]).all()
            assert has_p == (condition == "APC")


def test_a_ventricular_beat_is_wide_and_an_atrial_one_is_not():
    for i in range(4):
        wide, narrow = (made(c, i).measurements().early[:, 2] for c in ("PVC", "APC"))
        assert wide.min() >= 120 > narrow.max()


@pytest.mark.parametrize("rate", [45.0, 60.0, 90.0, 150.0])
def test_rate_and_qt_are_what_was_asked_for(rate):
    measured = [made("NORM", i, rate=rate, qtc=410.0).measurements() for i in range(5)]
    assert np.median([60000 / m.rr.mean() for m in measured]) == pytest.approx(rate, rel=0.03)
    qt = np.median([m.qt for m in measured])
    assert qt == pytest.approx(410.0 * np.cbrt(60 / rate), abs=35)  # Fridericia


def test_conditions_are_data_whose_names_fit():
    for key, condition in CONDITIONS.items():
        names = [c.name for c in condition.added]
        assert set(condition.replaced) <= set(NORMAL_NAMES), key
        assert len(set(names)) == len(names), key
        assert not set(names) & set(NORMAL_NAMES), key
        assert condition.superclass in ("NORM", "MI", "STTC", "CD", "HYP", ""), key
    assert set(RULES) == set(CONDITIONS) - {"NORM"}


# ---------------------------------------------------------------- combinations


def test_two_findings_at_once_meet_both_rules():
    pairs = [(a, b) for a, b in combinations(RULES, 2) if not contradiction(a, b)]
    assert len(pairs) > 40
    # One person each: an excess of failures would show; which pair fails for whom is a matter of the body.
    met = {pair: set(pair) <= set(rules_met(made(pair, k % 5).measurements())) for k, pair in enumerate(pairs)}
    assert np.mean(list(met.values())) > 0.75, [pair for pair, good in met.items() if not good]


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (("CLBBB", "CRBBB"), "cannot both be blocked"),
        (("AFIB", "1AVB"), "no P"),
        (("NORM", "IMI"), "no other finding"),
        (("1AVB", "WPW"), "cannot|hides|PR"),
        (("STD", "INVT"), "same part of the beat"),
    ],
)
def test_contradictions_are_refused_with_the_reason(pair, why):
    for order in (pair, pair[::-1]):
        with pytest.raises(UsageError, match=why):
            simulate_ecg("x", order)


def test_contradiction_is_mutual():
    for a, b in combinations(CONDITIONS, 2):
        assert bool(contradiction(a, b)) == bool(contradiction(b, a))
    assert "CRBBB" not in compatible_with("CLBBB", tuple(CONDITIONS))
    assert "PVC" in compatible_with("CLBBB", tuple(CONDITIONS))
