# SPDX-License-Identifier: Apache-2.0
"""How every picture looks: palette, paper, colour maps, fonts; and the one way a figure becomes bytes.

Nothing here touches pyplot: figures belong to whoever made them and vanish with their last reference.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from matplotlib import style as matplotlib_style
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by every kind of colour vision.
OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "bluish green": "#009E73",
    "reddish purple": "#CC79A7",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
# For lines on white; yellow is too pale for that, and black is left to the traces.
LINE_COLOURS = tuple(OKABE_ITO[name] for name in OKABE_ITO if name not in ("yellow", "black"))
LINE_STYLES = ("-", "--", ":", "-.")

PAPER, FINE_GRID, FIRM_GRID = "#fffcf8", "#f5ddd5", "#e9bcae"
INK, QUIET, GAP = "#1a1a1a", "#5f5f5f", "#8a8a8a"

MM_PER_INCH = 25.4
POINTS_PER_MM = 72 / MM_PER_INCH
TRACE_MM = 0.3

# Signed evidence, centred on 0, and unsigned evidence, from nothing to strong.
SIGNED = LinearSegmentedColormap.from_list("ecglens-signed", ["#005f9e", "#3d9bd4", "#ffffff", "#f0923d", "#cf5600"])
UNSIGNED = LinearSegmentedColormap.from_list("ecglens-unsigned", ["#ffffff", "#f0923d", "#cf5600"])

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "Segoe UI", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a record id is a "$"
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "svg.hashsalt": "ecglens",
    "svg.fonttype": "path",
}
_METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
# matplotlib's settings belong to the process, so two threads may not borrow them at once.
_borrowing = threading.RLock()


@contextmanager
def ecglens_style() -> Iterator[None]:
    """Draw with our settings inside the block; whatever the user had set is back after it, also after an exception."""
    with _borrowing, matplotlib_style.context(["default", _RC]):
        yield


def line_style(index: int) -> tuple[str, str]:
    """Return colour and dash of the `index`-th curve; 24 differ."""
    return LINE_COLOURS[index % len(LINE_COLOURS)], LINE_STYLES[index // len(LINE_COLOURS) % len(LINE_STYLES)]


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of this size, in mm, that pyplot knows nothing of."""
    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), facecolor=PAPER)


def figure_bytes(figure: Figure, format: Literal["svg", "png"] = "svg", *, dpi: float = 200.0) -> bytes:
    """Return the picture as SVG or PNG: same figure, same bytes. `dpi` is that of PNGs and of images inside SVGs."""
    buffer = io.BytesIO()
    with ecglens_style(), warnings.catch_warnings():
        # A letter the font lacks becomes a box; that is no reason to have no picture.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format=format, dpi=dpi, metadata=_METADATA[format])
    return _lean(buffer.getvalue()) if format == "svg" else buffer.getvalue()


def _lean(svg: bytes) -> bytes:
    """Drop the web addresses that nobody needs to draw the picture, and path digits below 0.001 pt (0.0004 mm)."""
    svg = re.sub(rb"<!DOCTYPE[^>]*>\s*", b"", svg)
    svg = re.sub(rb"\s*<metadata>.*?</metadata>", b"", svg, flags=re.DOTALL)
    return re.sub(rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d{3})\d+", rb"\1", path[0]), svg)
