# SPDX-License-Identifier: Apache-2.0
"""Pictures of averaged maps: lead x segment with the largest cells numbered, and the usual beat with its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecglens.errors import UsageError, printable
from ecglens.plotting.style import INK, PAPER, QUIET, SIGNED, UNSIGNED, ecglens_style, new_figure

TOP = 7  # cells that are numbered
CELL_W_MM, CELL_H_MM = 7.2, 6.0
LEFT_MM, TOP_MM, BOTTOM_MM, RIGHT_MM = 13.0, 32.0, 20.0, 5.0
_SCALE_END = 0.99  # quantile of the cells at which the colours end


def plot_segments(
    leads: Sequence[str], cells: Sequence[str], values: np.ndarray, rank: np.ndarray, *, title: str, unit: str,
    outlined: np.ndarray | None = None, signed: bool = False, foot: str = "",
) -> Figure:  # fmt: skip
    """Draw values [lead, cell] as heat; NaN is hatched, which is not zero; the seven largest are numbered.

    outlined   cells to frame [lead, cell], such as those that are surely more than chance
    signed     blue for negative, orange for positive; else from nothing to strong
    """
    values = np.asarray(values, float)
    if values.shape != (len(leads), len(cells)) or not values.size:
        raise UsageError("plot_segments", "values", f"shape {values.shape}", f"[{len(leads)}, {len(cells)}], not empty")
    width = LEFT_MM + CELL_W_MM * len(cells) + RIGHT_MM
    height = TOP_MM + CELL_H_MM * len(leads) + BOTTOM_MM
    end = _end(values)
    colours = SIGNED if signed else UNSIGNED
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((
            LEFT_MM / width, BOTTOM_MM / height, CELL_W_MM * len(cells) / width, CELL_H_MM * len(leads) / height,
        ))  # fmt: skip
        axes.imshow(values, cmap=colours, vmin=-end if signed else 0.0, vmax=end, aspect="auto")
        _dress(axes, leads, cells)
        for r, c in np.argwhere(~np.isfinite(values)).tolist():
            axes.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, fill=False, hatch="////", ec=QUIET, lw=0, alpha=0.5))
        for r, c in np.argwhere(np.nan_to_num(rank, nan=np.inf) <= TOP).tolist():
            dark = abs(values[r, c]) > 0.7 * end
            axes.text(c, r, f"{rank[r, c]:.0f}", ha="center", va="center", size=9, weight="bold",
                      color=PAPER if dark else INK)  # fmt: skip
        for r, c in np.argwhere(outlined if outlined is not None else np.zeros(values.shape, bool)).tolist():
            axes.add_patch(Rectangle((c - 0.46, r - 0.44), 0.92, 0.88, fill=False, ec=INK, lw=0.8))
        figure.text(3 / width, 1 - 5 / height, printable(title, 110), size=10, weight="bold", va="center")
        _draw_scale(figure, colours, end, signed, unit)
        if foot:
            figure.text((LEFT_MM + 62) / width, 8.5 / height, printable(foot, 150), size=7.5, color=QUIET, va="center")
    return figure


def plot_beats(
    leads: Sequence[str], ms: np.ndarray, trace: Mapping[str, np.ndarray], values: np.ndarray, *, title: str, unit: str
) -> Figure:
    """Draw the median beat of each lead, coloured by the mean absolute map, over the band of the records.

    ms      of each phase [phase]
    trace   mean_beat, median_beat, band_low, band_high, in mV [lead, phase]
    values  [lead, phase]; NaN is grey
    """
    n_columns, cell_w, cell_h, left, top, bottom = 4, 56.0, 34.0, 13.0, 15.0, 22.0
    n_rows = -(-len(leads) // n_columns)
    width, height = left + n_columns * cell_w, top + n_rows * cell_h + bottom
    end = _end(values)
    low, high = float(trace["band_low"].min()), float(trace["band_high"].max())
    with ecglens_style():
        figure = new_figure(width, height)
        for k, lead in enumerate(leads):
            column, row = k // n_rows, k % n_rows  # limb leads first, as on paper
            where = (left + column * cell_w, height - top - (row + 1) * cell_h + 5.0)
            axes = figure.add_axes((where[0] / width, where[1] / height, (cell_w - 6) / width, (cell_h - 7) / height))
            axes.fill_between(ms, trace["band_low"][k], trace["band_high"][k], color="#000000", alpha=0.08, lw=0)
            axes.plot(ms, trace["mean_beat"][k], color=QUIET, lw=0.7, ls=":")
            _coloured(axes, ms, trace["median_beat"][k], values[k], end)
            axes.set_xlim(ms[0], ms[-1])
            axes.set_ylim(low, high)
            axes.axvline(0, color=QUIET, lw=0.4)
            axes.text(0.02, 0.9, printable(lead, 8), transform=axes.transAxes, weight="bold", size=8.5)
            axes.tick_params(labelsize=7, labelbottom=row == n_rows - 1, labelleft=column == 0)
        figure.text(3 / width, 1 - 5 / height, printable(title, 110), size=10, weight="bold", va="center")
        figure.text(0.5, 13.5 / height, "ms from the beat; mV from the median of each beat", ha="center", size=8)
        figure.text(
            (left + 70) / width, 5 / height, "Line: median beat, coloured by the mean absolute map. Dotted: mean beat. "
            "Grey: 90 % of the records.", size=7.5, color=QUIET, va="center",
        )  # fmt: skip
        _draw_scale(figure, UNSIGNED, end, False, unit, at_mm=6.5)
    return figure


def _coloured(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, end: float) -> None:
    """Draw a line whose pieces have the colours of `values`, over a thin dark one."""
    axes.plot(x, y, color=INK, lw=0.5, zorder=2)
    points = np.stack([x, y], axis=1)
    known = np.isfinite(values[:-1])
    pieces = np.stack([points[:-1], points[1:]], axis=1)[known]
    line = LineCollection(list(pieces), cmap=UNSIGNED, norm=Normalize(0, end), lw=3.2, zorder=1, capstyle="butt")
    line.set_array(values[:-1][known])
    axes.add_collection(line, autolim=False)


def _end(values: np.ndarray) -> float:
    known = np.abs(values[np.isfinite(values)])
    return max(float(np.quantile(known, _SCALE_END)), 1e-12) if known.size else 1.0


def _dress(axes: Axes, leads: Sequence[str], cells: Sequence[str]) -> None:
    axes.set_yticks(range(len(leads)), [printable(lead, 8) for lead in leads])
    names = [printable(name.replace("_", " "), 24) for name in cells]
    axes.set_xticks(range(len(cells)), names, rotation=55, ha="left", rotation_mode="anchor", size=8)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(-0.5, len(cells)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(leads)), minor=True)
    axes.grid(which="minor", color=PAPER, lw=0.8)
    axes.tick_params(which="minor", length=0, top=False, bottom=False, left=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_scale(figure: Figure, colours: Colormap, end: float, signed: bool, unit: str, at_mm: float = 8.0) -> None:
    width, height = figure.get_figwidth() * 25.4, figure.get_figheight() * 25.4
    axes = figure.add_axes((LEFT_MM / width, at_mm / height, 45.0 / width, 3.0 / height), label="scale")
    first = -end if signed else 0.0
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=colours, aspect="auto", extent=(first, end, 0, 1))
    axes.set_yticks([])
    ticks = [first, 0.0, end] if signed else [0.0, end]
    axes.set_xticks(ticks, [f"{tick:.2g}".replace("-", "\u2212") for tick in ticks], size=7.5)
    axes.text(first, 1.25, printable(unit, 60), size=7.5, va="bottom", clip_on=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
