# SPDX-License-Identifier: Apache-2.0
"""Pictures of sub-types: the group on a plane, by truth and by cluster; mean beats with the places that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from ecglens.errors import printable
from ecglens.plotting.style import INK, LINE_COLOURS, OKABE_ITO, QUIET, ecglens_style, new_figure

MOST_ELLIPSES = 7
_MARKERS = "osD^v<>"


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
    beats: np.ndarray, fs: float, before_s: float, leads: Sequence[str], cells: Sequence[Mapping[str, Any]]
) -> Figure:
    """Draw the mean beats of the two largest clusters, and ellipses where they differ most surely.

    beats   [cluster, lead, phase] in mV; phase 0 lies `before_s` before the R peak
    cells   lead, start_ms, stop_ms, value, p: the surest first; ellipses for at most seven with p < 0.05
    """
    at = 1000 * (np.arange(beats.shape[2]) / fs - before_s)
    sure = [cell for cell in cells if cell["p"] is not None and cell["p"] < 0.05][:MOST_ELLIPSES]
    rows = -(-len(leads) // 4)
    with ecglens_style():
        figure = new_figure(200, 14 + 36 * rows)
        low, high = float(beats[:2].min()), float(beats[:2].max())
        for j, lead in enumerate(leads):
            column, row = divmod(j, rows)
            place = (
                0.055 + column * 0.238,
                1 - (12 + 36 * (row + 1) - 7) / (14 + 36 * rows),
                0.2,
                26 / (14 + 36 * rows),
            )
            axes = figure.add_axes(place)
            for c in range(min(2, len(beats))):
                axes.plot(at, beats[c, j], color=(INK, OKABE_ITO["vermillion"])[c], lw=1.1, ls=("-", "--")[c],
                          label=f"cluster {c + 1}")  # fmt: skip
            _ellipses(axes, [cell for cell in sure if cell["lead"] == lead], at, beats[:2, j], high - low)
            axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
            axes.set_title(printable(lead, 8), size=8.5, pad=2)
            axes.tick_params(labelsize=6.5, pad=1.5)
            axes.set_xticks([-200, 0, 200, 400], ["\u2212200", "0", "200", "400 ms"] if row == rows - 1 else [])
            if j == 0:
                figure.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=2, frameon=False, fontsize=8)
        figure.text(0.02, 1 - 5 / (14 + 36 * rows), "Mean beats, mV, and where they differ", size=11, weight="bold",
                    va="center")  # fmt: skip
    return figure


def _ellipses(
    axes: Axes, cells: Sequence[Mapping[str, Any]], at: np.ndarray, traces: np.ndarray, height: float
) -> None:
    for cell in cells:
        inside = (at >= cell["start_ms"]) & (at < cell["stop_ms"])
        middle = float(traces[:, inside].mean()) if inside.any() else 0.0
        colour = OKABE_ITO["orange"] if cell["value"] > 0 else OKABE_ITO["blue"]
        width = 2.2 * (cell["stop_ms"] - cell["start_ms"])
        axes.add_patch(Ellipse(
            ((cell["start_ms"] + cell["stop_ms"]) / 2, middle), width, 0.45 * height, facecolor="none",
            edgecolor=colour, lw=1.4,
        ))  # fmt: skip
    axes.axhline(0, color=QUIET, lw=0.4)
