# SPDX-License-Identifier: Apache-2.0
"""Pictures of an audit: the four figures with their lines of chance and threshold, curves, tables as heat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecglens.errors import UsageError, printable
from ecglens.plotting.curves import DASHES
from ecglens.plotting.style import INK, OKABE_ITO, PAPER, QUIET, SIGNED, UNSIGNED, ecglens_style, line_style, new_figure

# The side of the threshold that passes is told by place, shape and word, never by colour alone.
_MARKS = {True: ("o", INK), False: ("x", OKABE_ITO["vermillion"]), None: ("o", QUIET)}
Point = tuple[float, float | None, float | None, bool | None]  # value, low, high, passed


def plot_rules(
    methods: Sequence[str],
    panels: Mapping[str, tuple[Sequence[Point | None], float, float | None]],
) -> Figure:
    """Draw one panel per rule, a dot and its interval per method.

    panels   title to (point of each method, None where not tested; threshold; chance, or None)
    """
    if not methods or not panels:
        raise UsageError("plot_rules", "methods, panels", "none", "at least one of each")
    left, wide, gap, row = 40.0, 44.0, 8.0, 5.4
    width, height = left + len(panels) * (wide + gap), 26.0 + row * len(methods)
    with ecglens_style():
        figure = new_figure(width, height)
        for index, (title, (points, threshold, chance)) in enumerate(panels.items()):
            where = ((left + index * (wide + gap)) / width, 10.0 / height, wide / width, row * len(methods) / height)
            axes = figure.add_axes(where)
            _rule_panel(axes, title, points, threshold, chance)
            axes.set_yticks(range(len(methods)), [printable(m, 30) for m in methods] if index == 0 else [])
        figure.text(left / width, 1 - 4.5 / height, "\u25cf holds   \u00d7 fails   \u2013 not tested", size=8.5)
        figure.text(
            (left + 2 * (wide + gap)) / width, 1 - 4.5 / height, "solid line: threshold   dashed: chance", size=8.5
        )
    return figure


def _rule_panel(axes: Axes, title: str, points: Sequence[Point | None], threshold: float, chance: float | None) -> None:
    axes.set_ylim(len(points) - 0.5, -0.5)
    axes.set_title(title, size=9, pad=5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(threshold, color=INK, lw=0.9, label="threshold", zorder=1)
    if chance is not None and math.isfinite(chance):
        axes.axvline(chance, color=QUIET, lw=0.9, ls=DASHES, label="chance", zorder=1)
    for row, point in enumerate(points):
        if point is None:
            axes.text(0.5, row, "\u2013", transform=axes.get_yaxis_transform(), ha="center", va="center", color=QUIET)
            continue
        value, low, high, passed = point
        marker, colour = _MARKS[passed]
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=colour, lw=1.3, solid_capstyle="butt")
        axes.plot(value, row, marker=marker, color=colour, ms=4.5, mew=1.4)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=4)


def plot_heat(
    rows: Sequence[str], columns: Sequence[str], values: np.ndarray, *, signed: bool = False, title: str = "",
    outlined: Sequence[tuple[int, int]] = (), largest: float = 1.0,
) -> Figure:  # fmt: skip
    """Draw a table as heat with its numbers in it: values [row, column], NaN left blank; some cells outlined."""
    values = np.asarray(values, dtype=float)
    if values.shape != (len(rows), len(columns)) or not values.size:
        raise UsageError("plot_heat", "values", f"shape {values.shape}", f"[{len(rows)}, {len(columns)}], not empty")
    left, cell_w, cell_h = 40.0, max(8.5, min(20.0, 120.0 / len(columns))), 5.2
    longest = min(24, max(map(len, columns)))
    top = 13.0 + 1.1 * longest  # names stand slanted
    width, height = left + cell_w * len(columns) + 4.0 + 1.5 * longest, top + cell_h * len(rows) + 4.0
    with ecglens_style():
        figure = new_figure(width, height)
        where = (left / width, 4.0 / height, cell_w * len(columns) / width, cell_h * len(rows) / height)
        axes = figure.add_axes(where)
        low = -largest if signed else 0.0
        axes.imshow(values, cmap=SIGNED if signed else UNSIGNED, vmin=low, vmax=largest, aspect="auto")
        axes.set_yticks(range(len(rows)), [printable(row, 30) for row in rows])
        axes.set_xticks(range(len(columns)), [printable(c, 24) for c in columns], rotation=35, ha="left")
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for (r, c), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = abs(value) > 0.75 * largest
                axes.text(c, r, f"{value:.2f}", ha="center", va="center", size=7, color=PAPER if dark else INK)
        for r, c in outlined:
            axes.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, fill=False, ec=INK, lw=1.4))
        if title:
            figure.text(2.0 / width, 1 - 5.0 / height, title, size=9.5, weight="bold")
    return figure


def plot_deletion(
    shares: Sequence[float], fillers: Sequence[str], curves: Mapping[str, np.ndarray], random: Mapping[str, np.ndarray]
) -> Figure:
    """Draw one small panel per method: the fall of the logit by the share hidden, one line per filler.

    curves, random   method to [filler, share]; random order dashed in the filler's colour
    """
    n_columns = min(5, len(curves))
    n_rows = math.ceil(len(curves) / n_columns)
    cell_w, cell_h, left, top = 36.0, 33.0, 14.0, 14.0
    width, height = left + max(n_columns * cell_w, 34.0 * len(fillers) + 40.0), top + n_rows * cell_h + 6.0
    limits = [min(0.0, *(c.min() for c in curves.values())), max(c.max() for c in curves.values())]
    with ecglens_style():
        figure = new_figure(width, height)
        for index, (method, curve) in enumerate(curves.items()):
            row, column = divmod(index, n_columns)
            bottom = height - top - (row + 1) * cell_h + 7.0
            where = ((left + column * cell_w) / width, bottom / height, 28.0 / width, 21.0 / height)
            axes = figure.add_axes(where)
            for k in range(len(fillers)):
                colour, _ = line_style(k)
                axes.plot(shares, curve[k], color=colour, lw=1.3)
                axes.plot(shares, random[method][k], color=colour, lw=0.9, ls=DASHES)
            axes.set_ylim(limits[0] - 0.2, limits[1] * 1.05)
            axes.set_title(printable(method, 24), size=8, pad=3)
            axes.tick_params(labelsize=7)
            if column:
                axes.set_yticklabels([])
        for k, filler in enumerate(fillers):
            figure.text((left + 34 * k) / width, 1 - 5.5 / height, f"\u2014 {filler}", color=line_style(k)[0], size=8.5,
                        weight="bold")  # fmt: skip
        figure.text((left + 34 * len(fillers)) / width, 1 - 5.5 / height, "- - random order", color=QUIET, size=8.5)
        figure.text(0.5, 1.5 / height, "Share of the ECG hidden; fall of the logit", ha="center", size=8.5)
    return figure


def plot_specificity(
    wave: str,
    leads: Sequence[str],
    spatial: Mapping[str, np.ndarray],
    temporal: Mapping[str, np.ndarray],
    *,
    chance: float,
    ceiling: Sequence[float],
    window_ms: tuple[float, float],
    times_ms: np.ndarray,
    beat: np.ndarray,
) -> Figure:
    """Draw what Wagner et al.'s Figure 3 shows of one wave: spatial boxes by lead, and the mean map of a beat.

    spatial    method to quantiles 5, 25, 50, 75, 95 % [5, lead]
    temporal   method to quartiles of the curve of norm 1 [3, time]
    ceiling    of each lead: what dependent limb leads leave
    """
    width, height = 250.0, 84.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((14 / width, 12 / height, 120 / width, 58 / height))
        _boxes(axes, leads, spatial, chance, ceiling)
        axes.set_title(f"{wave} amplitude: spatial specificity by target lead", pad=6)
        curves = figure.add_axes((150 / width, 12 / height, 68 / width, 42 / height))
        curves.axvspan(*window_ms, color=OKABE_ITO["yellow"], alpha=0.25, lw=0)
        for index, (method, quartiles) in enumerate(temporal.items()):
            colour, dash = line_style(index)
            curves.plot(times_ms, quartiles[1], color=colour, ls=dash, lw=1.3)
            curves.fill_between(times_ms, quartiles[0], quartiles[2], color=colour, alpha=0.15, lw=0)
            figure.text(222 / width, (66 - 5.2 * index) / height, printable(method, 24), color=colour, size=8)
        curves.set_xlabel("ms from the R peak; the wave itself is shaded")
        curves.set_ylabel("relevance")
        reference = figure.add_axes((150 / width, 60 / height, 68 / width, 12 / height), sharex=curves)
        reference.plot(times_ms, beat, color=INK, lw=0.9)
        reference.axis("off")
        reference.set_title("Mean map of a beat, median and quartiles", pad=4)
    return figure


def _boxes(axes: Axes, leads: Sequence[str], spatial: Mapping[str, np.ndarray], chance: float,
           ceiling: Sequence[float]) -> None:  # fmt: skip
    step = 0.8 / max(1, len(spatial))
    for index, (_, q) in enumerate(spatial.items()):
        colour, _ = line_style(index)
        at = np.arange(len(leads)) - 0.4 + step * (index + 0.5)
        axes.vlines(at, q[0], q[4], color=colour, lw=0.7)
        axes.bar(at, q[3] - q[1], step * 0.8, bottom=q[1], color=colour, alpha=0.55, lw=0)
        axes.hlines(q[2], at - 0.4 * step, at + 0.4 * step, color=INK, lw=0.9)
    axes.axhline(chance, color=QUIET, lw=0.9, ls=DASHES)
    axes.text(len(leads) - 0.5, chance, "chance ", size=7.5, color=QUIET, ha="right", va="bottom")
    axes.hlines(ceiling, np.arange(len(leads)) - 0.45, np.arange(len(leads)) + 0.45, color=INK, lw=0.8, ls=":")
    axes.set_xticks(range(len(leads)), leads)
    axes.set_ylim(0, 1.05)
    axes.set_xlim(-0.6, len(leads) - 0.4)
    axes.text(-0.45, 1.02, "dotted: what dependent limb leads leave", size=7.5, color=QUIET, va="bottom")


def plot_cross_correlation(leads: Sequence[str], crossed: Sequence[float], spatial: Mapping[str, Any]) -> Figure:
    """Draw each lead's correlation with the others against its specificity (the paper's Figure 9 against Figure 3)."""
    width, height = 130.0, 74.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((14 / width, 13 / height, 80 / width, 54 / height))
        for index, (method, values) in enumerate(spatial.items()):
            colour, _ = line_style(index)
            axes.plot(crossed, values, "o^sDvP"[index % 6], color=colour, ms=4)
            figure.text(98 / width, (62 - 5.2 * index) / height, printable(method, 24), color=colour, size=8)
        first = next(iter(spatial.values()))
        for lead, x, y in zip(leads, crossed, first, strict=True):
            axes.annotate(lead, (x, y), xytext=(3, 3), textcoords="offset points", size=7, color=QUIET)
        axes.set_xlabel("sum of |correlation| with the other leads")
        axes.set_ylabel("median spatial specificity")
    return figure
