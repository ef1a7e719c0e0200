# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.explanation import Explanation
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.attribution import colour_scale, lead_map, plot_explanation, sign_words
from ecglens.plotting.ecg import lay_out
from ecglens.plotting.style import SIGNED, figure_bytes

DPI, PER_MM = 254.0, 10  # pixels


def make_ecg(record_id="r1"):
    return ECG(np.zeros((12, 5000), np.float32), 500, STANDARD_LEADS, record_id)


def make_explanation(values, fs=100.0, unit="logit", **changes):
    given = {
        "record_id": "r1", "target": "MI", "target_row": np.array([1.0, 0.0]), "outputs": ("MI", "NORM"),
        "method": "saliency", "unit": unit, "probability": 0.81, "resolution_ms": 50.0,
    } | changes  # fmt: skip
    return Explanation(values.astype(np.float32), fs, STANDARD_LEADS, **given)


def planted(at_positive=6.0, at_negative=6.8):
    """A positive and a negative bump of 100 ms in V1, which the third column shows from 5.0 to 7.5 s."""
    values = np.zeros((12, 1000))
    for time, sign in ((at_positive, 1.0), (at_negative, -1.0)):
        values[6, round(time * 100) - 5 : round(time * 100) + 5] = sign
    return values


def pixel_at(ecg, figure, time, mm_above=1.0, half=0.3):
    """Return red, green, blue (0 to 1) just above V1's trace at this time."""
    paper = lay_out(ecg)
    segment = next(s for s in paper.segments if s.lead == "V1")
    picture = imread(io.BytesIO(figure_bytes(figure, "png", dpi=DPI)))[..., :3]
    x = segment.x + (time - segment.start) * 25.0
    below = -figure.axes[0].get_ylim()[0]
    y = below + paper.baselines[segment.row] + mm_above
    rows = picture.shape[0]
    across = slice(round((x - 0.6) * PER_MM), round((x + 0.6) * PER_MM))
    patch = picture[rows - round((y + half) * PER_MM) : rows - round((y - half) * PER_MM), across]
    return np.median(patch.reshape(-1, 3), axis=0)


def texts(figure):
    return " | ".join(text.get_text() for text in figure.axes[0].texts)


def test_positive_is_orange_and_negative_blue_where_they_were_planted():
    ecg = make_ecg()
    figure = plot_explanation(ecg, make_explanation(planted()))
    orange, blue, nothing = (pixel_at(ecg, figure, time) for time in (6.0, 6.8, 6.4))
    assert orange[0] - orange[2] > 0.4
    assert orange[0] > orange[1] > orange[2]
    assert blue[2] - blue[0] > 0.35
    assert blue[2] > blue[1] > blue[0]
    assert np.ptp(nothing) < 0.15
    assert nothing.min() > 0.75


def test_other_leads_stay_white_and_hidden_stretches_are_not_drawn():
    ecg = make_ecg()
    shown = figure_bytes(plot_explanation(ecg, make_explanation(planted())), "png", dpi=DPI)
    elsewhere = planted(at_positive=2.0, at_negative=8.0)  # not in V1's column
    figure = plot_explanation(ecg, make_explanation(elsewhere))
    for time in (5.5, 6.0, 6.8):
        assert np.ptp(pixel_at(ecg, figure, time)) < 0.15
    assert figure_bytes(figure, "png", dpi=DPI) != shown


def test_the_trace_stays_black_on_the_deepest_tint():
    ecg = make_ecg()
    figure = plot_explanation(ecg, make_explanation(planted()))
    for time in (6.0, 6.8):
        assert pixel_at(ecg, figure, time, mm_above=0.0, half=0.1).max() < 0.45


def test_opposite_values_get_opposite_colours_of_the_same_strength():
    ecg, values = make_ecg(), planted()
    one = plot_explanation(ecg, make_explanation(values))
    other = plot_explanation(ecg, make_explanation(-values))
    np.testing.assert_allclose(pixel_at(ecg, one, 6.0), pixel_at(ecg, other, 6.8), atol=0.02)
    assert SIGNED(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)


def test_scale_is_the_99th_percentile_and_symmetric():
    rng = np.random.default_rng(0)
    explanation = make_explanation(rng.normal(size=(12, 1000)))
    scale, _, signed = colour_scale(explanation)
    assert scale == pytest.approx(np.percentile(np.abs(explanation.values), 99))
    assert signed
    written = texts(plot_explanation(make_ecg(), explanation))
    assert f"\u2212{scale:.2g}" in written
    assert f"+{scale:.2g}" in written
    assert colour_scale(make_explanation(np.zeros((12, 10))))[0] == 1.0
    sparse = np.zeros((12, 1000))
    sparse[0, 0] = -3.0
    assert colour_scale(make_explanation(sparse))[0] == 3.0


def test_unsigned_maps_get_an_unsigned_legend():
    written = texts(plot_explanation(make_ecg(), make_explanation(np.abs(planted()))))
    assert "blue" not in written
    assert "orange: the map is strong" in written


def test_legend_and_header_say_everything_once():
    figure = plot_explanation(make_ecg(), make_explanation(planted(), verdict="fails"))
    written = texts(figure)
    for words in (
        "Map, in logit", "orange, positive: speaks for MI", "blue, negative: speaks against MI",
        "of MI: probability 0.81",
        "Method: saliency", "50 ms, tells leads apart", "fails on this model", "even share, 1/12",
    ):  # fmt: skip
        assert written.count(words) == 1, words
    assert "not tested on this model" in texts(plot_explanation(make_ecg(), make_explanation(planted())))


def test_a_slope_is_not_called_evidence():
    negative, positive = sign_words(make_explanation(planted(), unit="logit per deviation"))
    assert positive == "a higher voltage here raises MI"
    assert negative == "a higher voltage here lowers MI"


def test_bars_show_the_share_of_each_lead_against_chance():
    values = planted()
    values[1, :60] = 0.5
    explanation = make_explanation(values)
    figure = plot_explanation(make_ecg(), explanation)
    bars = {p.get_label(): p.get_height() for p in figure.axes[0].patches if p.get_label().startswith("share ")}
    assert len(bars) == 12
    chance = next(line for line in figure.axes[0].lines if line.get_label() == "chance").get_ydata()[0]
    bottom = next(p for p in figure.axes[0].patches if p.get_label() == "share V1").get_y()
    share = explanation.share_by_lead()["V1"]
    assert bars["share V1"] / (chance - bottom) == pytest.approx(share * 12)
    same = plot_explanation(make_ecg(), make_explanation(values, resolves_leads=False))
    assert "gives all leads the same map" in texts(same)


def test_a_narrow_peak_keeps_its_area():
    values = np.zeros((12, 5000))
    values[6, 3000] = 1.0
    explanation = make_explanation(values, fs=500.0)
    edges = np.arange(0, 10, 0.01)
    assert lead_map(explanation, "V1", edges).sum() * 0.01 == pytest.approx(1 / 500)
    assert lead_map(explanation, "V1", edges).argmax() in (599, 600)
    assert lead_map(explanation, "V1", np.array([12.0, 13.0])) == 0


def test_gaps_and_flat_records_do_no_harm_and_another_record_is_refused():
    signal = np.zeros((12, 5000), np.float32)
    signal[6, 2700:3200] = np.nan
    signal[7] = np.nan
    figure = plot_explanation(ECG(signal, 500, STANDARD_LEADS, "r1"), make_explanation(planted()))
    assert len(figure_bytes(figure)) < 700_000
    plot_explanation(make_ecg().crop(0, 1), make_explanation(planted()), layout="rows")
    with pytest.raises(SignalError, match="r2"):
        plot_explanation(make_ecg("r2"), make_explanation(planted()))


def test_same_explanation_same_bytes():
    rng = np.random.default_rng(1)
    explanation = make_explanation(rng.normal(size=(12, 1000)))
    assert len({figure_bytes(plot_explanation(make_ecg(), explanation)) for _ in range(2)}) == 1
