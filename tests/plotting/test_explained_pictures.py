# SPDX-License-Identifier: Apache-2.0
"""Side by side, radar, bars and heat map: what was planted must be where it belongs, in the right colour and size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from ecglens.ecg import ECG
from ecglens.errors import SignalError, UsageError
from ecglens.explanation import Explanation
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.heat_map import plot_lead_time
from ecglens.plotting.shares import ROUND_THE_HEART, plot_lead_radar, plot_lead_shares, plot_segment_shares
from ecglens.plotting.side_by_side import BEFORE_S, LEAD_MM, plot_explanations
from ecglens.plotting.style import figure_bytes
from ecglens.shares import LIMB, share_out

PER_MM = 4
BEATS = 0.5 + np.arange(10)  # s


def make_ecg(record_id="r1"):
    return ECG(np.zeros((12, 5000), np.float32), 500, STANDARD_LEADS, record_id)


def make_marks():
    times = np.full((12, 10, len(MARKS)), np.nan)
    for mark, after in (("QRS_onset", -0.05), ("R_peak", 0.0), ("QRS_offset", 0.05)):
        times[:, :, MARKS.index(mark)] = BEATS + after
    absent = {(lead, None, wave): "planted" for lead in STANDARD_LEADS for wave in ("P", "T")}
    return Fiducials(times, STANDARD_LEADS, "planted", absent=absent)


def make_map(lead="V1", after=0.2, value=1.0, **changes):
    """A bump of 60 ms in one lead, this long after each beat, over a map that is 0 elsewhere."""
    values = np.zeros((12, 1000), np.float32)
    for beat in BEATS:
        at = round((beat + after) * 100)
        values[STANDARD_LEADS.index(lead), at - 3 : at + 3] = value
    given = {
        "record_id": "r1", "target": "MI", "target_row": np.ones(1), "outputs": ("MI",), "method": "saliency",
        "unit": "logit", "resolution_ms": 10.0,
    } | changes  # fmt: skip
    return Explanation(values, 100.0, STANDARD_LEADS, **given)


def pixels(figure):
    return imread(io.BytesIO(figure_bytes(figure, "png", dpi=25.4 * PER_MM)))[..., :3]


def orange_at(figure, row, lead, after, mm_above=1.5):
    """Return red minus blue in a strip just above the trace of this row and lead."""
    axes = figure.axes[0]
    baselines = sorted({round(line.get_ydata()[0], 3) for line in axes.lines if line.get_label() == "V1"}, reverse=True)
    x = 15.0 + LEAD_MM * STANDARD_LEADS.index(lead) + (after + BEFORE_S) * 25.0
    y = baselines[row] + mm_above - axes.get_ylim()[0]
    picture = pixels(figure)
    patch = picture[picture.shape[0] - round((y + 0.5) * PER_MM) : picture.shape[0] - round((y - 0.5) * PER_MM),
                    round((x - 0.4) * PER_MM) : round((x + 0.4) * PER_MM)].reshape(-1, 3)  # fmt: skip
    return float(np.median(patch[:, 0] - patch[:, 2]))


def texts(figure):
    return " | ".join([t.get_text() for t in figure.texts] + [t.get_text() for a in figure.axes for t in a.texts])


def test_each_row_shows_its_own_map_where_it_lies():
    maps = [make_map("V1", 0.2, method="saliency"), make_map("aVF", -0.1, -1.0, method="lrp", unit="other")]
    figure = plot_explanations(make_ecg(), maps, make_marks())
    assert orange_at(figure, 0, "V1", 0.2) > 0.3
    assert abs(orange_at(figure, 0, "aVF", -0.1)) < 0.12
    assert orange_at(figure, 1, "aVF", -0.1) < -0.3
    assert abs(orange_at(figure, 1, "V1", 0.2)) < 0.12


def test_maps_of_one_method_share_a_scale_and_others_do_not():
    strong, weak = make_map(value=1.0, target="MI"), make_map(value=0.1, target="CD")
    shared = plot_explanations(make_ecg(), [strong, weak], make_marks())
    assert orange_at(shared, 1, "V1", 0.2) < 0.35 * orange_at(shared, 0, "V1", 0.2)
    assert "All rows share one scale" in texts(shared)
    other = make_map(value=0.1, method="lrp", unit="else")
    own = plot_explanations(make_ecg(), [strong, other], make_marks())
    assert orange_at(own, 1, "V1", 0.2) == pytest.approx(orange_at(own, 0, "V1", 0.2), abs=0.03)
    assert "compare places between rows, not depths" in texts(own)


def test_a_chosen_beat_shows_the_map_of_that_beat_alone():
    values = make_map().values.copy()
    values[:, 200:] = 0
    explanation = make_map()
    only_first = Explanation(
        values, 100.0, STANDARD_LEADS, "r1", "MI", np.ones(1), ("MI",), "saliency", unit="logit", resolution_ms=10.0
    )
    first = plot_explanations(make_ecg(), [only_first, explanation], make_marks(), beat=0.6)
    fifth = plot_explanations(make_ecg(), [only_first, explanation], make_marks(), beat=5.4)
    assert orange_at(first, 0, "V1", 0.2) > 0.3
    assert abs(orange_at(fifth, 0, "V1", 0.2)) < 0.12
    assert "The beat at 5.50 s" in texts(fifth)


def test_what_is_drawn_without_beats_is_said():
    figure = plot_explanations(make_ecg(), [make_map()])
    assert "No beat is marked: the stretch around 5.00 s is drawn." in texts(figure)


def test_side_by_side_refuses_nothing_and_strangers():
    with pytest.raises(UsageError, match="one or more"):
        plot_explanations(make_ecg(), [])
    with pytest.raises(SignalError, match="r2"):
        plot_explanations(make_ecg(), [make_map(record_id="r2")])


def test_the_sentence_stands_over_each_row():
    assert "lies outside P to T of V1" in texts(plot_explanations(make_ecg(), [make_map()], make_marks()))


def radar(figure):
    """Return {lead: share} as drawn in the first radar, and the radius of the even ring."""
    axes = next(a for a in figure.axes if a.name == "polar")
    names = [label.get_text() for label in axes.get_xticklabels()]
    line = next(line for line in axes.lines if line.get_label() == "share")
    ring = next(line for line in axes.lines if line.get_label() == "even share")
    return dict(zip(names, line.get_ydata(), strict=False)), float(ring.get_ydata()[0])


def test_radar_shows_each_share_at_its_lead_in_the_order_round_the_heart():
    rng = np.random.default_rng(0)
    explanation = make_map()
    explanation.values[...] = rng.random((12, 1000)) * (1 + np.arange(12))[:, None]
    shown, ring = radar(plot_lead_radar([explanation]))
    assert tuple(shown) == ROUND_THE_HEART
    for lead, share in explanation.share_by_lead().items():
        assert shown[lead] == pytest.approx(share)
    assert ring == pytest.approx(1 / 12)


def test_leads_hidden_together_are_hollow_and_equal():
    explanation = make_map("II", parameters={"together": True})
    figure = plot_lead_radar([explanation])
    shown, _ = radar(figure)
    assert {lead: shown[lead] for lead in ("I", "II", "III")} == pytest.approx(dict.fromkeys(("I", "II", "III"), 1 / 6))
    marks = [line for line in figure.axes[0].lines if line.get_label() == "lead"]
    hollow = [line.get_markerfacecolor() != line.get_markeredgecolor() for line in marks]
    assert hollow == [True] * 6 + [False] * 6
    assert "hidden together" in texts(figure)


def test_a_radar_of_a_method_that_cannot_tell_leads_apart_is_refused():
    with pytest.raises(UsageError, match="cannot tell leads apart"):
        plot_lead_radar([make_map(resolves_leads=False)])


def test_intervals_are_drawn_where_they_are():
    shares = np.random.default_rng(1).dirichlet(np.ones(12), 2)
    figure = plot_lead_shares(["MI", "CD"], STANDARD_LEADS, shares, shares * 0.8, shares * 1.3, note="Over patients.")
    dots = [axes for axes in figure.axes if axes.name != "polar"]
    assert len(dots) == 2
    for values, axes in zip(shares, dots, strict=True):
        names = [label.get_text() for label in axes.get_yticklabels()]
        spans = [tuple(line.get_xdata()) for line in axes.lines if line.get_label() == "interval"]
        for name, span in zip(names, spans, strict=True):
            share = values[STANDARD_LEADS.index(name)]
            assert span == pytest.approx((0.8 * share, 1.3 * share))
    assert "Over patients." in texts(figure)
    with pytest.raises(UsageError, match="low, high"):
        plot_lead_shares(["MI", "CD"], STANDARD_LEADS, shares, shares)


def test_segment_bars_are_as_long_as_the_shares():
    shares = share_out(make_map(after=0.0), make_marks())
    figure = plot_segment_shares(shares, "MI")
    lengths = sorted({round(patch.get_width(), 6) for patch in figure.axes[0].patches})
    for expected in (1.0, 0.1, 0.9):  # all in QRS, which is a tenth of the time; the rest nine
        assert any(abs(length - expected) < 1e-6 for length in lengths), (expected, lengths)
    assert "not marked in this record" in texts(figure)
    with pytest.raises(UsageError, match="none that the method can tell"):
        plot_segment_shares(share_out(make_map(resolution_ms=2000.0), make_marks()))


def test_heat_map_has_the_bump_in_its_lead_and_ticks_at_the_beats():
    figure = plot_lead_time(make_map("V3", 0.2), make_marks())
    axes = figure.axes[0]
    picture = axes.images[0].get_array()
    left, right = axes.images[0].get_extent()[:2]
    strong = np.argwhere(picture > 0.5)
    assert set(strong[:, 0]) == {STANDARD_LEADS.index("V3")}
    times = left + (strong[:, 1] + 0.5) * (right - left) / picture.shape[1]
    assert np.abs(times[:, None] - (BEATS + 0.2)).min(axis=1).max() < 0.04
    ticks = [line.get_xdata()[0] for line in axes.lines if line.get_label() == "R peak"]
    assert ticks == pytest.approx(list(BEATS))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(STANDARD_LEADS)


def test_heat_map_draws_leads_that_are_not_told_apart_as_one_band():
    together = plot_lead_time(make_map("V3", parameters={"together": True}), make_marks())
    names = [label.get_text().replace("\n", " ") for label in together.axes[0].get_yticklabels()]
    assert names == [LIMB, "V1", "V2", "V3", "V4", "V5", "V6"]
