# SPDX-License-Identifier: Apache-2.0
"""Curves and tables of an evaluation, each with the line that chance would draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecglens.errors import UsageError, printable
from ecglens.plotting.style import (
    INK,
    OKABE_ITO,
    PAPER,
    QUIET,
    UNSIGNED,
    ecglens_style,
    line_style,
    new_figure,
)

DASHES = (0, (4, 3))  # of every chance line


def plot_roc(curves: Mapping[str, tuple[np.ndarray, np.ndarray, str]]) -> Figure:
    """Draw ROC curves: class name to (false-positive rate, true-positive rate, text such as "0.89 [0.87, 0.91]")."""
    with ecglens_style():
        figure, axes = _square("False-positive rate (1 \u2212 specificity)", "True-positive rate (sensitivity)")
        axes.plot([0, 1], [0, 1], label="chance", color=QUIET, lw=0.9, ls=DASHES, zorder=1.5)
        axes.text(0.62, 0.58, "chance", color=QUIET, size=8, rotation=45, ha="left", va="top")
        for index, (name, (fpr, tpr, _)) in enumerate(curves.items()):
            colour, dash = line_style(index)
            axes.plot(fpr, tpr, color=colour, ls=dash, lw=1.5, label=name)
        heights = {name: float(np.trapezoid(tpr, fpr)) for name, (fpr, tpr, _) in curves.items()}
        _name_curves(axes, heights, {name: text for name, (_, _, text) in curves.items()})
    return figure


def plot_precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray, float, str]]) -> Figure:
    """Draw precision-recall curves: class name to (recall, precision, prevalence, text); chance is the prevalence."""
    with ecglens_style():
        figure, axes = _square("Recall (sensitivity)", "Precision (positive predictive value)")
        for index, (name, (recall, precision, prevalence, _)) in enumerate(curves.items()):
            colour, dash = line_style(index)
            # Steps: between two thresholds no precision on a straight line is ever reached.
            axes.plot(recall, precision, color=colour, ls=dash, lw=1.5, label=name, drawstyle="steps-pre")
            axes.plot([0, 1], [prevalence] * 2, label=f"chance {name}", color=colour, lw=0.9, ls=DASHES, zorder=1.5)
        heights = {name: _area(recall, precision) for name, (recall, precision, _, _) in curves.items()}
        texts = {name: f"{text}\nchance {prevalence:.2f}" for name, (_, _, prevalence, text) in curves.items()}
        _name_curves(axes, heights, texts)
    return figure


def plot_confusion(tables: Mapping[str, np.ndarray]) -> Figure:
    """Draw one 2 x 2 table per class, counts [truth, prediction] in the order absent, present, with row percentages."""
    if not tables:
        raise UsageError("plot_confusion", "tables", "none", "at least one class")
    columns = min(len(tables), 3)
    rows = math.ceil(len(tables) / columns)
    cell_w, cell_h = 49.0, 42.0
    width, height = 17.0 + columns * cell_w, 1.0 + rows * cell_h
    with ecglens_style():
        figure = new_figure(width, height)
        for index, (name, table) in enumerate(tables.items()):
            row, column = divmod(index, columns)
            left, bottom = 22.0 + column * cell_w, height - row * cell_h - 39.0
            axes = figure.add_axes((left / width, bottom / height, 42.0 / width, 26.0 / height))
            _draw_confusion(axes, name, np.asarray(table), first=column == 0)
    return figure


def plot_intervals(
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    chance: float | Sequence[float] | None,
    xlabel: str,
) -> Figure:
    """Draw a dot and its interval per class, top to bottom; `chance` is one line for all, or one value per class.

    A value that is NaN is written as "not defined".
    """
    lengths = {len(names), len(values), len(lows), len(highs)}
    if len(lengths) != 1 or not names:
        raise UsageError("plot_intervals", "names, values, lows, highs", f"lengths {sorted(lengths)}", "equal, not 0")
    left, right = 8.0 + 1.9 * min(max(len(name) for name in names), 30), 42.0
    width, height = left + 90.0 + right, 16.0 + 7.0 * len(names)
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((left / width, 12.0 / height, 90.0 / width, 7.0 * len(names) / height))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), [printable(name, 30) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(xlabel)
        _draw_chance(axes, chance, len(names))
        for row, (value, low, high) in enumerate(zip(values, lows, highs, strict=True)):
            _draw_interval(axes, row, value, low, high)
        axes.margins(x=0.06)
    return figure


def plot_history(
    epochs: Sequence[int], train_loss: Sequence[float], valid_auroc: Sequence[float], best_epoch: int
) -> Figure:
    """Draw training loss and validation AUROC (chance 0.5) per epoch, and mark the epoch that was kept."""
    width, height = 170.0, 66.0
    with ecglens_style():
        figure = new_figure(width, height)
        for index, (title, series, colour) in enumerate(
            [("Training loss", train_loss, "blue"), ("Validation AUROC", valid_auroc, "vermillion")]
        ):
            axes = figure.add_axes(((14 + 84 * index) / width, 13 / height, 68 / width, 43 / height))
            axes.plot(epochs, series, color=OKABE_ITO[colour], lw=1.5, marker=".", ms=4, label=title)
            axes.set_title(title, pad=8)
            axes.set_xlabel("Epoch")
            axes.locator_params(axis="x", integer=True, nbins=6)
            if index:
                axes.axhline(0.5, label="chance", color=QUIET, lw=0.9, ls=DASHES, zorder=1.5)
                axes.text(
                    1,
                    0.5,
                    "chance ",
                    color=QUIET,
                    size=8,
                    ha="right",
                    va="bottom",
                    transform=axes.get_yaxis_transform(),
                )
                axes.set_ylim(min(0.45, np.nanmin(series) - 0.02), 1.0)
            axes.axvline(best_epoch, color=INK, lw=0.6, label="best epoch", zorder=1)
            axes.text(
                best_epoch, 1.01, f"kept: {best_epoch}", size=8, ha="center", transform=axes.get_xaxis_transform()
            )
    return figure


def _square(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return axes of 90 x 90 mm from 0 to 1 with room for names on the right."""
    width, height = 165.0, 110.0
    figure = new_figure(width, height)
    axes = figure.add_axes((16 / width, 14 / height, 90 / width, 90 / height))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.005)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure, axes


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """Return the area under a curve whose x may run either way."""
    return abs(float(np.trapezoid(y, x)))


def _name_curves(axes: Axes, heights: Mapping[str, float], texts: Mapping[str, str]) -> None:
    """Write each curve's name and text beside the plot, the highest curve on top, in its own colour and dash."""
    names = list(heights)
    lines = max((text.count("\n") for text in texts.values()), default=0) + 2
    step = min(1.0 / max(len(names), 1), 0.045 * lines)
    for place, name in enumerate(sorted(names, key=lambda n: (-np.nan_to_num(heights[n]), names.index(n)))):
        colour, dash = line_style(names.index(name))
        y = 1.0 - place * step
        axes.plot(
            [1.03, 1.08], [y - 0.016] * 2, color=colour, ls=dash, lw=1.8, transform=axes.transAxes, clip_on=False,
            label=f"key {name}",
        )  # fmt: skip
        axes.text(1.1, y, printable(name, 34), transform=axes.transAxes, size=8.5, weight="bold", va="top")
        if step > 0.07:
            axes.text(1.1, y - 0.042, texts[name], transform=axes.transAxes, size=8, va="top", linespacing=1.25)
        else:
            axes.text(1.28, y, texts[name].replace("\n", ", "), transform=axes.transAxes, size=7, va="top")


def _draw_confusion(axes: Axes, name: str, table: np.ndarray, first: bool) -> None:
    """Draw one table; the shade is the share of the row."""
    if table.shape != (2, 2):
        raise UsageError("plot_confusion", f"table of {name}", f"shape {table.shape}", "(2, 2)")
    axes.set_xlim(0, 2)
    axes.set_ylim(2, 0)
    axes.set_title(printable(name, 24), pad=14, weight="bold")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, pad=1)
    axes.set_xticks([0.5, 1.5], ["called absent", "called present"], size=7)
    axes.set_yticks([0.5, 1.5], ["absent", "present"] if first else ["", ""], size=8)
    for (truth, called), count in np.ndenumerate(table):
        total = table[truth].sum()
        share = count / total if total else 0.0
        patch = Rectangle((called, truth), 1, 1, fc=UNSIGNED(0.65 * share), ec=PAPER, lw=1.5)
        axes.add_patch(patch)
        axes.text(called + 0.5, truth + 0.42, f"{int(count):,}", ha="center", va="center", size=10)
        words = f"{share:.0%} of row" if total else "none"
        axes.text(called + 0.5, truth + 0.76, words, ha="center", va="center", size=7)


def _draw_chance(axes: Axes, chance: float | Sequence[float] | None, n_rows: int) -> None:
    """Draw the chance line: over all rows, or a dash in each."""
    if chance is None:
        return
    each = [float(chance)] * n_rows if isinstance(chance, (int, float)) else [float(value) for value in chance]
    if len(each) != n_rows:
        raise UsageError("plot_intervals", "chance", f"{len(each)} values", f"one, or one per row ({n_rows})")
    for row, value in enumerate(each):
        axes.plot([value, value], [row - 0.5, row + 0.5], label="chance", color=QUIET, lw=0.9, ls=DASHES, zorder=1.5)
    axes.annotate(
        "chance", xy=(each[0], -0.5), xytext=(0, 2), textcoords="offset points", size=8, color=QUIET, ha="center"
    )


def _draw_interval(axes: Axes, row: int, value: float, low: float, high: float) -> None:
    """Draw one dot with its interval, and both as text at the right edge."""
    across = axes.get_yaxis_transform()
    if not np.isfinite(value):
        axes.text(1.03, row, "not defined", transform=across, va="center", size=8.5, color=QUIET)
        return
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [row, row], color=OKABE_ITO["blue"], lw=1.6, solid_capstyle="butt", label="interval")
    axes.plot([value], [row], "o", color=OKABE_ITO["blue"], ms=5, label="value")
    words = f"{value:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite(low) and np.isfinite(high) else f"{value:.3f}"
    axes.text(1.03, row, words, transform=across, va="center", size=8.5)
