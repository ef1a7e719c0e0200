# SPDX-License-Identifier: Apache-2.0
"""Pictures of sub-types: the group on a plane, by truth and by cluster; mean beats with the places that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from ecglens.errors import printable
from ecglens.plotting.style import INK, LINE_COLOURS, OKABE_ITO, QUIET, ecglens_style, new_figure

MOST_ELLIPSES = 7
_MARKERS = "osD^v<>"
_ROW_MM = 46
_CLUSTERS = (INK, OKABE_ITO["vermillion"])


def plot_embedding(
    points: np.ndarray, clusters: Sequence[int], sublabels: Sequence[str], names: Sequence[str]
) -> Figure:
    """Draw the group on a plane [record, 2], by sub-label (left; empty: none of them) and by cluster (right)."""
    with ecglens_style():
        panels = [("by sub-label", [*names, ""], list(sublabels))] if names else []
        panels.append(("by cluster", [str(k) for k in sorted(set(clusters))], [str(k) for k in clusters]))
        figure = new_figure(88 * len(panels) + 6, 92)
        for j, (title, kinds, own) in enumerate(panels):
            axes = figure.add_axes((0.02 + j / len(panels), 0.04, 0.94 / len(panels), 0.8))
            for k, kind in enumerate(kinds):
                here = np.array([one == kind for one in own])
                if not here.any():
                    continue
                colour = "#b9b4ae" if kind == "" else LINE_COLOURS[k % len(LINE_COLOURS)]
                axes.plot(*points[here].T, _MARKERS[k % len(_MARKERS)], color=colour, ms=3.2, mew=0, alpha=0.8,
                          label=f"{printable(kind, 14) or 'neither'} ({here.sum()})")  # fmt: skip
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"The group, {title}", size=9.5, weight="bold", pad=16)
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.995), ncols=4, frameon=False, fontsize=7.5,
                        handletextpad=0.1, columnspacing=0.8)  # fmt: skip
    return figure


def plot_cluster_beats(
    beats: np.ndarray,
    bands: np.ndarray,
    fs: float,
    before_s: float,
    leads: Sequence[str],
    cells: Sequence[Mapping[str, Any]],
) -> Figure:
    """Draw the mean beats of the two largest clusters with their bands, and ellipses where they differ most surely.

    beats   [cluster, lead, phase] in mV; phase 0 lies `before_s` before the R peak
    bands   [low and high, cluster, lead, phase]
    cells   lead, start_ms, stop_ms, value, p: the surest first; ellipses for at most seven with p < 0.05
    """
    at = 1000 * (np.arange(beats.shape[2]) / fs - before_s)
    sure = [cell for cell in cells if cell["p"] is not None and cell["p"] < 0.05][:MOST_ELLIPSES]
    rows = -(-len(leads) // 4)
    tall = 18 + _ROW_MM * rows
    with ecglens_style():
        figure = new_figure(200, tall)
        for j, lead in enumerate(leads):
            column, row = divmod(j, rows)
            together = slice(column * rows, (column + 1) * rows)  # one scale for each column: limb leads are low
            low, high = float(bands[0, :2, together].min()), float(bands[1, :2, together].max())
            bottom = 1 - (16 + _ROW_MM * (row + 1) - 7) / tall
            axes = figure.add_axes((0.055 + column * 0.24, bottom, 0.192, (_ROW_MM - 10) / tall))
            axes.axhline(0, color=QUIET, lw=0.4)
            for c in range(min(2, len(beats))):
                axes.fill_between(at, bands[0, c, j], bands[1, c, j], color=_CLUSTERS[c], alpha=0.35, lw=0)
                axes.plot(at, beats[c, j], color=_CLUSTERS[c], lw=0.7, ls=("-", "--")[c], label=f"cluster {c + 1}")
            for cell in sure:
                if cell["lead"] == lead:
                    _ellipse(axes, cell, at, np.concatenate([bands[:, 0, j], bands[:, 1, j]]), high - low)
            axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
            axes.set_xlim(at[0], at[-1])
            axes.set_title(printable(lead, 8), size=8.5, pad=2)
            axes.tick_params(labelsize=6.5, pad=1.5)
            axes.set_xticks([-200, 0, 200, 400], ["\u2212200", "0", "200", "400 ms"] if row == rows - 1 else [])
        _heading(figure, tall, sure)
    return figure


def _ellipse(axes: Axes, cell: Mapping[str, Any], at: np.ndarray, traces: np.ndarray, height: float) -> None:
    """Draw one ellipse round the traces [trace, phase] in a cell, wide enough to be seen."""
    inside = (at >= cell["start_ms"]) & (at < cell["stop_ms"])
    if not inside.any():
        return
    low, high = float(traces[:, inside].min()), float(traces[:, inside].max())
    width = 2.0 * (cell["stop_ms"] - cell["start_ms"])
    tall = max(0.3 * height, 1.3 * (high - low))
    axes.add_patch(Ellipse(
        ((cell["start_ms"] + cell["stop_ms"]) / 2, (low + high) / 2), width, tall, facecolor="none",
        edgecolor=_more_in(cell), lw=1.5, zorder=5, clip_on=False,
    ))  # fmt: skip


def _more_in(cell: Mapping[str, Any]) -> str:
    return OKABE_ITO["orange"] if cell["value"] > 0 else OKABE_ITO["blue"]


def _heading(figure: Figure, tall: float, sure: Sequence[Mapping[str, Any]]) -> None:
    figure.text(0.02, 1 - 5 / tall, "Mean beats, mV, with 95 % bands", size=11, weight="bold", va="center")
    handles, names = figure.axes[0].get_legend_handles_labels()
    for colour, k in (("orange", 1), ("blue", 2)):
        if any(_more_in(cell) == OKABE_ITO[colour] for cell in sure):
            handles.append(Line2D([], [], ls="", marker="o", ms=7, mfc="none", mec=OKABE_ITO[colour], mew=1.4))
            names.append(f"more in cluster {k}")
    figure.legend(handles, names, loc="upper right", ncols=4, frameon=False, fontsize=8, handletextpad=0.4)
