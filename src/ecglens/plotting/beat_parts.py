# SPDX-License-Identifier: Apache-2.0
"""Parts of the beat, drawn: what networks look at over the mean beat, and what they lose without each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecglens.errors import UsageError
from ecglens.plotting.curves import DASHES
from ecglens.plotting.style import INK, QUIET, ecglens_style, line_style, new_figure

Curve = Mapping[str, np.ndarray]  # time, value, low, high


def plot_beat_attention(series: Mapping[str, Curve], peaks: Mapping[str, float]) -> Figure:
    """Draw the mean beat, and below it what the class token looks at, relative to a uniform look.

    series   `trace`, `attention`, `random weights` and `head 1` ...: time in s from R, value, low and high of each
    peaks    when P, Q, R, S and T are, in s from R
    """
    if "trace" not in series or "attention" not in series:
        raise UsageError("plot_beat_attention", "series", ", ".join(series), "trace and attention at least")
    width, height = 165.0, 118.0
    with ecglens_style():
        figure = new_figure(width, height)
        above = figure.add_axes((16 / width, 82 / height, 112 / width, 28 / height))
        below = figure.add_axes((16 / width, 13 / height, 112 / width, 64 / height), sharex=above)
        _banded(above, series["trace"], INK, "-", 1.2)
        above.set_ylabel("mean beat")
        above.tick_params(labelbottom=False)
        heads = [name for name in series if name.startswith("head")]
        for place, name in enumerate(heads):
            colour, dash = line_style(place)
            below.plot(1000 * series[name]["time"], series[name]["value"], color=colour, ls=dash, lw=0.8, label=name)
        if "random weights" in series:
            _banded(below, series["random weights"], QUIET, ":", 1.2)
        _banded(below, series["attention"], INK, "-", 2.0)
        below.axhline(1, color=QUIET, lw=0.9, ls=DASHES)
        below.set_ylim(bottom=0)
        below.set_xlabel("ms from R")
        below.set_ylabel("attention, 1 = uniform")
        for name, at in peaks.items():
            for axes in (above, below):
                axes.axvline(1000 * at, color=QUIET, lw=0.4)
            # Q, R and S lie close together: their letters take turns in height.
            above.text(1000 * at, 1.02 + 0.13 * (name == "R"), name, transform=above.get_xaxis_transform(), ha="center",
                       size=8, color=QUIET)  # fmt: skip
        _key(below, heads, "random weights" in series)
    return figure


def plot_flattening(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw what each attacker loses without each interval (filled), and without as much elsewhere (hollow).

    rows   interval, model, metric, value, low, high, control, control_low, control_high; a value of None is not drawn
    """
    if not rows:
        raise UsageError("plot_flattening", "rows", "none", "at least one")
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    each, width = 40.0, 165.0
    height = each * len(models) + 16
    with ecglens_style():
        figure, first = new_figure(width, height), None
        for place, model in enumerate(models):
            bottom = (13 + each * (len(models) - 1 - place)) / height
            axes = figure.add_axes((16 / width, bottom, 108 / width, (each - 9) / height), sharex=first)
            first = first or axes
            own = [row for row in rows if row["model"] == model]
            axes.set_title(f"{model}: loss of {own[0]['metric'].replace('_', ' ')}", size=9)
            _losses(axes, own)
            axes.tick_params(labelbottom=place == len(models) - 1)
        assert first is not None
        axes.set_xlabel("lost, with 95 % interval over people")
        for y, filled, label in ((0.9, True, "without the interval"), (0.72, False, "as much elsewhere")):
            colour = line_style(0)[0] if filled else QUIET
            first.plot([1.04], [y], transform=first.transAxes, clip_on=False, **_mark(colour, filled))
            first.text(1.07, y, label, transform=first.transAxes, size=8.5, va="center")
    return figure


def _losses(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    colour = line_style(0)[0]
    for place, row in enumerate(rows):
        for name, low, high, y in (("value", "low", "high", place - 0.15),
                                   ("control", "control_low", "control_high", place + 0.15)):  # fmt: skip
            if row[name] is None:
                continue
            shade = colour if name == "value" else QUIET
            if row[low] is not None:
                axes.plot([row[low], row[high]], [y, y], color=shade, lw=1.2)
            axes.plot([row[name]], [y], **_mark(shade, name == "value"))
    axes.axvline(0, color=QUIET, lw=0.9, ls=DASHES)
    axes.set_yticks(range(len(rows)), [str(row["interval"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _mark(colour: str, filled: bool) -> dict[str, Any]:
    return {"marker": "o", "ms": 5, "color": colour, "mfc": colour if filled else "white", "ls": "none"}


def _banded(axes: Axes, curve: Curve, colour: str, dash: str, weight: float) -> None:
    time = 1000 * np.asarray(curve["time"])
    axes.fill_between(time, curve["low"], curve["high"], color=colour, alpha=0.15, lw=0)
    axes.plot(time, curve["value"], color=colour, ls=dash, lw=weight)


def _key(axes: Axes, heads: Sequence[str], floor: bool) -> None:
    shown: list[tuple[str, str, Any, float]] = [("mean of heads", INK, "-", 2.0)]
    shown += [(name, *line_style(place), 0.8) for place, name in enumerate(heads)]
    shown += [("random weights", QUIET, ":", 1.2)] if floor else []
    shown += [("uniform", QUIET, DASHES, 0.9)]
    for place, (name, colour, dash, weight) in enumerate(shown):
        y = 0.97 - 0.075 * place
        axes.plot([1.03, 1.09], [y, y], color=colour, ls=dash, lw=weight, transform=axes.transAxes, clip_on=False)
        axes.text(1.11, y, name, transform=axes.transAxes, size=8.5, va="center")
