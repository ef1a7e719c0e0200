# SPDX-License-Identifier: Apache-2.0
"""How a map is shared out: over leads (radar, and dots with intervals) and over segments (bars beside time)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ecglens.errors import UsageError, printable
from ecglens.explanation import Explanation
from ecglens.leads import LIMB_LEADS, PRECORDIAL_LEADS
from ecglens.plotting.style import INK, OKABE_ITO, QUIET, ecglens_style, new_figure
from ecglens.shares import LIMB, STANDS_OUT, Shares, rows_of

# Round the heart: the limb leads as Cabrera ordered them (from high left over inferior to right), then the chest leads.
ROUND_THE_HEART = ("aVL", "I", "aVR", "II", "aVF", "III", *PRECORDIAL_LEADS)
RADAR_MM, DOTS_MM = 78.0, 78.0
PER_ROW = 3  # radars beside each other
POSITIVE, NEGATIVE = "#f0923d", "#3d9bd4"  # as on the maps


def plot_lead_radar(explanations: Sequence[Explanation]) -> Figure:
    """Draw each map's share by lead as a radar; leads that were hidden together have hollow marks.

    Raises UsageError where maps have other leads, or cannot tell leads apart at all.
    """
    if not explanations or len({one.leads for one in explanations}) != 1:
        raise UsageError("plot_lead_radar", "explanations", f"{len(explanations)} of other leads", "of the same leads")
    if not all(one.resolves_leads for one in explanations):
        raise UsageError("plot_lead_radar", "explanations", "a map that cannot tell leads apart", "one that can")
    leads = explanations[0].leads
    shares = [_lead_shares(one) for one in explanations]
    same_target = len({one.target for one in explanations}) == 1
    names = [one.method if same_target else f"{one.target}, {one.method}" for one in explanations]
    together = [LIMB in rows_of(one) for one in explanations]
    return plot_lead_shares(names, leads, np.array(shares), together=together)


def plot_lead_shares(
    names: Sequence[str],
    leads: Sequence[str],
    shares: np.ndarray,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    *,
    together: Sequence[bool] | None = None,
    note: str = "",
) -> Figure:
    """Draw shares by lead as radars, on one scale; with intervals also as dots with whiskers, which are easier to read.

    names      of the classes or methods
    shares     [name, lead], each row summing to 1; NaN rows are left empty
    low, high  ends of their intervals, alike
    together   whether the limb leads of a row were hidden together [name]
    note       what the intervals are, in words
    """
    shares = np.asarray(shares, np.float64)
    if not len(names) or shares.shape != (len(names), len(leads)) or len(leads) < 3:
        raise UsageError("plot_lead_shares", "shares", f"shape {shares.shape}", "[name, lead], three leads or more")
    if (low is None) != (high is None) or any(v is not None and v.shape != shares.shape for v in (low, high)):
        raise UsageError("plot_lead_shares", "low, high", "another shape", f"both, {shares.shape}")
    order = _round_the_heart(leads)
    rows = [list(values[:, order]) for values in (shares, low, high) if values is not None]
    ordered = [leads[k] for k in order]
    hollow = [[flag and lead in LIMB_LEADS for lead in ordered] for flag in (together or [False] * len(names))]
    end = _end(shares, high)
    with ecglens_style():
        if low is None:
            return _radars(names, ordered, rows[0], hollow, end)
        return _radars_and_dots(names, ordered, rows, hollow, end, note)


def plot_segment_shares(shares: Shares, target: str = "") -> Figure:
    """Draw each segment's share of the map, over all leads, above its share of time.

    Raises UsageError where the method is too coarse for any segment, or none is marked.
    """
    if not shares.resolved.any():
        raise UsageError("plot_segment_shares", "segments", "none that the method can tell", "one or more")
    n = len(shares.segments)
    width, row_mm, left = 150.0, 10.0, 16.0
    height = 22.0 + row_mm * n + 6.0
    told = [bool(ok) and np.isfinite(shares.time[:, k]).any() for k, ok in enumerate(shares.resolved)]
    parts = [np.nansum(values, axis=0) for values in (shares.positive, shares.negative, shares.time)]
    with ecglens_style():
        figure = new_figure(width, height)
        across = (width - left - 6.0) / width
        axes = figure.add_axes((left / width, 16.0 / height, across, row_mm * n / height))
        for k, (positive, negative, time) in enumerate(zip(*parts, strict=True)):
            if not told[k]:
                why = "shorter than the method's resolution"
                if not np.isfinite(shares.time[:, k]).any():
                    why = "not marked in this record"
                axes.text(0.004, k, why, va="center", size=8, color=QUIET)
                continue
            axes.barh(k - 0.18, positive, height=0.36, color=POSITIVE, label="positive")
            axes.barh(k - 0.18, negative, left=positive, height=0.36, color=NEGATIVE, label="negative")
            axes.barh(k + 0.17, time, height=0.22, color="#b9b4ae", label="time")
            lift = (positive + negative) / time
            words = f"{positive + negative:.0%} in {time:.0%} of time: x {lift:.1f}"
            axes.text(max(positive + negative, time) + 0.008, k, words, va="center", size=8,
                      weight="bold" if lift >= STANDS_OUT else "normal")  # fmt: skip
        _dress_segments(axes, shares.segments, max(max(parts[0] + parts[1]), max(parts[2])))
        figure.text(4 / width, 1 - 4.5 / height, _segment_title(parts[1].any(), target), size=8.5, va="center")
    return figure


def _segment_title(signed: bool, target: str) -> str:
    of = f" of {printable(target, 40)}" if target else ""
    signs = "orange positive, blue negative" if signed else "orange"
    return f"Share of the absolute map{of} ({signs}) and of the record's time (grey), all leads"


def _dress_segments(axes: Axes, segments: Sequence[str], most: float) -> None:
    axes.set_ylim(len(segments) - 0.5, -0.5)
    axes.set_yticks(range(len(segments)), segments, size=9)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, max(1.4 * most, 0.05))  # room for the words
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.set_xlabel("Share")


def _lead_shares(explanation: Explanation) -> list[float]:
    """Return the share of each lead; leads that were hidden together get equal parts of theirs."""
    each = np.array(list(explanation.share_by_lead().values()))
    for members in rows_of(explanation).values():
        each[list(members)] = each[list(members)].mean()
    return [float(value) for value in each]


def _round_the_heart(leads: Sequence[str]) -> list[int]:
    """Return positions of the leads in the order in which they look at the heart; unknown leads last."""
    known = [leads.index(lead) for lead in ROUND_THE_HEART if lead in leads]
    return known + [k for k in range(len(leads)) if k not in known]


def _end(shares: np.ndarray, high: np.ndarray | None) -> float:
    """Return where the scale of all radars ends: the largest value, at least twice the even share."""
    largest = np.nanmax(np.concatenate([shares, high] if high is not None else [shares]), initial=0.0)
    return float(1.08 * max(largest, 2.0 / shares.shape[1]))


def _radars(
    names: Sequence[str],
    leads: Sequence[str],
    shares: Sequence[np.ndarray],
    hollow: Sequence[Sequence[bool]],
    end: float,
) -> Figure:
    """Lay out radars beside each other."""
    across = min(len(names), PER_ROW)
    down = -(-len(names) // PER_ROW)
    foot = 9.0
    width, height = RADAR_MM * across, RADAR_MM * down + foot
    figure = new_figure(width, height)
    for k, name in enumerate(names):
        row, column = divmod(k, PER_ROW)
        place = (RADAR_MM * column, foot + RADAR_MM * (down - 1 - row))
        _radar(figure, place, (width, height), name, leads, shares[k], hollow[k], end)
    figure.text(3 / width, 3.5 / height, _foot(len(leads), any(map(any, hollow)), across), size=7, color=QUIET)
    return figure


def _foot(n_leads: int, hidden: bool, across: int) -> str:
    words = [f"Dashed ring: even share, 1/{n_leads}."]
    if hidden:
        words.append("Hollow: limb leads hidden together, one share drawn over all." if across > 1
                     else "Hollow: hidden together.")  # fmt: skip
    return " ".join(words)


def _radar(
    figure: Figure, place: tuple[float, float], size: tuple[float, float], name: str, leads: Sequence[str],
    shares: np.ndarray, hollow: Sequence[bool], end: float,
) -> None:  # fmt: skip
    """Draw one radar into a square of `RADAR_MM` at `place` in mm."""
    side, x, y = RADAR_MM - 26.0, place[0] + 13.0, place[1] + 8.0
    axes = figure.add_axes(
        (x / size[0], y / size[1], side / size[0], side / size[1]), projection="polar", label=f"radar {name}"
    )
    assert isinstance(axes, PolarAxes)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    angles = 2 * np.pi * np.arange(len(leads)) / len(leads)
    closed = np.append(angles, angles[:1])
    circle = np.linspace(0, 2 * np.pi, 181)
    axes.plot(circle, np.full(181, 1 / len(leads)), color=INK, lw=0.8, ls=(0, (4, 3)), label="even share")
    if np.isfinite(shares).all():
        axes.plot(closed, np.append(shares, shares[:1]), color=OKABE_ITO["vermillion"], lw=1.4, label="share")
        axes.fill(closed, np.append(shares, shares[:1]), color=OKABE_ITO["vermillion"], alpha=0.14, lw=0)
        for angle, share, open_mark in zip(angles, shares, hollow, strict=True):
            axes.plot([angle], [share], "o", ms=3.4, mec=OKABE_ITO["vermillion"], mew=1.0,
                      mfc="#fffcf8" if open_mark else OKABE_ITO["vermillion"], label="lead")  # fmt: skip
    axes.set_ylim(0, end)
    axes.set_xticks(angles, [printable(lead, 8) for lead in leads], size=8)
    axes.tick_params(axis="x", pad=-1)
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=(1, 2, 5, 10), prune="lower"))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_rlabel_position(180 / len(leads))
    axes.tick_params(axis="y", labelsize=6.5, labelcolor=QUIET)
    axes.grid(color="#ded7cf", lw=0.5)
    axes.spines["polar"].set_color("#ded7cf")
    figure.text((place[0] + RADAR_MM / 2) / size[0], (place[1] + RADAR_MM - 6.0) / size[1], printable(name, 40),
                size=9.5, weight="bold", ha="center", va="center")  # fmt: skip


def _radars_and_dots(
    names: Sequence[str], leads: Sequence[str], rows: Sequence[Sequence[np.ndarray]], hollow: Sequence[Sequence[bool]],
    end: float, note: str,
) -> Figure:  # fmt: skip
    """Lay out a row per name: the radar, and beside it each lead's share with its interval."""
    foot, right = 12.0, 8.0
    row_mm = max(RADAR_MM, 18.0 + 5.0 * len(leads))
    width, height = RADAR_MM + 12.0 + DOTS_MM + right, row_mm * len(names) + foot
    figure = new_figure(width, height)
    for k, name in enumerate(names):
        bottom = foot + row_mm * (len(names) - 1 - k)
        place = (0.0, bottom + (row_mm - RADAR_MM) / 2)
        _radar(figure, place, (width, height), name, leads, rows[0][k], hollow[k], end)
        axes = figure.add_axes((
            (RADAR_MM + 12.0) / width, (bottom + 10.0) / height, DOTS_MM / width, (row_mm - 16.0) / height
        ))  # fmt: skip
        _dots(axes, leads, rows[0][k], rows[1][k], rows[2][k], hollow[k], end)
    foot_words = f"{_foot(len(leads), any(map(any, hollow)), 2).replace('ring', 'ring and line')} {note}".strip()
    figure.text(3 / width, 3.5 / height, foot_words, size=7, color=QUIET)
    return figure


def _dots(
    axes: Axes, leads: Sequence[str], shares: np.ndarray, low: np.ndarray, high: np.ndarray, hollow: Sequence[bool],
    end: float,
) -> None:  # fmt: skip
    """Draw a dot with its interval per lead, and the line of the even share."""
    axes.axvline(1 / len(leads), color=INK, lw=0.8, ls=(0, (4, 3)), label="even share")
    for row, (share, a, b, open_mark) in enumerate(zip(shares, low, high, hollow, strict=True)):
        if not np.isfinite(share):
            continue
        colour = OKABE_ITO["vermillion"]
        axes.plot([a, b], [row, row], color=colour, lw=1.4, solid_capstyle="butt", label="interval")
        axes.plot([share], [row], "o", ms=4, mec=colour, mew=1.0, mfc="#fffcf8" if open_mark else colour, label="lead")
    axes.set_ylim(len(leads) - 0.5, -0.5)
    axes.set_yticks(range(len(leads)), [printable(lead, 8) for lead in leads], size=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_xlabel("Share of the map", size=8)


def _percent(value: float, _: object = None) -> str:
    return f"{100 * value:g}%"
