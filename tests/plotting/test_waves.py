# SPDX-License-Identifier: Apache-2.0
"""Waves on paper: each tint lies where its wave is marked, brackets have their length, nothing leaves the paper."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from ecglens import ECG, Fiducials
from ecglens.fiducials import MARKS
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.ecg import LEFT_MM, MM_PER_S
from ecglens.plotting.style import OKABE_ITO
from ecglens.plotting.waves import WAVE_COLOURS, plot_waves, wave_stretches

ONSETS = np.arange(0.4, 9.5, 0.9)
ENDS = {"P": (-0.16, -0.06), "QRS": (0.0, 0.1), "T": (0.22, 0.38)}


def marks(leads=STANDARD_LEADS):
    times = np.full((len(leads), len(ONSETS), len(MARKS)), np.nan)
    for wave, (first, last) in ENDS.items():
        times[:, :, MARKS.index(f"{wave}_onset")] = ONSETS + first
        times[:, :, MARKS.index(f"{wave}_offset")] = ONSETS + last
    return Fiducials(times, leads, "planted")


def ecg():
    return ECG(np.random.default_rng(0).normal(0, 0.2, (12, 5000)), 500, STANDARD_LEADS, "a")


def tints(figure):
    return {c.get_label(): c for c in figure.axes[0].collections if isinstance(c, LineCollection)}


def test_tints_lie_where_the_waves_are_marked():
    found = tints(plot_waves(ecg(), marks(), layout="rows"))
    for lead in STANDARD_LEADS:
        for wave, (first, last) in ENDS.items():
            pieces = found[f"{lead} {wave}"].get_segments()
            assert len(pieces) == len(ONSETS)
            for onset, piece in zip(ONSETS, pieces, strict=True):
                x = (piece[[0, -1], 0] - LEFT_MM) / MM_PER_S
                assert x == pytest.approx([onset + first, onset + last], abs=0.003)


def test_colours_are_three_of_okabe_and_ito():
    found = tints(plot_waves(ecg(), marks()))
    colours = {to_hex(found[f"V1 {wave}"].get_colors()[0]).upper() for wave in WAVE_COLOURS}
    assert len(colours) == 3
    assert colours <= set(OKABE_ITO.values())


def test_brackets_are_as_long_as_their_intervals_and_below_the_strip():
    figure = plot_waves(ecg(), marks(), brackets=[("PR 160 ms", 1.14, 1.3), ("QT 380 ms", 1.3, 1.68)], lines=["a"])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert np.ptp(lines["PR 160 ms"].get_xdata()) == pytest.approx(0.16 * MM_PER_S)
    assert np.ptp(lines["QT 380 ms"].get_xdata()) == pytest.approx(0.38 * MM_PER_S)
    assert 0 < lines["QT 380 ms"].get_ydata()[0] < lines["PR 160 ms"].get_ydata()[0] < 10


def test_what_is_not_marked_is_not_tinted():
    few = marks(("II",))
    assert wave_stretches(few, "V1", "P") == []
    assert set(tints(plot_waves(ecg(), few))) & {f"V1 {wave}" for wave in ENDS} == set()
    empty = Fiducials(np.empty((12, 0, len(MARKS))), STANDARD_LEADS, "none")
    assert not any(str(label).endswith((" P", " QRS", " T")) for label in tints(plot_waves(ecg(), empty)))


def test_text_from_files_is_drawn_and_harmless():
    figure = plot_waves(ecg(), marks(), title="a$b^{c}\x1b[31m", lines=["$x$ _y_"])
    figure.canvas.draw()
