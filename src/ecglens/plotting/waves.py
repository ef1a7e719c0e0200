# SPDX-License-Identifier: Apache-2.0
"""Waves on ECG paper: P, QRS and T as if gone over with a highlighter, intervals and measurements written.

Colours are those of Okabe and Ito, so that no kind of colour vision takes one wave for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from ecglens.ecg import ECG
from ecglens.errors import printable
from ecglens.fiducials import Fiducials
from ecglens.plotting.ecg import (
    FOOTER_MM,
    MM_PER_S,
    RIGHT_MM,
    WIDTH_MM,
    Layout,
    Paper,
    Segment,
    draw_paper,
    lay_out,
    sheet,
)
from ecglens.plotting.style import INK, OKABE_ITO, PAPER, POINTS_PER_MM, QUIET, ecglens_style

WAVE_COLOURS = {"P": OKABE_ITO["sky blue"], "QRS": OKABE_ITO["orange"], "T": OKABE_ITO["bluish green"]}
_PEN_MM, _PEN_ALPHA = 2.0, 0.55
_LINE_MM, _TITLE_MM = 4.4, 9.0
_BRACKET_MM = 3.6  # from one bracket to the next, below the strip

# (label, start, stop): an interval, in s on the ECG's clock
Bracket = tuple[str, float, float]


def plot_waves(
    ecg: ECG,
    fiducials: Fiducials,
    *,
    lines: Sequence[str] = (),
    brackets: Sequence[Bracket] = (),
    layout: Layout = "3x4+rhythm",
    rhythm_lead: str = "II",
    title: str = "",
    start: float | None = None,
) -> Figure:
    """Draw 10 s of an ECG on paper with its P, QRS and T tinted.

    fiducials  marks; a wave is tinted from its onset to its offset, where both are marked
    lines      text above the paper, such as the measurements
    brackets   intervals (label, start, stop), in s on the ECG's clock, drawn below the lowest row
    others     as in `plot_ecg`
    """
    paper = _with_room(lay_out(ecg, layout, rhythm_lead, start), len(brackets))
    above = 3.0 + _LINE_MM * len(lines) + _TITLE_MM
    below = FOOTER_MM
    with ecglens_style():
        figure, axes = sheet(paper, above_mm=above, below_mm=below)
        draw_paper(axes, paper)
        for segment in paper.segments:
            _tint(axes, segment, paper.baselines[segment.row], fiducials)
        _draw_brackets(axes, paper, brackets)
        for row, line in enumerate(reversed(lines)):
            axes.text(5, paper.height + 3 + _LINE_MM * row, printable(line, 200), size=9, va="baseline")
        top = paper.height + 3 + _LINE_MM * len(lines) + 1.5
        axes.text(5, top, printable(title, 90), size=11, weight="bold", va="baseline")
        _draw_legend(axes, top, fiducials.method)
    return figure


def wave_stretches(fiducials: Fiducials, lead: str, wave: str) -> list[tuple[float, float]]:
    """Return onset and offset of each such wave of a lead that has both, in s."""
    if lead not in fiducials.leads:
        return []
    ends = np.stack([fiducials[lead, f"{wave}_onset"], fiducials[lead, f"{wave}_offset"]], axis=1)
    return [(float(a), float(b)) for a, b in ends if np.isfinite(a + b)]


def _tint(axes: Axes, segment: Segment, baseline: float, fiducials: Fiducials) -> None:
    """Go over the waves of one segment of trace."""
    x, y = segment.x_mm, baseline + segment.y_mm
    for wave, colour in WAVE_COLOURS.items():
        pieces = []
        for first, last in wave_stretches(fiducials, segment.lead, wave):
            chosen = (segment.times >= first) & (segment.times <= last) & np.isfinite(y)
            if chosen.sum() > 1:
                pieces.append(np.stack([x[chosen], y[chosen]], axis=1))
        if pieces:
            pen = LineCollection(
                pieces, colors=colour, linewidths=_PEN_MM * POINTS_PER_MM, alpha=_PEN_ALPHA, zorder=3.5,
                capstyle="butt", label=f"{segment.lead} {wave}",
            )  # fmt: skip
            axes.add_collection(pen, autolim=False)


def _with_room(paper: Paper, n_brackets: int) -> Paper:
    """Return the paper with room for brackets below its lowest row, in whole 5 mm."""
    room = 5.0 * float(np.ceil((2.0 + _BRACKET_MM * n_brackets) / 5.0)) if n_brackets else 0.0
    return replace(paper, baselines=tuple(y + room for y in paper.baselines), height=paper.height + room)


def _draw_brackets(axes: Axes, paper: Paper, brackets: Sequence[Bracket]) -> None:
    """Draw intervals below the lowest row like callipers: thin lines lead from their ends up to the trace."""
    strip = paper.segments[-1]
    top = _BRACKET_MM * (len(brackets) - 1) + 2.5
    for row, (label, first, last) in enumerate(brackets):
        if not strip.start <= first <= last <= strip.stop:
            continue
        a, b = (strip.x + (time - strip.start) * MM_PER_S for time in (first, last))
        y = top - _BRACKET_MM * row
        for x in (a, b):
            ends = [y, paper.baselines[strip.row]]
            axes.plot([x, x], ends, color=QUIET, lw=0.12 * POINTS_PER_MM, zorder=2.5, label="calliper")
        axes.plot([a, b], [y, y], color=INK, lw=0.35 * POINTS_PER_MM, zorder=6, solid_capstyle="butt", label=label)
        halo = [Stroke(linewidth=2.0, foreground=PAPER), Normal()]
        axes.text(b + 1.0, y, printable(label, 40), size=7, va="center", zorder=6, color=INK, path_effects=halo)


def _draw_legend(axes: Axes, y: float, method: str) -> None:
    """Name the colours, and who made the marks, at the right."""
    x = WIDTH_MM - RIGHT_MM
    axes.text(x, y + 0.2, printable(method, 70), size=7, color=QUIET, ha="right", va="baseline")
    x -= 1.25 * min(len(method), 70) + 6.0
    for wave in reversed(WAVE_COLOURS):
        axes.text(x, y, wave, size=8.5, ha="right", va="baseline")
        x -= 1.9 * len(wave) + 1.5
        axes.add_patch(Rectangle((x - 5.0, y - 0.1), 5.0, 2.4, color=WAVE_COLOURS[wave], alpha=_PEN_ALPHA, lw=0))
        x -= 9.0
