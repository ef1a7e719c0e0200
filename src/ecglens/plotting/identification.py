# SPDX-License-Identifier: Apache-2.0
"""How surely people are found, drawn: against the size of the gallery, and one error against the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ecglens.errors import UsageError, printable
from ecglens.plotting.curves import DASHES
from ecglens.plotting.style import QUIET, ecglens_style, line_style, new_figure

Points = Mapping[str, Sequence[float]]  # size, value, low, high, chance
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def plot_gallery(curves: Mapping[str, Points], ranks: Mapping[str, int] | None = None) -> Figure:
    """Draw the share found among the first k against gallery size, with 95 % bands; chance is k / size.

    curves   attacker, or whatever a curve is called, to columns size, value, low, high, chance
    ranks    k of each curve; default 1
    """
    if not curves:
        raise UsageError("plot_gallery", "curves", "none", "at least one")
    with ecglens_style():
        ks = sorted({(ranks or {}).get(name, 1) for name in curves})
        among = "first (rank 1)" if ks == [1] else f"among the first {', '.join(map(str, ks))}"
        figure, axes = _axes("People in the gallery", f"Share found {among}")
        axes.set_ylim(0, 1.01)
        largest = max(max(points["size"]) for points in curves.values())
        axes.set_xscale("log")
        axes.set_xlim(1, largest * 1.05)
        axes.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if tick <= largest]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        sizes = np.geomspace(1, largest, 100)
        for k in ks:
            axes.plot(sizes, np.minimum(1.0, k / sizes), color=QUIET, lw=0.9, ls=DASHES, label="chance")
        for index, (name, points) in enumerate(curves.items()):
            colour, dash = line_style(index)
            axes.fill_between(points["size"], points["low"], points["high"], color=colour, alpha=0.15, lw=0)
            axes.plot(points["size"], points["value"], color=colour, ls=dash, lw=1.5, marker=".", ms=4, label=name)
        _key(axes, list(curves))
    return figure


def plot_det(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw the false non-match rate against the false match rate by attacker, both on logarithmic axes.

    curves   attacker to (FMR, FNMR); where they are 0 nothing can be drawn on such axes
    """
    if not curves:
        raise UsageError("plot_det", "curves", "none", "at least one")
    with ecglens_style():
        figure, axes = _axes("Strangers accepted (FMR)", "Own recordings refused (FNMR)")
        for setter in (axes.set_xscale, axes.set_yscale):
            setter("log")
        lowest = 1e-3
        axes.set_xlim(lowest, 1)
        axes.set_ylim(lowest, 1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator([0.001, 0.01, 0.1, 1]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
            axis.set_minor_locator(NullLocator())
        grid = np.geomspace(lowest, 1, 200)
        axes.plot(grid, 1 - grid, color=QUIET, lw=0.9, ls=DASHES, label="chance")
        axes.plot([lowest, 1], [lowest, 1], color=QUIET, lw=0.6, label="equal errors")
        axes.text(0.0013, 0.0019, "equal errors", color=QUIET, size=8, rotation=45)
        for index, (name, (fmr, fnmr)) in enumerate(curves.items()):
            colour, dash = line_style(index)
            shown = (np.asarray(fmr) > 0) & (np.asarray(fnmr) > 0)
            axes.plot(np.asarray(fmr)[shown], np.asarray(fnmr)[shown], color=colour, ls=dash, lw=1.5, label=name)
        _key(axes, list(curves))
    return figure


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    width, height = 165.0, 96.0
    figure = new_figure(width, height)
    axes = figure.add_axes((20 / width, 14 / height, 100 / width, 78 / height))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure, axes


def _key(axes: Axes, names: Sequence[str]) -> None:
    """Write names and their lines beside the plot, chance last."""
    for place, name in enumerate([*names, "chance"]):
        colour, dash = (QUIET, DASHES) if name == "chance" else line_style(place)
        y = 0.98 - 0.06 * place
        axes.plot(
            [1.03, 1.09], [y, y], color=colour, ls=dash, lw=1.6, transform=axes.transAxes, clip_on=False,
            label=f"key {name}",
        )  # fmt: skip
        axes.text(1.11, y, printable(name, 24), transform=axes.transAxes, size=8.5, va="center")
