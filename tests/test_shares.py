# SPDX-License-Identifier: Apache-2.0
"""Maps whose place is known: the table must find it, keep sums, follow leads, and never tell more than the method."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglens.explanation import Explanation
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.shares import ALL_LEADS, LIMB, REST, SEGMENT_NAMES, lead_sentence, share_out, where_sentence

FS, SECONDS = 100.0, 10.0
# s from the beat's time; with 10 beats of 1 s each segment's share of time is its length in s
BEAT = {
    "P_onset": -0.2, "P_offset": -0.1, "QRS_onset": -0.04, "R_peak": 0.0, "QRS_offset": 0.06,
    "T_onset": 0.16, "T_offset": 0.36,
}  # fmt: skip
LENGTH = {"P": 0.1, "PQ": 0.06, "QRS": 0.1, "ST": 0.1, "T": 0.2, REST: 0.44}
QRS = SEGMENT_NAMES.index("QRS")


def make_marks(leads=STANDARD_LEADS, without=(), start=0.0):
    """Ten beats a second apart; `without`: waves that no lead has."""
    times = np.full((len(leads), 10, len(MARKS)), np.nan)
    for mark, after in BEAT.items():
        if mark.split("_")[0] not in without:
            times[:, :, MARKS.index(mark)] = start + 0.5 + np.arange(10) + after
    absent = {(lead, None, wave): "planted" for lead in leads for wave in without}
    return Fiducials(times - 1e-6, leads, "planted", absent=absent)  # a hair early, so that no mark falls on rounding


def make_map(values, **changes):
    given = {
        "fs": FS, "leads": STANDARD_LEADS, "record_id": "r", "target": "MI", "target_row": np.ones(1),
        "outputs": ("MI",), "method": "saliency", "unit": "logit", "resolution_ms": 10.0,
    }  # fmt: skip
    return Explanation(np.asarray(values, np.float32), **(given | changes))


def cells(marks=None):
    """Return which segment each sample lies in [time], from the lengths alone."""
    phase = (np.arange(int(FS * SECONDS)) % 100) / FS - 0.5
    edges = [-0.2, -0.1, -0.04, 0.06, 0.16, 0.36]
    names = [REST, "P", "PQ", "QRS", "ST", "T", REST]
    return np.array([names[k] for k in np.searchsorted(edges, phase + 1e-4)])


def planted(lead="III", segment="QRS", value=1.0):
    values = np.zeros((12, 1000))
    values[STANDARD_LEADS.index(lead), cells() == segment] = value
    return values


@pytest.mark.parametrize("segment", SEGMENT_NAMES)
def test_a_planted_map_is_found_in_its_cell_and_nowhere_else(segment):
    shares = share_out(make_map(planted("aVL", segment)), make_marks())
    row, column = STANDARD_LEADS.index("aVL"), SEGMENT_NAMES.index(segment)
    expected = np.zeros((12, 6))
    expected[row, column] = 1.0
    np.testing.assert_allclose(shares.share, expected, atol=1e-12)
    np.testing.assert_allclose(shares.time[row, column], LENGTH[segment] / 12, atol=1e-12)
    np.testing.assert_allclose(shares.lift[row, column], 12 / LENGTH[segment])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(), ("P",), ("T",), ("P", "T")]))
def test_shares_and_time_sum_to_one_and_signs_to_the_share(seed, without):
    values = np.random.default_rng(seed).normal(size=(12, 1000))
    shares = share_out(make_map(values), make_marks(without=without))
    assert np.nansum(shares.share) == pytest.approx(1.0, abs=1e-6)
    assert np.nansum(shares.time) == pytest.approx(1.0, abs=1e-12)
    assert np.nansum(shares.positive) == pytest.approx(values[values > 0].sum() / np.abs(values).sum(), abs=1e-5)


def test_an_even_map_has_lift_one_everywhere():
    shares = share_out(make_map(np.full((12, 1000), -0.3)), make_marks())
    np.testing.assert_allclose(shares.lift, 1.0)
    np.testing.assert_allclose(shares.positive, 0.0)


def test_permuted_leads_permute_the_table():
    rng = np.random.default_rng(3)
    values, order = rng.normal(size=(12, 1000)), rng.permutation(12)
    leads = tuple(STANDARD_LEADS[k] for k in order)
    one = share_out(make_map(values), make_marks())
    other = share_out(make_map(values[order], leads=leads), make_marks())
    assert other.rows == leads
    np.testing.assert_array_equal(other.share, one.share[order])


def test_a_clock_that_starts_later_changes_nothing():
    values = planted("V2", "T")
    one = share_out(make_map(values), make_marks())
    other = share_out(make_map(values, start=3600.0), make_marks(start=3600.0))
    np.testing.assert_allclose(other.share, one.share)


def test_a_wave_that_is_absent_has_no_figure():
    shares = share_out(make_map(np.ones((12, 1000))), make_marks(without=("P",)))
    for name in ("P", "PQ"):
        assert np.isnan(shares.share[:, SEGMENT_NAMES.index(name)]).all()
    told = {(row["lead"], row["segment"]): row for row in shares.as_rows()}
    assert told["II", "P"] == dict.fromkeys(("share", "positive", "negative", "lift", "time")) | {
        "lead": "II", "segment": "P"
    }  # fmt: skip
    assert told["II", REST]["time"] == pytest.approx((LENGTH[REST] + LENGTH["P"] + LENGTH["PQ"]) / 12)


def test_segments_shorter_than_the_resolution_have_no_figure():
    shares = share_out(make_map(planted(), resolution_ms=150.0), make_marks())
    assert dict(zip(shares.segments, shares.resolved.tolist(), strict=True)) == {
        "P": False, "PQ": False, "QRS": False, "ST": False, "T": True, REST: True,
    }  # fmt: skip
    told = [row for row in shares.as_rows() if row["share"] is not None]
    assert {row["segment"] for row in told} == {"T", REST}
    assert "QRS of" not in where_sentence(make_map(planted(), resolution_ms=150.0), shares)


def test_limb_leads_hidden_together_are_one_row():
    explanation = make_map(planted("III") + planted("V1", "T"), parameters={"together": True})
    shares = share_out(explanation, make_marks())
    assert shares.rows == (LIMB, "V1", "V2", "V3", "V4", "V5", "V6")
    assert shares.time[0, QRS] == pytest.approx(6 * LENGTH["QRS"] / 12)
    sentence = where_sentence(explanation, shares)
    assert not re.search(r"\b(I|II|III|aVR|aVL|aVF)\b", sentence), sentence


def test_hidden_segments_do_not_tell_pq_from_the_rest():
    shares = share_out(make_map(planted(), parameters={"by": "segment"}, resolution_ms=1000.0), make_marks())
    assert np.isnan(shares.share[:, SEGMENT_NAMES.index("PQ")]).all()
    assert shares.resolved[QRS]
    assert shares.time[0, -1] == pytest.approx((LENGTH[REST] + LENGTH["PQ"]) / 12)


def test_a_segment_hidden_in_a_group_is_where_any_of_its_leads_has_it():
    marks, times = make_marks(), make_marks().times.copy()
    times[1, :, MARKS.index("QRS_offset")] += 0.05  # QRS of II is longer, so the group's is
    longer = Fiducials(times, STANDARD_LEADS, "planted")
    explanation = make_map(np.ones((12, 1000)), parameters={"by": "segment", "together": True})
    one, other = share_out(explanation, marks), share_out(explanation, longer)
    assert other.time[0, QRS] == pytest.approx(one.time[0, QRS] + 6 * 0.05 / 12)
    np.testing.assert_array_equal(other.time[1:], one.time[1:])


def test_leads_that_are_not_told_apart_are_one_row():
    explanation = make_map(planted(), resolves_leads=False)
    shares = share_out(explanation, make_marks())
    assert shares.rows == (ALL_LEADS,)
    assert where_sentence(explanation, shares).startswith(
        "100% of the absolute map of MI lies in QRS, which is 10% of the time (10.0 times an even spread)."
    )


# ---------------------------------------------------------------------------------------------------------- sentences


def test_the_sentence_names_segment_and_leads_with_the_figures_of_the_table():
    values = 3 * planted("III") + 2 * planted("aVF") + planted("II") + 0.02
    shares = share_out(make_map(values), make_marks())
    sentence = where_sentence(make_map(values), shares)
    share = sum(shares.share[STANDARD_LEADS.index(lead), QRS] for lead in ("II", "III", "aVF"))
    time = 3 * LENGTH["QRS"] / 12
    assert sentence == (
        f"{share:.0%} of the absolute map of MI lies in QRS of II, III and aVF, which are {time:.1%} of the lead-time "
        f"({share / time:.1f} times an even spread); the largest single share: III, QRS "
        f"({shares.share[2, QRS]:.0%}). The method is not tested on this network."
    )


def test_signs_are_told_apart():
    values = planted("III") - 0.5 * planted("III", "P")
    values[2, np.flatnonzero(cells() == "QRS")[:30]] *= -1
    sentence = where_sentence(make_map(values), share_out(make_map(values), make_marks()))
    assert "67% of the absolute map of MI (47% positive, 20% negative) lies in QRS of III" in sentence


def test_what_lies_outside_all_waves_is_called_that():
    values = planted("V2", "rest") + 0.2 * planted("V3", "rest")
    sentence = where_sentence(make_map(values), share_out(make_map(values), make_marks()))
    assert "lies outside P to T of V2 and V3" in sentence
    assert "largest single share: V2, outside P to T (83%)" in sentence


def test_a_method_without_time_says_so():
    explanation = make_map(planted("V2"), resolution_ms=10_000.0)
    sentence = where_sentence(explanation, share_out(explanation, make_marks()))
    assert "The method says nothing of time: nothing is said of P, QRS and T." in sentence


def test_where_all_leads_stand_out_none_is_named():
    values = np.where(cells() == "T", 1.0, 0.1) * np.ones((12, 1))
    sentence = where_sentence(make_map(values), share_out(make_map(values), make_marks()))
    assert "lies in T, which is 20% of the time" in sentence


def test_nothing_stands_out():
    values = np.full((12, 1000), 0.2)
    sentence = where_sentence(make_map(values), share_out(make_map(values), make_marks()))
    assert "spread evenly" in sentence
    assert "1.5 times" in sentence
    empty = make_map(np.zeros((12, 1000)))
    assert where_sentence(empty, share_out(empty, make_marks())).startswith("The map is empty")


def test_a_cell_too_small_to_matter_is_not_named():
    values = np.full((12, 1000), 1.0)
    values[0, np.flatnonzero(cells() == "PQ")[:6]] = 5.0  # PQ of I: lift 1.4, below the level; then a tiny lead
    shares = share_out(make_map(values), make_marks())
    assert "spread evenly" in where_sentence(make_map(values), shares)


def test_coarse_methods_speak_of_leads_only():
    explanation = make_map(planted("V1") + 0.01, resolution_ms=1270.0, unit="share of attention", method="attention")
    sentence = where_sentence(explanation, share_out(explanation, make_marks()))
    assert sentence.startswith("V1 (")
    assert "1,270 ms is coarser than P (100 ms), PQ (60 ms), QRS (100 ms), ST (100 ms) and T (200 ms)" in sentence
    assert "speaks for nothing" in sentence


def test_maps_that_know_nothing_of_the_network_speak_for_nothing():
    explanation = make_map(planted(), unit="nothing of the network", method="energy")
    sentence = where_sentence(explanation, share_out(explanation, make_marks()))
    assert "knows nothing of the network and speaks for nothing" in sentence
    assert "of MI" not in sentence


def test_without_beats_only_leads_are_named():
    none = Fiducials(
        np.empty((12, 0, len(MARKS))), STANDARD_LEADS, "planted",
        absent={(lead, None, wave): "no beats" for lead in STANDARD_LEADS for wave in ("P", "QRS", "T")},
    )  # fmt: skip
    explanation = make_map(planted("V4"))
    sentence = where_sentence(explanation, share_out(explanation, none))
    assert sentence.startswith("V4 (100%) carries the most")
    assert "No beat is marked: nothing is said of P, QRS and T." in sentence


@pytest.mark.parametrize(("verdict", "words"), [("passes", "passed"), ("fails", "do not rely"), ("not tested", "not")])
def test_the_verdict_comes_last(verdict, words):
    sentence = where_sentence(replace(make_map(planted()), verdict=verdict))
    assert words in sentence.split(". ")[-1]


def test_lead_sentence_of_leads_hidden_together_names_the_group():
    explanation = make_map(planted("I") + planted("II") + planted("V1"), parameters={"together": True})
    assert lead_sentence(explanation).startswith("V1 (33%) carries the most")
    assert "the limb leads, hidden together, 50%" in lead_sentence(explanation)
