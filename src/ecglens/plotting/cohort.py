# SPDX-License-Identifier: Apache-2.0
"""Pictures of a cohort: how common each label is, which stand together, who the people are, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ecglens.errors import UsageError, printable
from ecglens.plotting.style import (
    INK,
    OKABE_ITO,
    PAPER,
    POINTS_PER_MM,
    QUIET,
    UNSIGNED,
    ecglens_style,
    new_figure,
)

BAR = OKABE_ITO["sky blue"]
WIDTH_MM = 130.0  # a phone can still show it
ROW_MM = 6.0
MOST_ROWS = 20  # bars of one picture where names are many and few matter (devices, sites)
MOST_CLASSES = 45  # rows and columns of a heat map in which counts can still be read
LONGEST_NAME_MM = 45.0
STEPS = (1, 2, 5, 10)  # between ticks
ROOMY, TIGHT = 15.0, 5.4  # side of a cell of the heat map with few and with many classes, in mm


def plot_class_frequencies(
    names: Sequence[str], shares: Sequence[float], lows: Sequence[float], highs: Sequence[float], counts: Sequence[int]
) -> Figure:
    """Draw the share of records that carry each label, with its interval; the most frequent on top.

    Shares and bounds are 0 to 1; NaN is written as "not known".
    """
    lengths = {len(names), len(shares), len(lows), len(highs), len(counts)}
    if len(lengths) != 1 or not names:
        raise UsageError("plot_class_frequencies", "lengths", sorted(lengths), "equal, not 0")
    order = sorted(range(len(names)), key=lambda k: (-np.nan_to_num(shares[k], nan=-1.0), k))
    words = [
        (f"{counts[k]:,}", f"{shares[k]:.1%} [{lows[k] * 100:.1f}, {highs[k] * 100:.1f}]")
        if np.isfinite(shares[k])
        else ("", "not known")
        for k in order
    ]
    with ecglens_style():
        figure, axes = _rows([names[k] for k in order], words, "Share of records with the label, 95 % interval")
        for row, k in enumerate(order):
            if np.isfinite(shares[k]):
                axes.barh(row, shares[k], height=0.62, color=BAR, label=str(names[k]))
                axes.plot([lows[k], highs[k]], [row, row], color=INK, lw=1.2, solid_capstyle="butt", label="interval")
        axes.set_xlim(0, min(1.0, 1.04 * max(np.nan_to_num(highs).max(), 0.01)))
        axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    return figure


def plot_counts(counts: Mapping[str, int], xlabel: str, total: int | None = None, most: int = MOST_ROWS) -> Figure:
    """Draw a bar per value, in the order given; beyond `most` the rest is one paler bar.

    total   what the shares beside the bars are of; None: of the sum
    """
    if not counts or min(counts.values()) < 0:
        raise UsageError("plot_counts", "counts", dict(counts), "one or more, none negative")
    whole = sum(counts.values()) if total is None else total
    shown, rest = list(counts.items()), 0
    if len(shown) > most:
        shown, others = shown[: most - 1], shown[most - 1 :]
        rest = len(others)
        shown.append((f"{rest} others", sum(n for _, n in others)))
    words = [(f"{n:,}", f"{n / whole:.1%}" if whole else "") for _, n in shown]
    with ecglens_style():
        figure, axes = _rows([name for name, _ in shown], words, xlabel)
        for row, (name, n) in enumerate(shown):
            paler = rest and row == len(shown) - 1
            axes.barh(row, n, height=0.62, color=BAR, alpha=0.4 if paler else 1.0, label=str(name))
        axes.set_xlim(0, max(1.04 * max(n for _, n in shown), 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    return figure


def plot_missing(missing: Mapping[str, int], n: int) -> Figure:
    """Draw for each field the share of the `n` records that lack it, on a scale from none to all."""
    if not missing or n < 1:
        raise UsageError("plot_missing", "missing", f"{len(missing)} fields of {n} records", "one or more of each")
    words = [(f"{count:,}", f"{count / n:.1%}") if count else ("0", "") for count in missing.values()]
    with ecglens_style():
        figure, axes = _rows(list(missing), words, "Share of records that lack it")
        for row, (name, count) in enumerate(missing.items()):
            axes.barh(row, 1.0, height=0.62, color=QUIET, alpha=0.1, label="all")
            axes.barh(row, count / n, height=0.62, color=OKABE_ITO["orange"], label=str(name))
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    return figure


def plot_labels_per_record(counts: Mapping[str, int]) -> Figure:
    """Draw how many records carry how many labels."""
    if not counts or sum(counts.values()) == 0:
        raise UsageError("plot_labels_per_record", "counts", dict(counts), "one record or more")
    width, height = 110.0, 70.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((20 / width, 14 / height, 86 / width, 48 / height))
        _columns(axes, list(counts), list(counts.values()), BAR)
        axes.set_xlabel("Labels on one record")
        axes.set_ylabel("Records")
    return figure


def plot_co_occurrence(names: Sequence[str], counts: np.ndarray) -> Figure:
    """Draw how many records carry two labels: counts [class, class], on the diagonal those that carry the one.

    The shade of a cell is the share of its row's records that also carry the column's label. Classes stand in the
    order given; at most `MOST_CLASSES` can be read.
    """
    table = np.asarray(counts)
    n = len(names)
    if n < 2 or n > MOST_CLASSES or table.shape != (n, n):
        allowed = f"2 to {MOST_CLASSES} names, [class, class]"
        raise UsageError("plot_co_occurrence", "names, counts", f"{n}, shape {table.shape}", allowed)
    side = float(np.clip(190.0 / n, TIGHT, ROOMY))
    size = 8.0 if side > 7 else 6.5
    shown = [_cut(name, size) for name in names]
    left = 6.0 + _name_mm(shown, size)
    width, height = max(left + n * side + 6.0, 120.0), left + n * side + 20.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((left / width, 20.0 / height, n * side / width, n * side / height))
        _grid_of_names(axes, shown, size, upright=side < 12 or max(map(len, shown)) > 6)
        axes.add_patch(Rectangle((0, 0), n, n, fc="#ffffff", lw=0))
        digits = max(len(str(int(table.max()))), 3)
        number_size = min(9.0, 0.86 * side * POINTS_PER_MM / (0.6 * digits))
        for (row, column), count in np.ndenumerate(table):
            if count or row == column:
                _draw_pair(axes, row, column, int(count), int(table[row, row]), side, number_size)
        _shade_legend(figure, left / width, 11.0 / height, 60.0 / width, 2.4 / height)
    return figure


def plot_ages(groups: Mapping[str, Sequence[int]], lower_ends: Sequence[int]) -> Figure:
    """Draw records per age group, a panel for each sex, on one scale.

    groups      sex -> records per age group
    lower_ends  where each group begins, in years; the last has no upper end
    """
    if not groups or any(len(values) != len(lower_ends) for values in groups.values()):
        raise UsageError("plot_ages", "groups", f"{len(groups)} of other lengths", f"{len(lower_ends)} numbers each")
    names = [f"{a}\u2013{b - 1}" for a, b in pairwise(lower_ends)]
    names.append(f"{lower_ends[-1]}+")
    colours = {"female": OKABE_ITO["orange"], "male": OKABE_ITO["blue"]}
    n, height = len(groups), 72.0
    panel = 50.0
    width = 18.0 + n * (panel + 6.0)
    top = max(max(values) for values in groups.values())
    with ecglens_style():
        figure = new_figure(width, height)
        for k, (sex, values) in enumerate(groups.items()):
            axes = figure.add_axes(((18 + k * (panel + 6)) / width, 18 / height, panel / width, 43 / height))
            _columns(axes, names, values, colours.get(sex, QUIET), top, upright=True, size=6.5)
            axes.set_title(f"{printable(sex, 20)}, {sum(values):,}", pad=8)
            axes.set_xlabel("Age in years")
            if k:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("Records")
    return figure


def plot_durations(seconds: Sequence[float]) -> Figure:
    """Draw how long the recordings are; the unit of the axis follows the longest."""
    values = np.asarray(seconds, float)
    if not len(values):
        raise UsageError("plot_durations", "seconds", "none", "one or more")
    unit, size = next((u, s) for u, s, limit in _UNITS if values.max() < limit)
    width, height = 120.0, 62.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((20 / width, 14 / height, 94 / width, 42 / height))
        axes.hist(values / size, bins=min(30, max(8, int(np.sqrt(len(values))))), color=BAR, ec=PAPER, lw=0.6)
        axes.set_xlabel(f"Length in {unit}")
        axes.set_ylabel("Records")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
        axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    return figure


_UNITS = (("seconds", 1.0, 300.0), ("minutes", 60.0, 2 * 3600.0), ("hours", 3600.0, float("inf")))


def _rows(names: Sequence[str], words: Sequence[tuple[str, str]], xlabel: str) -> tuple[Figure, Axes]:
    """Return axes with a row per name, names on the left and a count and its share on the right of it."""
    shown = [_cut(name, 8.5) for name in names]
    counts, shares = 3.0 + _name_mm([count for count, _ in words], 8.5), _name_mm([share for _, share in words], 8.5)
    left, right = 5.0 + _name_mm(shown, 8.5), counts + shares + 5.0
    height = 15.0 + ROW_MM * len(names)
    figure = new_figure(WIDTH_MM, height)
    across = (WIDTH_MM - left - right) / WIDTH_MM
    axes = figure.add_axes((left / WIDTH_MM, 12.0 / height, across, ROW_MM * len(names) / height))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), shown, size=8.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    edge = 1 + counts / (WIDTH_MM - left - right)
    after = edge + 2.5 / (WIDTH_MM - left - right)
    for row, (count, share) in enumerate(words):
        axes.text(edge, row, count, transform=axes.get_yaxis_transform(), va="center", ha="right", size=8.5)
        axes.text(after, row, share, transform=axes.get_yaxis_transform(), va="center", size=8.5)
    return figure, axes


def _columns(
    axes: Axes, names: Sequence[str], values: Sequence[int], colour: str, top: int | None = None, *,
    upright: bool = False, size: float = 8.0,
) -> None:  # fmt: skip
    """Draw upright bars with their counts; `top` is the highest bar of all panels."""
    axes.bar(range(len(names)), values, width=0.72, color=colour, label="records")
    axes.set_xticks(range(len(names)), names, size=8, rotation=90 if upright else 0)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0, 1.02 * max(max(values) if top is None else top, 1))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    for place, value in enumerate(values):
        if value:
            axes.annotate(f"{value:,}", (place, value), (0, 1.5), textcoords="offset points", ha="center", size=size)


def _grid_of_names(axes: Axes, names: Sequence[str], size: float, upright: bool) -> None:
    """Lay out a square of cells with names on the left and above."""
    n = len(names)
    axes.set_xlim(0, n)
    axes.set_ylim(n, 0)
    axes.set_yticks(np.arange(n) + 0.5, names, size=size)
    axes.set_xticks(np.arange(n) + 0.5, names, size=size, rotation=90 if upright else 0)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_pair(axes: Axes, row: int, column: int, count: int, total: int, side: float, size: float) -> None:
    """Draw one cell of `side` mm: the total on the diagonal, elsewhere a shade and the count, its share if it fits."""
    own = row == column
    share = count / total if total and not own else 0.0
    face = "#ece7e1" if own else UNSIGNED(0.85 * share)
    axes.add_patch(Rectangle((column, row), 1, 1, fc=face, ec=PAPER, lw=0.9 if side > 7 else 0.4))
    roomy = side > 12 and not own
    words = f"{count:,}" if side > 12 else str(count)
    axes.text(column + 0.5, row + (0.4 if roomy else 0.5), words, ha="center", va="center", size=size,
              weight="bold" if own else "normal")  # fmt: skip
    if roomy:
        told = "<1%" if share < 0.005 else f"{share:.0%}"
        axes.text(column + 0.5, row + 0.74, told, ha="center", va="center", size=6.5, color=INK)


def _shade_legend(figure: Figure, x: float, y: float, width: float, height: float) -> None:
    """Draw the scale of the heat map's shades."""
    axes = figure.add_axes((x, y, width, height))
    # The map is used up to 0.85, so that black numbers stay readable on the darkest cell.
    steps = UNSIGNED(np.linspace(0, 0.85, 256))[np.newaxis]
    axes.imshow(steps, aspect="auto", extent=(0, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"], size=7)
    axes.tick_params(length=2, pad=1)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel("Share of the row's records that also carry the column's label", size=7.5, loc="left", labelpad=2)


def _name_mm(names: Sequence[str], size: float) -> float:
    """Return how wide the longest of these texts will be at `size` points, in mm; never less than it is."""
    widths = [
        sum(1.1 if ord(c) > 0x2E7F else 0.75 if c.isupper() or c in "mw@%" else 0.6 for c in name) for name in names
    ]
    return max(widths) * size / POINTS_PER_MM


def _cut(name: str, size: float) -> str:
    """Return a name that is safe to print, shortened to what a picture has room for."""
    text = printable(name)
    if _name_mm([text], size) <= LONGEST_NAME_MM:
        return text
    while _name_mm([text + "..."], size) > LONGEST_NAME_MM:
        text = text[:-1]
    return text + "..."


def _percent(value: float, _: object = None) -> str:
    return f"{100 * value:g}%"


def _thousands(value: float, _: object = None) -> str:
    return f"{value:,.0f}"
