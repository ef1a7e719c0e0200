# SPDX-License-Identifier: Apache-2.0
"""Pictures of states: their strip under the twelve leads, what each is like, what each adds, how many there are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecglens.ecg import ECG
from ecglens.errors import printable
from ecglens.plotting.ecg import LEFT_MM, MM_PER_S, PAGE_S, TITLE_MM, draw_paper, lay_out, sheet
from ecglens.plotting.style import (
    INK,
    LINE_COLOURS,
    OKABE_ITO,
    POINTS_PER_MM,
    QUIET,
    SIGNED,
    ecglens_style,
    line_style,
    new_figure,
)  # fmt: skip

STRIP_MM, DOUBT_MM, BELOW_MM = 6.5, 10.0, 37.0
MOST_PROFILES = 12
SHOWN_LEADS = ("II", "V2", "V5")
_HATCHES = ("", "////", "\\\\\\\\", "xxxx")
_PARTS = ("P", "PQ", "QRS", "ST", "T", "TP")


def state_colour(state: int) -> str:
    """Return the colour of a state, counted from 0; from the seventh on they come again, hatched, beside numbers."""
    return LINE_COLOURS[state % len(LINE_COLOURS)]


def state_hatch(state: int) -> str:
    """Return the hatching that tells states of one colour apart: none, lines one way, the other way, both."""
    return _HATCHES[state // len(LINE_COLOURS) % len(_HATCHES)]


def plot_state_strip(
    ecg: ECG, strip: np.ndarray, doubt: np.ndarray, grid_fs: float, title: str = "", step_ms: float = 0.0,
    field_ms: float = 0.0,
) -> Figure:  # fmt: skip
    """Draw an ECG on paper with its states below: 3 x 4 columns follow each other in time, as the strip does.

    strip, doubt       state from 0, -1 for none, and uncertainty 0 to 1, [time] at `grid_fs` Hz from the ECG's start
    step_ms, field_ms  between steps of the network, and what a step sees
    """
    paper = lay_out(ecg)
    with ecglens_style():
        figure, axes = sheet(paper, above_mm=TITLE_MM, below_mm=BELOW_MM)
        draw_paper(axes, paper)
        axes.text(5, paper.height + 3, printable(title, 110), size=11, weight="bold", va="baseline")
        n = min(len(strip), int(PAGE_S * grid_fs))
        _draw_strip(axes, strip[:n], grid_fs, -8.0)
        _draw_doubt(axes, doubt[:n], grid_fs, -8.0 - STRIP_MM - 2.5)
        words = "Numbers: states of the network, for all leads together. Below: how unsure the membership is, 0 to 1."
        if field_ms:
            words += f" One step every {step_ms:,.0f} ms; each sees {field_ms:,.0f} ms around it."
        axes.text(LEFT_MM, -BELOW_MM + 4.5, words, size=7.5, color=QUIET)
    return figure


def _draw_strip(axes: Axes, strip: np.ndarray, fs: float, top: float) -> None:
    edges = np.r_[0, np.flatnonzero(np.diff(strip)) + 1, len(strip)]
    for first, last in itertools.pairwise(edges):
        state = int(strip[first])
        if state < 0:
            continue
        x, width = LEFT_MM + first / fs * MM_PER_S, (last - first) / fs * MM_PER_S
        axes.add_patch(Rectangle(
            (x, top - STRIP_MM), width, STRIP_MM, facecolor=state_colour(state), hatch=state_hatch(state), alpha=0.45,
            edgecolor="#ffffff", lw=0.6,
        ))  # fmt: skip
        if width >= 2.2:
            axes.text(x + width / 2, top - STRIP_MM / 2, str(state + 1), size=8, ha="center", va="center", color=INK,
                      bbox={"facecolor": "#ffffff", "alpha": 0.6, "edgecolor": "none", "pad": 0.8})  # fmt: skip
    axes.text(LEFT_MM - 2, top - STRIP_MM / 2, "state", size=8, ha="right", va="center")


def _draw_doubt(axes: Axes, doubt: np.ndarray, fs: float, top: float) -> None:
    x = LEFT_MM + np.arange(len(doubt)) / fs * MM_PER_S
    for level in (0.0, 1.0):
        y = top - DOUBT_MM * (1 - level)
        axes.plot([LEFT_MM, LEFT_MM + PAGE_S * MM_PER_S], [y, y], color="#d9d2c9", lw=0.5)
        axes.text(LEFT_MM - 2, y, f"{level:g}", size=7, ha="right", va="center", color=QUIET)
    axes.plot(x, top - DOUBT_MM * (1 - doubt), color=INK, lw=0.3 * POINTS_PER_MM, label="uncertainty")
    axes.text(LEFT_MM - 5, top - DOUBT_MM / 2, "unsure", size=8, ha="right", va="center")


def plot_state_profiles(
    profiles: np.ndarray, presence: np.ndarray, fs: float, leads: Sequence[str], states: Sequence[Mapping[str, Any]]
) -> Figure:
    """Draw a row per state: mean waveform round its stretches, where in the beat, in whom, and what it pushes.

    profiles, presence   [state, lead, time] in mV and [state, time], centred on the middle of the stretches
    states               as in `states.json`
    """
    chosen = [int(k) for k in np.argsort([-(one["share"] or 0) for one in states], stable=True)[:MOST_PROFILES]]
    classes = list(states[0]["contribution"])
    row, left, top, foot = 27.0, 24.0, 15.0, 9.0
    shown = [lead for lead in SHOWN_LEADS if lead in leads] or list(leads[:3])
    widths = (*[30.0] * len(shown), 38.0, 42.0, 50.0)
    width, height = left + sum(widths) + 9.0 * len(widths), top + row * len(chosen) + foot
    with ecglens_style():
        figure = new_figure(width, height)
        ends = _ends(profiles, [list(leads).index(lead) for lead in shown])
        for r, k in enumerate(chosen):
            x, y = left, height - top - row * (r + 1)
            figure.text(3 / width, (y + row / 2) / height, f"{k + 1}", size=14, weight="bold", va="center",
                        color=state_colour(k))  # fmt: skip
            share = states[k]["share"]
            figure.text(10.5 / width, (y + row / 2) / height, f"{share:.0%}", size=8, va="center", color=QUIET)
            panels = []
            for wide in widths:
                panels.append(figure.add_axes((x / width, (y + 6) / height, wide / width, (row - 9) / height)))
                x += wide + 9.0
            bottom = r == len(chosen) - 1
            for axes, lead in zip(panels, shown, strict=False):
                _waveform(axes, profiles[k, list(leads).index(lead)], presence[k], fs, ends, bottom, k)
            _lifts(panels[-3], states[k]["segments"], bottom)
            _bars(panels[-2], states[k]["share_by_class"], classes, bottom, share)
            _bars(panels[-1], states[k]["strength"], classes, bottom, 0.0)
            if r == 0:
                titles = (*(f"{lead}, mV" for lead in shown), "in the beat, times its time", "share, by class",
                          "whole record: logit")  # fmt: skip
                for axes, title in zip(panels, titles, strict=True):
                    axes.set_title(title, size=8, pad=4)
        figure.text(3 / width, 1 - 5 / height, "What the states are like", size=11, weight="bold", va="center")
    return figure


def _ends(profiles: np.ndarray, rows: Sequence[int]) -> tuple[float, float]:
    known = profiles[:, rows][np.isfinite(profiles[:, rows])]
    if not known.size:
        return -1.0, 1.0
    return float(min(known.min(), -0.1)) * 1.1, float(max(known.max(), 0.1)) * 1.1


def _waveform(
    axes: Axes, trace: np.ndarray, presence: np.ndarray, fs: float, ends: tuple[float, float], bottom: bool, state: int
) -> None:
    half = len(trace) // 2
    at = (np.arange(len(trace)) - half) / fs
    axes.fill_between(at, ends[0], ends[0] + (ends[1] - ends[0]) * np.nan_to_num(presence), color=state_colour(state),
                      alpha=0.2, lw=0, hatch=state_hatch(state), edgecolor="#ffffff")  # fmt: skip
    axes.plot(at, trace, color=INK, lw=0.9)
    axes.set_ylim(*ends)
    axes.set_xlim(float(at[0]), float(at[-1]))
    axes.tick_params(labelsize=6.5, pad=1.5)
    axes.set_xticks([-0.2, 0, 0.2], ["\u2212200", "0", "200 ms"] if bottom else [])


def _lifts(axes: Axes, segments: Mapping[str, Mapping[str, float | None]], bottom: bool) -> None:
    for j, part in enumerate(_PARTS):
        cell = segments.get(part, {})
        lift, p = cell.get("lift"), cell.get("p")
        if lift is None:
            continue
        sure = p is not None and p < 0.05
        axes.bar(j, lift, width=0.7, color=OKABE_ITO["blue"] if sure else "#c9c9c9")
    axes.axhline(1, color=QUIET, lw=0.7, ls=(0, (3, 2)))
    axes.set_xlim(-0.6, len(_PARTS) - 0.4)
    axes.tick_params(labelsize=6.5, pad=1.5)
    axes.set_xticks(range(len(_PARTS)), _PARTS if bottom else [""] * len(_PARTS), size=6.5)


def _bars(axes: Axes, figures: Mapping[str, Mapping[str, float | None]], classes: Sequence[str], bottom: bool,
          line: float) -> None:  # fmt: skip
    for j, name in enumerate(classes):
        value, low, high = (figures[name][key] for key in ("value", "low", "high"))
        if value is None:
            continue
        colour = OKABE_ITO["vermillion"] if value > line else OKABE_ITO["blue"]
        axes.plot([j], [value], "o", color=colour, ms=4)
        if low is not None and high is not None:
            axes.plot([j, j], [low, high], color=colour, lw=1.2)
    axes.axhline(line, color=QUIET, lw=0.7, ls=(0, (3, 2)))
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.tick_params(labelsize=6.5, pad=1.5)
    axes.set_xticks(
        range(len(classes)), [printable(n, 8) for n in classes] if bottom else [""] * len(classes), size=6.5
    )


ADDED = {
    "contribution": "What each state adds to the logit, in records that have the class",
    "strength": "What a record would gain that were wholly in the state",
}


def plot_contributions(
    states: Sequence[Mapping[str, Any]], mostly: Sequence[str], what: str
) -> Figure:  # fmt: skip
    """Draw what each state (rows) adds to the logit of each class (columns), with intervals.

    mostly   the part of the beat that a state is more often in, or ""
    what     of `ADDED`
    """
    classes = list(states[0][what])
    left, wide, high, top, foot = 34.0, 27.0, 9.0, 18.0, 9.0
    width, height = max(left + wide * len(classes) + 4, 150.0), top + high * len(states) + foot
    values = [[one[what][name]["value"] for name in classes] for one in states]
    most = max((abs(v) for line in values for v in line if v is not None), default=1.0) or 1.0
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.text(4, 5.5, ADDED[what], size=11, weight="bold", va="center")
        for j, name in enumerate(classes):
            n = states[0][what][name]["n"]
            axes.text(
                left + wide * (j + 0.5), 13, f"{printable(name, 12)}  N = {n:,}", size=8.5, ha="center", va="center"
            )
        for r, one in enumerate(states):
            y = top + high * r
            axes.text(4, y + high / 2, f"{one['id']}", size=11, weight="bold", va="center", color=state_colour(r))
            axes.text(left - 3, y + high / 2, mostly[r] and f"more in {mostly[r]}", size=8, ha="right", va="center",
                      color=QUIET)  # fmt: skip
            for j, name in enumerate(classes):
                _cell(axes, left + wide * j, y, wide, high, one[what][name], most)
        note = "Beyond what average features give; orange speaks for the class, blue against it; 95 % over patients."
        axes.text(4, height - 4, note, size=7.5, color=QUIET, va="center")
    return figure


def _cell(axes: Axes, x: float, y: float, wide: float, high: float, figure: Mapping[str, Any], most: float) -> None:
    value, low, up = figure["value"], figure["low"], figure["high"]
    colour = "#e3e3e3" if value is None else SIGNED(0.5 + 0.5 * value / most)
    axes.add_patch(Rectangle((x + 0.3, y + 0.3), wide - 0.6, high - 0.6, facecolor=colour, edgecolor="none"))
    if value is None:
        return
    pale = abs(value) / most < 0.8
    text = f"{value:+.2f}".replace("-", "\u2212")
    if low is not None:
        text += f"\n[{low:.2f}, {up:.2f}]".replace("-", "\u2212")
    axes.text(x + wide / 2, y + high / 2, text, size=7, ha="center", va="center", color=INK if pale else "#ffffff",
              linespacing=1.25)  # fmt: skip


def plot_choice(sweep: Sequence[Mapping[str, Any]], chosen: int, bar: float) -> Figure:
    """Draw agreement and fidelity against the number of states; `bar`: agreement from which a number is stable."""
    with ecglens_style():
        figure = new_figure(150, 66)
        axes = figure.add_axes((0.09, 0.2, 0.6, 0.66))
        at = [one["k"] for one in sweep]
        names = {"seeds_ari": "other seeds", "halves_ari": "halves of the people", "fidelity": "fidelity",
                 "silhouette": "silhouette"}  # fmt: skip
        for j, (key, name) in enumerate(names.items()):
            colour, _ = line_style(j)
            values = [np.nan if one[key] is None else one[key] for one in sweep]
            axes.plot(at, values, color=colour, ls=("-", "--", ":", "-.")[j], marker="o", ms=3.5, lw=1.4, label=name)
        axes.axhline(bar, color=QUIET, lw=0.7)
        axes.axvline(chosen, color=INK, lw=0.7, ls=(0, (3, 2)))
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.03)
        axes.set_xticks(at)
        axes.set_xlabel("number of states (dashed: taken)")
        axes.set_title("How many states?", weight="bold", size=10.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
    return figure


def plot_risk_coverage(certainty: Mapping[str, Any], names: Mapping[str, str]) -> Figure:
    """Draw the share of wrong decisions among those that are kept, for each kind of doubt that is in `names`."""
    with ecglens_style():
        figure = new_figure(180, 70)
        axes = figure.add_axes((0.09, 0.19, 0.45, 0.68))
        for j, (key, name) in enumerate((key, name) for key, name in names.items() if key in certainty):
            colour, _ = line_style(j)
            risk = [np.nan if value is None else value for value in certainty[key]["risk"]]
            axes.plot(
                certainty[key]["coverage"], risk, color=colour, ls=("-", "--", "-.", ":")[j % 4], lw=1.6, label=name
            )
        if certainty["error_rate"] is not None:
            axes.axhline(certainty["error_rate"], color=QUIET, lw=0.8, ls=":", label="no order at all")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("share of decisions kept, the surest first")
        axes.set_ylabel("wrong among them")
        axes.set_title("Setting the doubtful aside", weight="bold", size=10.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
    return figure
