# SPDX-License-Identifier: Apache-2.0
"""The ECG as on paper, at true scale: 25 mm/s, 10 mm/mV, to the millimetre when printed at 100 %.

`lay_out` decides where everything lies, in mm (a plain `Paper`, no drawing); `draw_paper` draws it into axes
whose unit is the millimetre. `plot_explanation` puts its map on the same paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from ecglens.ecg import ECG
from ecglens.errors import UsageError, printable
from ecglens.leads import STANDARD_LEADS, canonical_lead, derivable
from ecglens.plotting.style import (
    FINE_GRID,
    FIRM_GRID,
    GAP,
    INK,
    PAPER,
    POINTS_PER_MM,
    QUIET,
    TRACE_MM,
    ecglens_style,
    new_figure,
)

Layout = Literal["3x4+rhythm", "rows"]

MM_PER_S, MM_PER_MV = 25.0, 10.0
PAGE_S, COLUMN_S = 10.0, 2.5
LEFT_MM, RIGHT_MM = 15.0, 5.0  # the calibration pulse stands in the left margin
WIDTH_MM = LEFT_MM + PAGE_S * MM_PER_S + RIGHT_MM
TITLE_MM, FOOTER_MM = 9.0, 7.0
LABEL_MM = 3.6  # height kept free for a lead name
CUT_MV = 6.0  # beyond this a trace is drawn flat, and the footer says so
OFFSET_MV = 1.0  # a lead whose median lies further from 0 is moved to it, and the footer says so
FEWEST_FOR_COLUMNS = 6  # standard leads, below which each lead gets a row of its own


@dataclass(frozen=True, eq=False)
class Segment:
    """One stretch of one lead on the paper.

    row, x       which row, and where the stretch begins, in mm
    start, stop  the stretch, in s on the ECG's clock
    times        of its samples, in s [time]
    millivolts   as drawn [time]; NaN is a gap
    label        where the lead name stands: mm right of x, mm above the baseline
    """

    lead: str
    row: int
    x: float
    start: float
    stop: float
    times: np.ndarray
    millivolts: np.ndarray
    label: tuple[float, float]

    @property
    def x_mm(self) -> np.ndarray:
        """Place of each sample along the paper, in mm [time]."""
        return self.x + (self.times - self.start) * MM_PER_S

    @property
    def y_mm(self) -> np.ndarray:
        """Height of each sample above the row's baseline, in mm [time]."""
        return self.millivolts * MM_PER_MV


@dataclass(frozen=True, eq=False)
class Paper:
    """Where everything lies, in mm; y runs upwards from the lower edge of the grid.

    baselines    of the rows, top row first, on 5-mm lines
    columns      how many columns the upper rows have (1 or 4), for the separators
    height       of the grid
    notes        what a reader must know to read the traces rightly
    """

    segments: tuple[Segment, ...]
    baselines: tuple[float, ...]
    columns: int
    height: float
    fs: float
    notes: tuple[str, ...]


def plot_ecg(
    ecg: ECG, *, layout: Layout = "3x4+rhythm", rhythm_lead: str = "II", title: str = "", start: float | None = None
) -> Figure:
    """Draw 10 s of an ECG on paper at true scale.

    layout       "3x4+rhythm": four columns of 2.5 s, consecutive in time, over a strip of 10 s; "rows": 10 s per lead.
                 An ECG with fewer than 6 standard leads is drawn in rows
    rhythm_lead  lead of the strip; the first lead where the ECG has no such lead
    title        one line above the paper
    start        first second shown, on the ECG's clock; the beginning by default
    """
    paper = lay_out(ecg, layout, rhythm_lead, start)
    with ecglens_style():
        figure, axes = sheet(paper, above_mm=TITLE_MM if title else 3.0, below_mm=FOOTER_MM)
        draw_paper(axes, paper)
        if title:
            axes.text(5, paper.height + 3, printable(title, 100), size=11, weight="bold", va="baseline")
    return figure


def lay_out(ecg: ECG, layout: Layout = "3x4+rhythm", rhythm_lead: str = "II", start: float | None = None) -> Paper:
    """Decide what is shown where. Raises UsageError for an unknown layout or a start outside the ECG."""
    if layout not in ("3x4+rhythm", "rows"):
        raise UsageError("plot_ecg", "layout", repr(layout), "'3x4+rhythm', 'rows'")
    begin = ecg.start if start is None else float(start)
    if not ecg.start <= begin < ecg.start + ecg.duration:
        allowed = f"inside [{ecg.start:g}, {ecg.start + ecg.duration:g}) s"
        raise UsageError("plot_ecg", "start", f"{begin:g} s", allowed)
    present = [lead for lead in STANDARD_LEADS if lead in ecg.leads]
    if layout == "rows" or len(present) < FEWEST_FOR_COLUMNS:
        return _in_rows(ecg, begin)
    return _in_columns(ecg, begin, rhythm_lead)


def sheet(paper: Paper, above_mm: float, below_mm: float) -> tuple[Figure, Axes]:
    """Return a figure and axes over all of it whose unit is 1 mm; y = 0 is the lower edge of the grid."""
    figure = new_figure(WIDTH_MM, below_mm + paper.height + above_mm)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH_MM)
    axes.set_ylim(-below_mm, paper.height + above_mm)
    axes.set_autoscale_on(False)
    return figure, axes


def draw_paper(axes: Axes, paper: Paper) -> None:
    """Draw grid, calibration pulses, traces, names, separators and footer into axes in mm (see `sheet`)."""
    _draw_grid(axes, paper.height)
    for row, baseline in enumerate(paper.baselines):
        _draw_calibration(axes, baseline)
        if paper.columns > 1 and row < 3:
            _draw_separators(axes, baseline, paper.columns)
    for segment in paper.segments:
        _draw_segment(axes, segment, paper.baselines[segment.row], paper.fs)
    axes.text(5, -4.8, "25 mm/s   10 mm/mV", size=8, weight="bold")
    if paper.notes:
        axes.text(45, -4.8, printable("; ".join(paper.notes), 170), size=7.5, color=QUIET)


def gap_runs(missing: np.ndarray) -> list[tuple[int, int]]:
    """Return the half-open runs of True in `missing` [time].

    >>> gap_runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], missing.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _in_columns(ecg: ECG, begin: float, rhythm_lead: str) -> Paper:
    """Lay out 3 x 4 leads over a rhythm strip; limb leads that are missing are derived where they can be."""
    notes = _stretch_notes(ecg, begin)
    derived = [lead for lead in STANDARD_LEADS if lead not in ecg.leads and derivable(ecg.leads, lead)]
    if derived:
        notes.append(f"{', '.join(derived)} derived from two other limb leads")
    shown = ecg.select([*ecg.leads, *derived])
    consecutive = ecg.start + ecg.duration - begin >= 3 * COLUMN_S + 1.0
    if not consecutive:
        notes.append("every column shows the same stretch")
    segments = []
    for index, lead in enumerate(STANDARD_LEADS):
        column, row = divmod(index, 3)
        if lead in shown.leads:
            first = begin + COLUMN_S * column * consecutive
            x = LEFT_MM + COLUMN_S * MM_PER_S * column
            segments.append(_segment(shown, lead, row, x, first, first + COLUMN_S))
        else:
            notes.append(f"{lead} not recorded")
    rhythm = canonical_lead(rhythm_lead)
    rhythm = rhythm if rhythm in shown.leads else segments[0].lead
    segments.append(_segment(shown, rhythm, 3, LEFT_MM, begin, begin + PAGE_S))
    others = [lead for lead in ecg.leads if lead not in STANDARD_LEADS and lead != rhythm]
    if others:
        notes.append(f"not shown: {', '.join(others)}")
    return _placed(shown, segments, 4, 25.0, notes)


def _in_rows(ecg: ECG, begin: float) -> Paper:
    """Lay out each lead in a row of its own."""
    segments = [_segment(ecg, lead, row, LEFT_MM, begin, begin + PAGE_S) for row, lead in enumerate(ecg.leads)]
    return _placed(ecg, segments, 1, 15.0, _stretch_notes(ecg, begin))


def _stretch_notes(ecg: ECG, begin: float) -> list[str]:
    """Say which seconds are shown where that is not simply all ten."""
    end = ecg.start + ecg.duration
    if begin == ecg.start and abs(ecg.duration - PAGE_S) < 0.1:
        return []
    if begin == ecg.start and ecg.duration < PAGE_S:
        return [f"{ecg.duration:.4g} s recorded"]
    last = min(begin + PAGE_S, end)
    return [f"seconds {begin:.4g} to {last:.4g} of a recording from {ecg.start:.4g} to {end:.4g} s"]


def _segment(ecg: ECG, lead: str, row: int, x: float, start: float, stop: float) -> Segment:
    """Cut one stretch out of one lead, as it will be drawn."""
    chosen = (ecg.times >= start - 1e-6) & (ecg.times < stop - 1e-6)
    times = ecg.times[chosen]
    drawn = np.clip(ecg[lead].astype(np.float64) - _offset(ecg, lead), -CUT_MV, CUT_MV)[chosen]
    label = _label_place((times - start) * MM_PER_S, drawn * MM_PER_MV)
    return Segment(lead, row, x, start, stop, times, drawn, label)


def _offset(ecg: ECG, lead: str) -> float:
    """Return by how many mV a lead is moved so that it lies on its row; 0 for all but unfiltered recordings."""
    values = ecg[lead][np.isfinite(ecg[lead])]
    median = float(np.median(values)) if len(values) else 0.0
    return median if abs(median) > OFFSET_MV else 0.0


def _label_place(x_mm: np.ndarray, y_mm: np.ndarray) -> tuple[float, float]:
    """Find the place for a lead name nearest to the upper left where no part of the trace crosses it."""
    places = [(dx, y) for y in np.arange(5.5, CUT_MV * MM_PER_MV + 8.0) for dx in np.arange(1.0, 13.0)]
    for dx, y in sorted(places, key=lambda place: (place[1] + 1.2 * place[0], place)):
        near = y_mm[(x_mm > dx - 1.0) & (x_mm < dx + 8.0)]
        near = near[np.isfinite(near)]
        if not len(near) or near.max() < y - 0.8:
            return float(dx), float(y)
    return 1.0, CUT_MV * MM_PER_MV + 2.0


def _placed(ecg: ECG, segments: Sequence[Segment], columns: int, least_mm: float, notes: list[str]) -> Paper:
    """Give each row a baseline on a 5-mm line, far enough from its neighbours wherever traces would touch."""
    n_rows = 1 + max(segment.row for segment in segments)
    extents = [_extent([s for s in segments if s.row == row]) for row in range(n_rows)]
    below = _up_to_5(max(7.0, -float(extents[-1][0].min()) + 2.0))
    baselines = [below]
    for upper, lower in zip(extents[-2::-1], extents[:0:-1], strict=True):
        distance = float((lower[1] - upper[0]).max()) + 2.0
        baselines.append(baselines[-1] + max(least_mm, _up_to_5(distance)))
    height = baselines[-1] + _up_to_5(float(extents[0][1].max()) + 2.0)
    notes += _trace_notes(ecg, segments)
    return Paper(tuple(segments), tuple(baselines[::-1]), columns, height, ecg.fs, tuple(notes))


def _extent(segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Return how far down and up a row reaches, in mm from its baseline, per 5 mm along the paper [bin]."""
    n_bins = int(WIDTH_MM / 5)
    low, high = np.zeros(n_bins), np.zeros(n_bins)
    high[1:2] = MM_PER_MV  # the calibration pulse
    for segment in segments:
        finite = np.isfinite(segment.y_mm)
        bins = np.clip(segment.x_mm[finite] / 5, 0, n_bins - 1).astype(int)
        np.minimum.at(low, bins, segment.y_mm[finite])
        np.maximum.at(high, bins, segment.y_mm[finite])
        dx, y = segment.label
        at = slice(int((segment.x + dx) / 5), int((segment.x + dx + 8.0) / 5) + 1)
        high[at] = np.maximum(high[at], y + LABEL_MM)
    return low, high


def _trace_notes(ecg: ECG, segments: Sequence[Segment]) -> list[str]:
    """Say what was done to the traces, and what the grey bands are."""
    notes = []
    leads = list(dict.fromkeys(segment.lead for segment in segments))
    moved = [f"{lead} by {-_offset(ecg, lead):+.3g} mV".replace("-", "\u2212") for lead in leads if _offset(ecg, lead)]
    if moved:
        notes.append(f"moved to the row: {', '.join(moved)}")
    cut = [s.lead for s in segments if np.isfinite(s.millivolts).any() and np.nanmax(np.abs(s.millivolts)) >= CUT_MV]
    if cut:
        notes.append(f"cut at \u00b1{CUT_MV:g} mV: {', '.join(dict.fromkeys(cut))}")
    if any(np.isnan(segment.millivolts).any() for segment in segments):
        notes.append("grey: no signal")
    return notes


def _up_to_5(mm: float) -> float:
    """Round up to whole 5 mm."""
    return 5.0 * float(np.ceil(mm / 5.0 - 1e-9))


def _draw_grid(axes: Axes, height: float) -> None:
    """Draw 1-mm and 5-mm lines."""
    x, y = np.arange(0, WIDTH_MM + 0.5), np.arange(0, height + 0.5)
    for firm, colour, width_mm in ((False, FINE_GRID, 0.1), (True, FIRM_GRID, 0.17)):
        vertical = [[(v, 0.0), (v, height)] for v in x if (v % 5 == 0) == firm]
        horizontal = [[(0.0, v), (WIDTH_MM, v)] for v in y if (v % 5 == 0) == firm]
        lines = LineCollection(
            vertical + horizontal, colors=colour, linewidths=width_mm * POINTS_PER_MM, zorder=1 + 0.1 * firm
        )
        axes.add_collection(lines, autolim=False)


def _draw_calibration(axes: Axes, baseline: float) -> None:
    """Draw the pulse of 1 mV and 0.2 s: 10 mm high, 5 mm wide."""
    x = np.array([3.0, 5.0, 5.0, 10.0, 10.0, 12.0])
    y = baseline + np.array([0.0, 0.0, MM_PER_MV, MM_PER_MV, 0.0, 0.0])
    axes.plot(x, y, color=INK, lw=TRACE_MM * POINTS_PER_MM, solid_joinstyle="miter", zorder=3, label="calibration")


def _draw_separators(axes: Axes, baseline: float, columns: int) -> None:
    """Mark where one column ends and the next begins."""
    for column in range(1, columns):
        x = LEFT_MM + column * COLUMN_S * MM_PER_S
        axes.plot(
            [x, x], [baseline - 4, baseline + 4], color=QUIET, lw=0.2 * POINTS_PER_MM, zorder=3, label="separator"
        )


def _draw_segment(axes: Axes, segment: Segment, baseline: float, fs: float) -> None:
    """Draw one trace with its gaps and its name."""
    x = segment.x_mm
    for first, last in gap_runs(np.isnan(segment.millivolts)):
        width = (last - first) / fs * MM_PER_S
        axes.add_patch(Rectangle((x[first], baseline - 5), width, 10, color=GAP, alpha=0.18, lw=0, zorder=1.5))
    axes.plot(x, baseline + segment.y_mm, color=INK, lw=TRACE_MM * POINTS_PER_MM, zorder=4, label=segment.lead)
    dx, y = segment.label
    halo = [Stroke(linewidth=2.2, foreground=PAPER), Normal()]
    axes.text(
        segment.x + dx, baseline + y, printable(segment.lead, 12), size=8.5, weight="bold", zorder=5, path_effects=halo
    )
