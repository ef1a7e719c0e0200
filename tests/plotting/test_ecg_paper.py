# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import subprocess
import sys
import threading

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from ecglens.ecg import ECG
from ecglens.errors import UsageError
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.ecg import LEFT_MM, lay_out, plot_ecg
from ecglens.plotting.style import ecglens_style, figure_bytes


def make_ecg(duration=10.0, fs=500.0, leads=STANDARD_LEADS, size=1.0, start=0.0):
    rng = np.random.default_rng(0)
    times = np.arange(int(duration * fs)) / fs
    beats = np.exp(-(((times % 0.8 - 0.3) / 0.015) ** 2))
    heights = rng.uniform(-1, 1.2, (len(leads), 1)) * size
    signal = heights * beats + 0.02 * rng.normal(size=(len(leads), len(times)))
    return ECG(signal.astype(np.float32), fs, tuple(leads), "r1", start=start)


def lines(figure: Figure, label: str):
    return [line for line in figure.axes[0].lines if line.get_label() == label]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("size", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("layout", ["3x4+rhythm", "rows"])
def test_print_is_true_to_the_millimetre(layout, size):
    figure = plot_ecg(make_ecg(size=size), layout=layout)
    axes = figure.axes[0]
    to_mm = 25.4 / figure.dpi
    pixels = axes.transData.transform([(0, 0), (25.0, 0), (0, 10.0)])
    assert (pixels[1] - pixels[0])[0] * to_mm == pytest.approx(25.0, abs=1e-6)
    assert (pixels[2] - pixels[0])[1] * to_mm == pytest.approx(10.0, abs=1e-6)


def test_one_second_is_25_mm_and_one_millivolt_10_mm_in_every_trace():
    ecg = make_ecg()
    figure = plot_ecg(ecg)
    to_mm = 25.4 / figure.dpi
    for lead in STANDARD_LEADS:
        line = lines(figure, lead)[0]
        placed = line.get_transform().transform(line.get_xydata()) * to_mm
        first = round(2.5 * (STANDARD_LEADS.index(lead) // 3) * ecg.fs)
        shown = ecg[lead][first : first + len(placed)]
        assert len(shown) == 1250
        assert placed[-1, 0] - placed[0, 0] == pytest.approx(25.0 * 1249 / 500, abs=1e-6)
        np.testing.assert_allclose(placed[:, 1] - placed[0, 1], 10 * (shown - shown[0]), atol=1e-4)
        assert placed[0, 0] == pytest.approx(LEFT_MM + 62.5 * (STANDARD_LEADS.index(lead) // 3), abs=1e-6)


def test_rhythm_strip_shows_ten_seconds_of_the_lead_asked_for():
    ecg = make_ecg()
    strip = lines(plot_ecg(ecg, rhythm_lead="V1"), "V1")[1]
    y = strip.get_ydata()
    np.testing.assert_allclose(y - y[0], 10 * (ecg["V1"] - ecg["V1"][0]), atol=1e-4)
    assert np.ptp(strip.get_xdata()) == pytest.approx(250 - 0.05)


def test_calibration_pulse_is_10_mm_high_and_5_mm_wide_on_grid_lines():
    pulses = lines(plot_ecg(make_ecg()), "calibration")
    assert len(pulses) == 4
    for pulse in pulses:
        x, y = pulse.get_xdata(), pulse.get_ydata()
        assert np.ptp(y) == 10
        assert np.ptp(x[y == y.max()]) == 5
        assert set(x[y == y.max()] % 5) == {0}
        assert y.min() % 5 == 0


def test_names_speed_and_gain_are_written():
    written = texts(plot_ecg(make_ecg(), title="Record 1"))
    assert set(STANDARD_LEADS) <= set(written)
    assert "25 mm/s   10 mm/mV" in written
    assert "Record 1" in written


def test_gaps_are_drawn_as_gaps_with_a_grey_band():
    ecg = make_ecg()
    signal = ecg.signal.copy()
    signal[0, 200:400] = np.nan
    signal[5] = np.nan
    figure = plot_ecg(ECG(signal, 500, ecg.leads))
    np.testing.assert_array_equal(np.isnan(lines(figure, "I")[0].get_ydata()), np.isnan(signal[0, :1250]))
    assert np.isnan(lines(figure, "aVF")[0].get_ydata()).all()
    bands = [(p.get_x(), p.get_width()) for p in figure.axes[0].patches]
    assert (LEFT_MM + 10.0, 10.0) in [(pytest.approx(x), pytest.approx(w)) for x, w in bands]
    assert any("grey: no signal" in text for text in texts(figure))


@pytest.mark.parametrize("size", [0.3, 2.0, 5.0])
@pytest.mark.parametrize("layout", ["3x4+rhythm", "rows"])
def test_rows_never_touch_and_lie_on_5_mm_lines(layout, size):
    paper = lay_out(make_ecg(size=size), layout)
    assert all(baseline % 5 == 0 for baseline in paper.baselines)
    assert paper.height % 5 == 0
    tops, bottoms = np.full((20, 270), -np.inf), np.full((20, 270), np.inf)
    for segment in paper.segments:
        y, at = paper.baselines[segment.row] + segment.y_mm, segment.x_mm.astype(int)
        np.maximum.at(tops[segment.row], at, y)
        np.minimum.at(bottoms[segment.row], at, y)
    for row in range(len(paper.baselines) - 1):
        assert (bottoms[row] - tops[row + 1]).min() > 1.0
    assert tops.max() < paper.height
    assert bottoms.min() > 0


def test_no_trace_runs_through_a_lead_name():
    for seed_size in (0.5, 1.5, 3.0):
        paper = lay_out(make_ecg(size=seed_size))
        for name in paper.segments:
            dx, y = name.label
            low = paper.baselines[name.row] + y
            for segment in paper.segments:
                inside = (segment.x_mm > name.x + dx) & (segment.x_mm < name.x + dx + 5)
                traced = paper.baselines[segment.row] + segment.y_mm[inside]
                assert not ((traced > low) & (traced < low + 3)).any(), (name.lead, segment.lead)


def test_records_of_other_lengths_say_what_is_shown():
    longer = plot_ecg(make_ecg(duration=30, start=5.0), start=12)
    assert any("seconds 12 to 22 of a recording from 5 to 35 s" in text for text in texts(longer))
    ecg = make_ecg(duration=30, start=5.0)
    strip = lines(longer, "II")[1].get_ydata()
    np.testing.assert_allclose(strip - strip[0], 10 * (ecg["II"][3500:8500] - ecg["II"][3500]), atol=1e-4)
    short = plot_ecg(make_ecg(duration=4))
    assert any("4 s recorded" in t and "every column shows the same stretch" in t for t in texts(short))
    assert len(lines(short, "V6")[0].get_xdata()) == 1250
    assert lines(plot_ecg(make_ecg(duration=0.5)), "V6")


def test_fewer_leads_become_rows_and_missing_limb_leads_are_derived():
    assert lay_out(make_ecg(leads=("MLII", "V5"))).columns == 1
    eight = ECG(make_ecg().select(("I", "II", *STANDARD_LEADS[6:])).signal, 500, ("I", "II", *STANDARD_LEADS[6:]))
    figure = plot_ecg(eight)
    y = lines(figure, "III")[0].get_ydata()
    third = eight["II"][:1250] - eight["I"][:1250]
    np.testing.assert_allclose(y - y[0], 10 * (third - third[0]), atol=1e-4)
    assert any("III, aVR, aVL, aVF derived" in text for text in texts(figure))
    six = plot_ecg(make_ecg(leads=STANDARD_LEADS[6:]))
    assert any("aVR not recorded" in text for text in texts(six))
    assert len(lines(six, "V1")) == 2


def test_offsets_and_cuts_are_said():
    ecg = make_ecg()
    signal = ecg.signal.copy()
    signal[0] += 4
    signal[6, 100:103] = 20
    figure = plot_ecg(ECG(signal, 500, ecg.leads), layout="rows")
    note = next(text for text in texts(figure) if "moved" in text)
    assert "I by \u2212" in note
    assert "cut at \u00b16 mV: V1" in note


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="layout"):
        plot_ecg(make_ecg(), layout="6x2")
    with pytest.raises(UsageError, match="start"):
        plot_ecg(make_ecg(), start=10)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_same_ecg_same_bytes_of_a_bearable_size(kind):
    first, second = (figure_bytes(plot_ecg(make_ecg(fs=1000), title="a"), kind) for _ in range(2))
    assert first == second
    assert len(first) < 700_000
    assert b"<dc:date>" not in first
    assert b"Creat" not in first


def test_hostile_names_are_only_text():
    leads = ("<script>", "$x^", "\u5c0e\u51fa", "a\nb", "\udc80")
    figure = plot_ecg(make_ecg(leads=leads), title="$\\frac{ <b> \x00")
    assert b"<script" not in figure_bytes(figure)


def test_png_holds_the_paper_the_ink_and_the_grid():
    pixels = matplotlib.image.imread(io.BytesIO(figure_bytes(plot_ecg(make_ecg()), "png")))[..., :3]
    assert (pixels.max(-1) < 0.2).mean() > 0.002
    assert (pixels.min(-1) > 0.95).mean() > 0.3


def test_settings_of_the_user_are_left_alone():
    before = dict(matplotlib.rcParams)
    figure_bytes(plot_ecg(make_ecg()))
    with pytest.raises(ZeroDivisionError), ecglens_style():
        raise ZeroDivisionError
    threads = [threading.Thread(target=lambda: figure_bytes(plot_ecg(make_ecg(duration=2)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(matplotlib.rcParams) == before


def test_no_pyplot_and_no_matplotlib_before_it_is_needed():
    code = (
        "import sys, ecglens, ecglens.report; assert 'matplotlib' not in sys.modules;"
        "import ecglens.plotting.attribution, ecglens.plotting.curves; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
