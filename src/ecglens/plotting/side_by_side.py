# SPDX-License-Identifier: Apache-2.0
"""Several maps of one ECG under each other: the same beat of the same leads in every row, a method or target per row.

The beat is the median of the record's beats and the tint the mean of the map over them, or one beat that is chosen.
Maps of one method share one scale, so that a pale row is a weak map. Maps in different units cannot: then each ends at
its own 99th percentile, and colours compare places, not sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from ecglens.ecg import ECG
from ecglens.errors import SignalError, UsageError, printable
from ecglens.explanation import Explanation
from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.attribution import PIXELS_PER_MM, draw_tint, end_of_scale, paint
from ecglens.plotting.ecg import LEFT_MM, MM_PER_MV, WIDTH_MM, Paper, Segment, draw_paper, sheet
from ecglens.plotting.style import INK, PAPER, QUIET, SIGNED, ecglens_style
from ecglens.shares import NO_CLAIM, share_out, where

BEFORE_S, AFTER_S = 0.3, 0.5  # around the R peak: 20 mm, four large squares
MOST_LEADS = 12
LEAD_MM = 250.0 / MOST_LEADS  # a beat and a little room
HEADER_MM, LEGEND_MM = 12.0, 31.0
TITLE_MM, NAME_MM = 8.0, 4.5  # above each strip: what it is, and the lead names
CUT_MM = 30.0  # a trace that goes further from the row is drawn flat
LONGEST = 205  # letters of the sentence over a strip


def plot_explanations(
    ecg: ECG, explanations: Sequence[Explanation], marks: Fiducials | None = None, *, beat: float | None = None,
    one_scale: bool | None = None,
) -> Figure:  # fmt: skip
    """Draw several maps of one ECG on one sheet, a row each, 25 mm/s and 10 mm/mV.

    marks      of the beats: the median beat is drawn, and over each row a sentence says where the map lies. Without
               marks (or beats) the stretch in the middle of the record is drawn
    beat       draw the beat nearest to this time instead, in s on the ECG's clock
    one_scale  for all rows; None: where all are of one method and one unit

    Raises UsageError for no map at all, SignalError for a map of another record.
    """
    if not explanations:
        raise UsageError("plot_explanations", "explanations", "none", "one or more")
    for one in explanations:
        if ecg.record_id and one.record_id and ecg.record_id != one.record_id:
            raise SignalError("plot_explanations", "record", f"a map of {one.record_id}", f"one of {ecg.record_id}")
    centres, what = _centres(ecg, marks, beat)
    shown = [_mean_map(one, centres) for one in explanations]
    traces = _median_trace(ecg, centres)
    paper, tops = _lay_out(ecg, traces, len(shown))
    common = len({(one.method, one.unit) for one in shown}) == 1 if one_scale is None else one_scale
    ends = [end_of_scale(shown)] * len(shown) if common else [end_of_scale([one]) for one in shown]
    with ecglens_style():
        figure, axes = sheet(paper, HEADER_MM, LEGEND_MM)
        for row, (one, end) in enumerate(zip(shown, ends, strict=True)):
            own = replace(paper, segments=tuple(s for s in paper.segments if s.row == row))
            draw_tint(axes, own, one, end, SIGNED, True)
        draw_paper(axes, paper)
        for row, whole in enumerate(explanations):
            _write_row(axes, paper, tops[row], whole, marks, None if common else ends[row])
        axes.text(5, paper.height + 5.0, _title(ecg, explanations), size=11, weight="bold")
        _draw_legend(axes, what, ends[0] if common else None, explanations)
    return figure


def _centres(ecg: ECG, marks: Fiducials | None, beat: float | None) -> tuple[np.ndarray, str]:
    """Return the times of the beats to draw [beat], in s, and in words what is drawn."""
    times = np.empty(0) if marks is None else _beat_times(marks)
    inside = times[(times - BEFORE_S >= ecg.start) & (times + AFTER_S <= ecg.start + ecg.duration)]
    if beat is not None and times.size:
        chosen = times[np.abs(times - beat).argmin()]
        return np.array([chosen]), f"The beat at {chosen:.2f} s, and the maps there."
    if beat is None and inside.size:
        if inside.size == 1:
            return inside, f"The one beat, at {inside[0]:.2f} s, and the maps there."
        return inside, f"Traces: the median of {inside.size} beats. Tints: the mean of each map over these beats."
    middle = ecg.start + ecg.duration / 2 if beat is None else beat
    return np.array([middle]), f"No beat is marked: the stretch around {middle:.2f} s is drawn."


def _beat_times(marks: Fiducials) -> np.ndarray:
    """Return when each beat is [beat], in s: the median R peak over leads, or the middle of its QRS."""
    found = []
    for beat in range(marks.n_beats):
        for names in (("R_peak",), WAVES["QRS"]):
            known = marks.times[:, beat, [MARKS.index(name) for name in names]]
            if np.isfinite(known).any():
                found.append(float(np.nanmedian(known)))
                break
    return np.array(found)


def _grid(fs: float) -> np.ndarray:
    """Return sample times around a beat, in s."""
    return np.arange(round(-BEFORE_S * fs), round(AFTER_S * fs)) / fs


def _mean_map(explanation: Explanation, centres: np.ndarray) -> Explanation:
    """Return the mean of a map around these times; its clock is 0 at the beat."""
    after = _grid(explanation.fs)
    at = centres[:, None] + after
    values = np.stack([np.interp(at, explanation.times, row, 0.0, 0.0).mean(axis=0) for row in explanation.values])
    return replace(explanation, values=values.astype(np.float32), start=float(after[0]), error=None)


def _median_trace(ecg: ECG, centres: np.ndarray) -> dict[str, np.ndarray]:
    """Return the median beat by lead [time], in mV, the standard leads first; its own median is 0."""
    leads = [lead for lead in STANDARD_LEADS if lead in ecg.leads]
    leads += [lead for lead in ecg.leads if lead not in leads]
    at = centres[:, None] + _grid(ecg.fs)
    traces = {}
    for lead in leads[:MOST_LEADS]:
        beats = np.interp(at, ecg.times, ecg[lead].astype(np.float64), np.nan, np.nan)
        trace = np.median(beats, axis=0)
        known = trace[np.isfinite(trace)]
        traces[lead] = trace - (np.median(known) if known.size else 0.0)
    return traces


def _lay_out(ecg: ECG, traces: dict[str, np.ndarray], n_rows: int) -> tuple[Paper, list[float]]:
    """Return the paper with a strip of all leads per row, and the height of each row's upper edge, in mm."""
    reach = CUT_MM / MM_PER_MV
    drawn = {lead: np.clip(trace, -reach, reach) for lead, trace in traces.items()}
    known = np.concatenate([trace[np.isfinite(trace)] for trace in drawn.values()] + [np.zeros(1)])
    above = 5.0 * np.ceil((max(known.max(), 1.0) * MM_PER_MV + NAME_MM) / 5.0)
    below = 5.0 * np.ceil((-known.min() * MM_PER_MV + 2.0) / 5.0)
    row_mm = 5.0 * np.ceil((above + below + TITLE_MM) / 5.0)
    baselines = tuple(float(below + row_mm * (n_rows - 1 - row)) for row in range(n_rows))
    times = _grid(ecg.fs)
    segments = tuple(
        Segment(lead, row, LEFT_MM + LEAD_MM * k, -BEFORE_S, AFTER_S, times, trace, (0.8, float(above - NAME_MM + 0.5)))
        for row in range(n_rows)
        for k, (lead, trace) in enumerate(drawn.items())
    )
    cut = [lead for lead, trace in traces.items() if np.isfinite(trace).any() and np.nanmax(np.abs(trace)) > reach]
    notes = (f"cut at \u00b1{reach:g} mV: {', '.join(cut)}",) if cut else ()
    paper = Paper(segments, baselines, 1, float(row_mm * n_rows), ecg.fs, notes)
    return paper, [float(baseline + above) for baseline in baselines]


def _title(ecg: ECG, explanations: Sequence[Explanation]) -> str:
    """Say whose maps these are."""
    targets = list(dict.fromkeys(one.target for one in explanations))
    methods = list(dict.fromkeys(one.method for one in explanations))
    name = f"ECG {printable(ecg.record_id, 40)}: " if ecg.record_id else ""
    if len(targets) == 1:
        probability = explanations[0].probability
        told = f" (probability {probability:.3f})" if probability is not None else ""
        return (
            f"{name}{len(methods)} {'method' if len(methods) == 1 else 'methods'} on {printable(targets[0], 40)}{told}"
        )
    by = printable(methods[0], 40) if len(methods) == 1 else f"{len(methods)} methods"
    return f"{name}{len(targets)} targets by {by}"


def _write_row(
    axes: Axes, paper: Paper, top: float, explanation: Explanation, marks: Fiducials | None, end: float | None
) -> None:
    """Write over a strip what it is, where the map lies, and where its scale ends."""
    halo = [Stroke(linewidth=2.5, foreground=PAPER), Normal()]
    name = f"{printable(explanation.method, 40)}, {printable(explanation.target, 40)}"
    if explanation.verdict == "fails":
        name += " (failed the audit on this network)"
    title = axes.text(5, top + 4.2, name, size=9.5, weight="bold", path_effects=halo, zorder=6)
    if end is not None:
        unit = f" {printable(explanation.unit, 40)}" if explanation.unit and explanation.unit not in NO_CLAIM else ""
        axes.annotate(
            f"  ends at {end:.2g}{unit}", xy=(1, 0), xycoords=title, size=7.5, color=QUIET, path_effects=halo,
            va="bottom", zorder=6,
        )  # fmt: skip
    sentence = where(explanation, share_out(explanation, marks) if marks is not None else None)
    axes.text(5, top + 0.6, printable(sentence, LONGEST), size=7.5, color=INK, path_effects=halo, zorder=6, va="bottom")


def _draw_legend(axes: Axes, what: str, end: float | None, explanations: Sequence[Explanation]) -> None:
    """Draw the colour bar, and say what is drawn and how it is scaled."""
    left, right, bottom = 190.0, WIDTH_MM - 10.0, -19.0
    picture = paint(np.linspace(-1.0, 1.0, 60 * PIXELS_PER_MM), SIGNED, True)[None]
    extent = (left, right, bottom, bottom + 5.0)
    axes.imshow(picture, extent=extent, aspect="auto", interpolation="none", zorder=2)
    axes.add_patch(Rectangle((left, bottom), right - left, 5.0, fc="none", ec=QUIET, lw=0.5, zorder=3))
    unit = f" {printable(explanations[0].unit, 40)}" if explanations[0].unit and end is not None else ""
    words = f"{end:.2g}" if end is not None else "99th percentile"
    for x, tick, place in (
        (left, f"\u2212{words}", "left"),
        ((left + right) / 2, "0", "center"),
        (right, f"+{words}", "right"),
    ):
        axes.text(x, bottom - 3.6, tick, size=7.5, ha=place)
    axes.text(left, bottom + 6.2, f"Map, in{unit}" if unit else "Map, of each row", size=8.5, weight="bold")
    scale = (
        "All rows share one scale, which ends at the 99th percentile of all: a pale row is a weak map."
        if end is not None
        else "Each row has its own scale, which ends at its 99th percentile: compare places between rows, not depths."
    )
    lines = (what, scale, "Shares are of the whole record. A colour tells of the network, not of the heart.")
    for index, line in enumerate(lines):
        axes.text(5, -13.0 - 4.5 * index, line, size=8, color=INK if index < 2 else QUIET)
