# SPDX-License-Identifier: Apache-2.0
"""A map as lead x time, as TrustECG draws its attention: what is where, without the trace."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ecglens.errors import printable
from ecglens.explanation import Explanation
from ecglens.fiducials import Fiducials
from ecglens.plotting.attribution import colour_scale, lead_map, sign_words
from ecglens.plotting.style import INK, QUIET, ecglens_style, new_figure
from ecglens.shares import rows_of

WIDTH_MM, LEFT_MM, RIGHT_MM = 270.0, 22.0, 6.0
ROW_MM, ABOVE_MM, BELOW_MM = 6.0, 15.0, 30.0
CELLS = 1200  # along the picture; values within a cell are averaged


def plot_lead_time(explanation: Explanation, marks: Fiducials | None = None) -> Figure:
    """Draw a map as a picture of lead x time, with the time in s and the R peaks marked above.

    Leads that the method cannot tell apart are one band. Orange is positive, blue negative; the scale ends at the 99th
    percentile of |value|, as on the paper.
    """
    scale, colours, signed = colour_scale(explanation)
    n = len(explanation.leads)
    height = ABOVE_MM + ROW_MM * n + BELOW_MM
    stop = explanation.start + explanation.values.shape[1] / explanation.fs
    with ecglens_style():
        figure = new_figure(WIDTH_MM, height)
        place = (LEFT_MM, BELOW_MM, WIDTH_MM - LEFT_MM - RIGHT_MM, ROW_MM * n)
        axes = figure.add_axes((
            place[0] / WIDTH_MM, place[1] / height, place[2] / WIDTH_MM, place[3] / height
        ))  # fmt: skip
        _draw_map(axes, explanation, scale, colours, signed, stop)
        title = f"{printable(explanation.method, 40)}, {printable(explanation.target, 40)}"
        figure.text(4 / WIDTH_MM, 1 - 6 / height, title, size=10.5, weight="bold", va="center")
        if marks is not None:
            _mark_beats(axes, marks, explanation.start, stop)
        _draw_scale(figure, explanation, scale, colours, signed)
    return figure


def _draw_map(axes: Axes, explanation: Explanation, scale: float, colours: Colormap, signed: bool, stop: float) -> None:
    """Paint the bands, name them, and draw lines between them."""
    edges = np.linspace(explanation.start, stop, min(CELLS, explanation.values.shape[1]) + 1)
    groups = rows_of(explanation)
    order = [lead for members in groups.values() for lead in members]
    picture = np.stack([lead_map(explanation, explanation.leads[lead], edges) for lead in order])
    axes.imshow(
        picture, cmap=colours, vmin=-scale if signed else 0.0, vmax=scale, aspect="auto", interpolation="none",
        extent=(explanation.start, stop, len(order), 0),
    )  # fmt: skip
    first, middles = 0, []
    for members in groups.values():
        middles.append(first + len(members) / 2)
        first += len(members)
        axes.axhline(first, color=QUIET, lw=0.3)
    names = [printable(name, 12) if len(members) == 1 else name.replace(" ", "\n") for name, members in groups.items()]
    axes.set_yticks(middles, names, size=8.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("Time in s")
    axes.set_facecolor("#ffffff")


def _mark_beats(axes: Axes, marks: Fiducials, start: float, stop: float) -> None:
    """Set a tick above the map at each R peak, the median over leads."""
    times = []
    for beat in range(marks.n_beats):
        known = np.concatenate([marks[lead, "R_peak"][beat : beat + 1] for lead in marks.leads])
        if np.isfinite(known).any():
            times.append(float(np.nanmedian(known)))
    inside = [time for time in times if start <= time < stop]
    for time in inside:
        axes.plot(
            [time, time], [-0.5, -0.1], color=INK, lw=1.0, clip_on=False, label="R peak", scalex=False, scaley=False
        )
    if inside:
        axes.text(start - 0.05, -0.3, "R peaks", size=7.5, color=QUIET, va="center", ha="right")


def _draw_scale(figure: Figure, explanation: Explanation, scale: float, colours: Colormap, signed: bool) -> None:
    """Draw the colour bar with its unit and what its ends mean."""
    height = figure.get_figheight() * 25.4
    axes = figure.add_axes((LEFT_MM / WIDTH_MM, 10.0 / height, 70.0 / WIDTH_MM, 3.5 / height), label="scale")
    axes.imshow(
        np.linspace(0, 1, 256)[None], cmap=colours, aspect="auto", extent=(-scale if signed else 0.0, scale, 0, 1)
    )
    axes.set_yticks([])
    ticks = [-scale, 0.0, scale] if signed else [0.0, scale]
    axes.set_xticks(ticks, [f"{tick:+.2g}".replace("-", "\u2212") if tick else "0" for tick in ticks], size=7.5)
    for side in axes.spines.values():
        side.set_visible(False)
    negative, positive = sign_words(explanation)
    unit = f" in {printable(explanation.unit, 40)}" if explanation.unit else ""
    words = [f"Map{unit}; the scale ends at the 99th percentile."]
    words += [f"Orange: {positive}. Blue: {negative}." if signed else "Orange: the map is strong."]
    words += [f"Resolution {explanation.resolution_ms:,.0f} ms: what is closer than that looks like one."]
    for index, line in enumerate(words):
        figure.text((LEFT_MM + 82) / WIDTH_MM, (12.4 - 4.2 * index) / height, printable(line, 130), size=8, color=INK)
