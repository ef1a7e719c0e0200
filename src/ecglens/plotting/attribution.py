# SPDX-License-Identifier: Apache-2.0
"""The map of an explanation on the ECG paper: tinted where the evidence lies, with one legend and a share per lead."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from ecglens.ecg import ECG
from ecglens.errors import SignalError, printable
from ecglens.explanation import NOT_TESTED, Explanation
from ecglens.fiducials import Fiducials
from ecglens.plotting.ecg import MM_PER_S, WIDTH_MM, Layout, Paper, Segment, draw_paper, lay_out, sheet
from ecglens.plotting.style import INK, OKABE_ITO, PAPER, QUIET, SIGNED, UNSIGNED, ecglens_style
from ecglens.shares import LIMB, rows_of, share_out, where_sentence

HEADER_MM, LEGEND_MM = 15.0, 47.0
PIXELS_PER_MM = 4
DEEPEST = 0.8  # opacity at the end of the scale; the trace stays readable on it
NEAR_MM, WIDE_MM = 2.0, 7.0  # how far the strong tint and the pale one reach beyond the trace
SCALE_PERCENTILE = 99.0

_NO_SIGN = {
    "share of attention": "the network attends here, for or against",
    "nothing of the network": "large here, whatever the network",
}
LINE_MM, LINE_LETTERS = 4.6, 160  # of the sentence under the legend
STAMP = "FAILED THE AUDIT"
VERDICT_WORDS = {
    "passes": "passes on this model",
    "fails": "fails on this model, do not rely on it",
    NOT_TESTED: "not tested on this model",
}


def plot_explanation(
    ecg: ECG,
    explanation: Explanation,
    *,
    layout: Layout = "3x4+rhythm",
    rhythm_lead: str = "II",
    start: float | None = None,
    marks: Fiducials | None = None,
) -> Figure:
    """Draw an ECG on paper, tinted by what an explanation says about it; other arguments as in `plot_ecg`.

    marks   of the waves: a sentence under the picture says in which segments and leads the map lies

    Orange is positive, blue negative, the paper itself 0; the scale ends at the 99th percentile of |value| over all
    leads. Values are averaged over 10 ms, a quarter of a millimetre. Raises SignalError for another record's map.
    """
    if ecg.record_id and explanation.record_id and ecg.record_id != explanation.record_id:
        raise SignalError("plot_explanation", "record", f"a map of {explanation.record_id}", f"one of {ecg.record_id}")
    paper = lay_out(ecg, layout, rhythm_lead, start)
    scale, colours, signed = colour_scale(explanation)
    with ecglens_style():
        words = where_sentence(explanation, share_out(explanation, marks)) if marks is not None else ""
        lines = textwrap.wrap(words, LINE_LETTERS)
        figure, axes = sheet(paper, HEADER_MM, LEGEND_MM + LINE_MM * len(lines))
        draw_tint(axes, paper, explanation, scale, colours, signed)
        draw_paper(axes, paper)
        _draw_header(axes, paper, explanation)
        _draw_shares(axes, explanation)
        _draw_legend(axes, explanation, scale, colours, signed)
        for index, line in enumerate(lines):
            axes.text(5, -LEGEND_MM - LINE_MM * index, printable(line, LINE_LETTERS), size=8.5, va="top")
        if explanation.verdict == "fails":
            _stamp(axes, paper)
    return figure


def colour_scale(explanation: Explanation) -> tuple[float, Colormap, bool]:
    """Return the value at the end of the scale, the colour map, and whether the map has two signs.

    The end is the 99th percentile of |value| over all leads; the maximum where that is 0, and 1 for an empty map.
    """
    signed = bool((explanation.values < 0).any())
    return end_of_scale([explanation]), SIGNED if signed else UNSIGNED, signed


def end_of_scale(explanations: Sequence[Explanation]) -> float:
    """Return the 99th percentile of |value| over all these maps; the maximum where that is 0, 1 for empty maps."""
    size = np.abs(np.concatenate([explanation.values.ravel() for explanation in explanations]))
    return float(np.percentile(size, SCALE_PERCENTILE)) or float(size.max()) or 1.0


def sign_words(explanation: Explanation) -> tuple[str, str]:
    """Return what negative and positive values mean, in words.

    A unit "x per y" is a slope (a gradient): its sign says what a higher voltage would do, not what speaks for what.
    Attention and maps that know nothing of the network have no sign and speak for nothing.
    """
    target = explanation.target
    if explanation.unit in _NO_SIGN:
        return "", _NO_SIGN[explanation.unit]
    if " per " in explanation.unit:
        return f"a higher voltage here lowers {target}", f"a higher voltage here raises {target}"
    return f"speaks against {target}", f"speaks for {target}"


def lead_map(explanation: Explanation, lead: str, edges: np.ndarray) -> np.ndarray:
    """Return the mean of one lead's map between consecutive `edges` (s) [cell]; 0 outside the map.

    Each value stands for the time around its sample, so a narrow peak loses height but never its area.
    """
    values = np.concatenate(([0.0], np.cumsum(explanation[lead].astype(np.float64)))) / explanation.fs
    ends = explanation.start + (np.arange(len(values)) - 0.5) / explanation.fs
    return np.diff(np.interp(edges, ends, values)) / np.diff(edges)


def draw_tint(
    axes: Axes, paper: Paper, explanation: Explanation, scale: float, colours: Colormap, signed: bool
) -> None:
    """Lay the map under the traces, one picture per segment."""
    for segment in paper.segments:
        if segment.lead not in explanation.leads or not np.isfinite(segment.millivolts).any():
            continue
        picture, extent = _tint(segment, explanation, scale, colours, signed)
        baseline = paper.baselines[segment.row]
        low, high = baseline + extent[2], baseline + extent[3]
        image = axes.imshow(
            picture, extent=(extent[0], extent[1], low, high), origin="lower", aspect="auto",
            interpolation="none", zorder=1.7,
        )  # fmt: skip
        image.set_clip_path(Rectangle((0, 0), WIDTH_MM, paper.height, transform=axes.transData))


def _tint(
    segment: Segment, explanation: Explanation, scale: float, colours: Colormap, signed: bool
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Return the tint of one segment as RGBA [height, width, 4] and its extent in mm from the row's baseline."""
    pixel = 1 / PIXELS_PER_MM
    n = max(1, round((segment.times[-1] - segment.times[0]) * MM_PER_S * PIXELS_PER_MM))
    edges = segment.start + np.arange(n + 1) * pixel / MM_PER_S
    strength = np.clip(lead_map(explanation, segment.lead, edges) / scale, -1.0, 1.0)
    low, high = _envelope(segment, n, pixel)
    bottom, top = np.nanmin(low) - 2 * WIDE_MM, np.nanmax(high) + 2 * WIDE_MM
    y = np.arange(bottom, top, pixel)[:, None]
    distance = np.maximum(np.maximum(low - y, y - high), 0.0)
    nearness = 0.8 * np.exp(-((distance / NEAR_MM) ** 2)) + 0.2 * np.exp(-((distance / WIDE_MM) ** 2))
    picture = np.repeat(paint(strength, colours, signed)[None], len(y), axis=0)
    picture[..., 3] *= np.nan_to_num(nearness)
    picture[picture[..., 3] < 1 / 255] = 0
    return np.rint(picture * 255).astype(np.uint8), (
        segment.x,
        segment.x + n * pixel,
        float(y[0, 0]),
        float(y[-1, 0] + pixel),
    )


def paint(strength: np.ndarray, colours: Colormap, signed: bool) -> np.ndarray:
    """Return RGBA [cell, 4] for values between -1 and 1: the nearer to 0, the more the paper shows through."""
    rgba = np.asarray(colours(strength / 2 + 0.5 if signed else strength))
    rgba[..., 3] = DEEPEST * np.minimum(np.abs(strength) * 1.5, 1.0)
    return rgba


def _envelope(segment: Segment, n: int, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest point of the trace around each of `n` pixels, in mm [pixel]; NaN in gaps."""
    at = np.clip(((segment.x_mm - segment.x) / pixel).astype(int), 0, n - 1)
    gap = np.isnan(segment.y_mm)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, at[~gap], segment.y_mm[~gap])
    np.maximum.at(high, at[~gap], segment.y_mm[~gap])
    empty = np.isinf(low)
    low[empty], high[empty] = _bridge(low, empty), _bridge(high, empty)
    low[at[gap]] = high[at[gap]] = np.nan
    return _widened(low, np.fmin), _widened(high, np.fmax)


def _bridge(values: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Return what lies between the known values, for pixels that hold no sample."""
    where = np.arange(len(values))
    return np.interp(where[empty], where[~empty], values[~empty])


def _widened(values: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """Return the extreme over each pixel and its two neighbours, NaN staying NaN."""
    padded = np.pad(values, 1, constant_values=np.nan)
    widened = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
    return np.where(np.isnan(values), np.nan, widened)


def _draw_header(axes: Axes, paper: Paper, explanation: Explanation) -> None:
    """Write what is explained, how, how finely, and whether to believe it."""
    y = paper.height
    title = f"Explanation of {printable(explanation.target, 60)}"
    if explanation.probability is not None:
        title += f": probability {explanation.probability:.3f}"
    axes.text(5, y + 8.2, title, size=11, weight="bold")
    leads = "cannot tell leads apart"
    if explanation.resolves_leads:
        leads = "limb leads hidden together" if LIMB in rows_of(explanation) else "tells leads apart"
    words = f"Method: {printable(explanation.method, 60)}   Resolution: {explanation.resolution_ms:.0f} ms, {leads}   "
    line = axes.text(5, y + 3.2, words, size=8.5)
    axes.annotate(
        f"Audit: {VERDICT_WORDS[explanation.verdict]}", xy=(1, 0), xycoords=line, size=8.5, weight="bold",
        color=OKABE_ITO["vermillion"] if explanation.verdict == "fails" else INK, va="bottom",
    )  # fmt: skip


def _stamp(axes: Axes, paper: Paper) -> None:
    """Write across the whole picture that its method failed: a picture is cut out and passed on without its header."""
    axes.text(
        WIDTH_MM / 2, paper.height / 2, STAMP, size=40, weight="bold", rotation=20, ha="center", va="center",
        color=INK, alpha=0.25, zorder=6,  # grey: the map itself is blue and orange
    )  # fmt: skip


def _draw_shares(axes: Axes, explanation: Explanation) -> None:
    """Draw each lead's share of |map| as a bar, against the share that every lead would have by chance."""
    left, bottom, width, height = 15.0, -40.0, 140.0, 20.0
    axes.text(left, bottom + height + 6, "Share of the absolute map per lead, whole recording", size=8.5, weight="bold")
    shares = explanation.share_by_lead()
    if not explanation.resolves_leads or len(shares) < 2:
        words = "This method gives all leads the same map." if len(shares) > 1 else "The network sees one lead only."
        axes.text(left, bottom + height - 4, words, size=8.5)
        return
    chance = 1 / len(shares)
    tallest = max(*shares.values(), 2 * chance)
    slot = min(width / len(shares), 14.0)
    halo = [Stroke(linewidth=2.2, foreground=PAPER), Normal()]
    index = 0
    for name, members in rows_of(explanation).items():  # leads hidden together are one bar, as wide as they are many
        n = len(members)
        share = sum(shares[explanation.leads[k]] for k in members)
        x, up = left + (index + 0.5 * n) * slot, height * share / n / tallest
        bar = Rectangle((x - (0.5 * n - 0.2) * slot, bottom), (n - 0.4) * slot, up, color="#8c8c8c", lw=0)
        bar.set_label(f"share {name}")
        axes.add_patch(bar)
        axes.text(x, bottom + up + 0.8, f"{share:.0%}", size=7, ha="center", color=QUIET, zorder=5, path_effects=halo)
        words = name if n == 1 else f"{name}, hidden together"
        axes.text(x, bottom - 1, printable(words, 30), size=7.5, ha="center", va="top")
        index += n
    end = left + len(shares) * slot
    y = bottom + height * chance / tallest
    axes.plot([left, end + 2], [y, y], color=INK, lw=0.8, ls=(0, (4, 3)), label="chance")
    axes.text(end + 3, y, f"even share, 1/{len(shares)}", size=7.5, va="center")
    axes.plot([left, end], [bottom, bottom], color=QUIET, lw=0.6)


def _draw_legend(axes: Axes, explanation: Explanation, scale: float, colours: Colormap, signed: bool) -> None:
    """Draw the one colour bar with its unit and what its ends mean."""
    left, right, bottom = 190.0, WIDTH_MM - 10.0, -27.0
    name = f"Map, in {printable(explanation.unit, 40)}" if explanation.unit else "Map"
    axes.text(left, bottom + 13, name, size=8.5, weight="bold")
    strength = np.linspace(-1.0 if signed else 0.0, 1.0, 256)
    axes.imshow(
        paint(strength, colours, signed)[None], extent=(left, right, bottom + 5, bottom + 10), aspect="auto",
        interpolation="none", zorder=2,
    )  # fmt: skip
    axes.add_patch(Rectangle((left, bottom + 5), right - left, 5, fc="none", ec=QUIET, lw=0.5, zorder=3))
    middle = [((left + right) / 2, "0")] if signed else []
    first = f"\u2212{scale:.2g}" if signed else "0"
    for x, words in [(left, first), *middle, (right, f"+{scale:.2g}" if signed else f"{scale:.2g}")]:
        axes.text(x, bottom + 1.3, words, size=7.5, ha="center")
    negative, positive = sign_words(explanation)
    lines = (
        [f"orange, positive: {positive}", f"blue, negative: {negative}"] if signed else ["orange: the map is strong"]
    )
    for index, line in enumerate([*lines, "The scale ends at the 99th percentile over all leads."]):
        axes.text(
            left, bottom - 4.2 - 4.0 * index, printable(line, 60), size=7.5, color=QUIET if index == len(lines) else INK
        )
