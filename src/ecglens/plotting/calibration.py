# SPDX-License-Identifier: Apache-2.0
"""Whether probabilities may be believed and decisions pay: reliability, decision curves, labels that come together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecglens.errors import UsageError, printable
from ecglens.plotting.curves import DASHES
from ecglens.plotting.style import INK, OKABE_ITO, PAPER, QUIET, UNSIGNED, ecglens_style, new_figure

_PER_ROW, _PANEL, _GAP = 3, 48.0, 14.0  # panels in a row; side of a panel and space between two, in mm
_COUNTS_UP_TO = 12  # classes, beyond which counts do not fit into the cells


def plot_reliability(curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]]) -> Figure:
    """Draw what was said against what was so, a panel per class.

    curves   class -> (mean probability [bin], observed share [bin], its low, its high, a line of text)
    """
    with ecglens_style():
        figure, panels = _panels(list(curves), "Probability said", "Share with the label")
        for axes, (said, observed, low, high, text) in zip(panels, curves.values(), strict=True):
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            axes.plot([0, 1], [0, 1], label="as said", color=QUIET, lw=0.9, ls=DASHES, zorder=1.5)
            axes.vlines(said, low, high, color=OKABE_ITO["blue"], lw=1.2, label="interval")
            axes.plot(said, observed, "o-", color=OKABE_ITO["blue"], ms=3.5, lw=0.8, label="observed")
            axes.text(0, 1.03, text, transform=axes.transAxes, size=7.5, color=QUIET, va="bottom")
    return figure


def plot_decision_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
    """Draw net benefit against the probability from which one acts, a panel per class.

    curves   class -> (threshold [point], net benefit, its low, its high, net benefit of treating all)
    """
    with ecglens_style():
        figure, panels = _panels(list(curves), "Acting from this probability on", "Net benefit per record")
        for axes, (threshold, benefit, low, high, everyone) in zip(panels, curves.values(), strict=True):
            top = max(float(np.nanmax([*high, *benefit, *everyone])), 0.02)  # few patients: no interval
            axes.set_xlim(0, float(threshold[-1]))
            axes.set_ylim(-0.25 * top, 1.12 * top)
            axes.axhline(0, label="treat none", color=QUIET, lw=0.9)
            axes.plot(threshold, everyone, label="treat all", color=INK, lw=0.9, ls=DASHES)
            axes.fill_between(threshold, low, high, color=OKABE_ITO["blue"], alpha=0.22, lw=0, label="interval")
            axes.plot(threshold, benefit, color=OKABE_ITO["blue"], lw=1.5, label="by the network")
        words = "dashed: treat everyone\nthin line: treat no one"
        panels[0].text(0.98, 0.98, words, transform=panels[0].transAxes, size=7, color=QUIET, ha="right", va="top")
    return figure


def plot_cooccurrence(classes: Sequence[str], counts: np.ndarray, totals: np.ndarray, columns: str) -> Figure:
    """Draw how often row class and column class come together, as counts and shades of the share of the row.

    counts    [class, class]
    totals    [class] records that have the row's label
    columns   what a column means, written above
    """
    n = len(classes)
    if not n or counts.shape != (n, n) or totals.shape != (n,):
        raise UsageError("plot_cooccurrence", "counts", f"shape {counts.shape}", f"({n}, {n}), n > 0")
    cell = 17.0 if n <= _COUNTS_UP_TO else 7.0
    left = 10.0 + 1.9 * min(max(len(name) for name in classes), 30)
    top = 18.0 if n <= _COUNTS_UP_TO else 14.0 + 1.9 * min(max(len(name) for name in classes), 30)
    width, height = left + n * cell + 8.0, top + n * 0.7 * cell + 4.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((left / width, 4.0 / height, n * cell / width, n * 0.7 * cell / height))
        axes.set_xlim(0, n)
        axes.set_ylim(n, 0)
        for side in axes.spines.values():
            side.set_visible(False)
        names = [printable(name, 30) for name in classes]
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, pad=2)
        axes.set_xticks(np.arange(n) + 0.5, names, rotation=0 if n <= _COUNTS_UP_TO else 90)
        axes.set_yticks(np.arange(n) + 0.5, names)
        axes.set_title(columns, pad=16 if n <= _COUNTS_UP_TO else 6, size=9)
        for (row, column), count in np.ndenumerate(counts):
            share = count / totals[row] if totals[row] else 0.0
            axes.add_patch(Rectangle((column, row), 1, 1, fc=UNSIGNED(0.65 * share), ec=PAPER, lw=1.5))
            if n <= _COUNTS_UP_TO:
                axes.text(column + 0.5, row + 0.38, f"{int(count):,}", ha="center", va="center", size=9)
                axes.text(column + 0.5, row + 0.74, f"{share:.0%}", ha="center", va="center", size=7)
    return figure


def plot_learning_curve(
    sizes: Sequence[int], values: Sequence[float], lows: Sequence[float], highs: Sequence[float], ylabel: str
) -> Figure:
    """Draw a figure of networks that were trained on more and more patients, with its interval at each size."""
    width, height = 130.0, 80.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((16 / width, 14 / height, 106 / width, 58 / height))
        axes.vlines(sizes, lows, highs, color=OKABE_ITO["blue"], lw=1.4, label="interval")
        axes.plot(sizes, values, "o-", color=OKABE_ITO["blue"], ms=4.5, lw=1.0, label="value")
        axes.set_xscale("log")
        axes.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("Training records")
        axes.set_ylabel(ylabel)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(f"{value:.3f}", (size, value), xytext=(5, -10), textcoords="offset points", size=8)
        axes.margins(x=0.08, y=0.12)
    return figure


def _panels(names: Sequence[str], xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """Return a square panel per class, three in a row, with names above and labels at the outer edge."""
    if not names:
        raise UsageError("panels", "classes", "none", "at least one")
    rows = math.ceil(len(names) / _PER_ROW)
    across, down = _PANEL + _GAP, _PANEL + _GAP + 7.0
    width, height = 16.0 + min(len(names), _PER_ROW) * across, 4.0 + rows * down
    figure, panels = new_figure(width, height), []
    for index, name in enumerate(names):
        row, column = divmod(index, _PER_ROW)
        left, bottom = 16.0 + column * across, height - (row + 1) * down + 10.0
        axes = figure.add_axes((left / width, bottom / height, _PANEL / width, _PANEL / height))
        axes.set_title(printable(name, 20), pad=14, weight="bold")
        axes.set_xlabel(xlabel, size=8)
        axes.tick_params(labelsize=7.5)
        if column == 0:
            axes.set_ylabel(ylabel, size=8)
        panels.append(axes)
    return figure, panels
