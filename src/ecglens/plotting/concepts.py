# SPDX-License-Identifier: Apache-2.0
"""What a network uses concepts for, layer by layer; and how concepts go along with diagnoses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecglens.errors import printable
from ecglens.plotting.style import INK, QUIET, SIGNED, ecglens_style, new_figure

LEFT_MM, RIGHT_MM, TOP_MM, KEY_MM = 36.0, 4.0, 12.0, 14.0
SQUARE_MM, ROW_MM, GAP_MM = 7.0, 6.4, 5.0
HEAD_MM, FOOT_MM = 8.0, 15.0
CLASSES_PER_BAND = 5
CANNOT_TELL, UNTOLD_INK = "#e3e3e3", "#5f5f5f"
_CELL = ("concept", "layer", "score", "verdict")


def plot_concept_scores(cells: pd.DataFrame, counts: Mapping[str, int] | None = None) -> Figure:
    """Draw a square per layer, class and concept with its score: share of the class's records whose logit rises.

    cells    columns layer, class, concept, score, verdict, as `ConceptTest.cells` has them
    counts   records of each class, to stand beside its name

    Orange, with a star: the network uses the concept for the class; blue, with a star: against it; grey: it cannot be
    told, and the table of the page says why. Layers run from input (left) to output (right).
    """
    layers, classes, concepts = (list(dict.fromkeys(cells[name])) for name in ("layer", "class", "concept"))
    bands = [classes[k : k + CLASSES_PER_BAND] for k in range(0, len(classes), CLASSES_PER_BAND)]
    block = SQUARE_MM * len(layers) + GAP_MM
    band_mm = HEAD_MM + ROW_MM * len(concepts) + FOOT_MM
    width = max(LEFT_MM + block * min(len(classes), CLASSES_PER_BAND) + RIGHT_MM, 165.0)
    height = TOP_MM + band_mm * len(bands) + KEY_MM
    with ecglens_style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1), label="scores")
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.text(4, 6, "What the network uses each concept for, layer by layer", size=11, weight="bold", va="center")
        for b, band in enumerate(bands):
            top = TOP_MM + b * band_mm + HEAD_MM
            for r, concept in enumerate(concepts):
                at = (LEFT_MM - 2, top + ROW_MM * (r + 0.5))
                axes.text(*at, printable(concept, 22), ha="right", va="center", size=8.5)
            for k, name in enumerate(band):
                n = f"  N = {counts[name]:,}" if counts and name in counts else ""
                left = LEFT_MM + k * block
                axes.text(left, top - 3, printable(name, 14), size=9.5, weight="bold", va="center")
                axes.text(left + block - GAP_MM, top - 3, n, size=7.5, color=QUIET, va="center", ha="right")
                _squares(axes, cells[cells["class"] == name], concepts, layers, left, top)
        _key(axes, height - KEY_MM)
    return figure


def _squares(
    axes: Axes, found: pd.DataFrame, concepts: Sequence[str], layers: Sequence[str], left: float, top: float
) -> None:
    """Draw one class: a row per concept, a square per layer, the layers' names below."""
    for concept, layer, score, verdict in zip(*(found[name] for name in _CELL), strict=True):
        at = (left + layers.index(layer) * SQUARE_MM, top + concepts.index(concept) * ROW_MM)
        _square(axes, *at, None if pd.isna(score) else float(score), str(verdict))
    for k, layer in enumerate(layers):
        middle = left + (k + 0.5) * SQUARE_MM
        axes.text(middle, top + ROW_MM * len(concepts) + 1, layer, size=6.5, rotation=55, ha="right", va="top",
                  rotation_mode="anchor", color=QUIET)  # fmt: skip


def _square(axes: Axes, left: float, top: float, score: float | None, verdict: str) -> None:
    told = verdict.startswith("uses")
    colour = SIGNED(score) if told and score is not None else CANNOT_TELL
    size = (SQUARE_MM - 0.4, ROW_MM - 0.4)
    axes.add_patch(Rectangle((left + 0.2, top + 0.2), *size, facecolor=colour, edgecolor="none"))
    if score is not None:
        ink = "#ffffff" if told and abs(score - 0.5) > 0.35 else INK if told else UNTOLD_INK
        axes.text(
            left + SQUARE_MM / 2, top + ROW_MM / 2 + 0.1, f"{100 * score:.0f}{'*' if told else ''}", ha="center",
            va="center", size=7, color=ink, weight="bold" if told else "normal",
        )  # fmt: skip


def _key(axes: Axes, top: float) -> None:
    words = (("uses it for", 0.97), ("uses it against", 0.03), ("cannot tell", 0.40))
    left = LEFT_MM
    for word, score in words:
        _square(axes, left, top, score, word)
        axes.text(left + SQUARE_MM + 1.5, top + ROW_MM / 2, word, size=8, va="center")
        left += 34
    axes.text(
        LEFT_MM, top + 9.5, "Number: records of the class, in %, whose logit rises along the concept's direction.",
        size=7.5, color=QUIET, va="center",
    )  # fmt: skip


def plot_association(association: pd.DataFrame) -> Figure:
    """Draw Matthews' correlation of each concept (rows) with each diagnosis (columns), the number in each cell.

    association   columns class, concept, mcc, as `ConceptTest.association` has them
    """
    classes, concepts = (list(dict.fromkeys(association[name])) for name in ("class", "concept"))
    table = association.pivot(index="concept", columns="class", values="mcc").loc[concepts, classes].astype(float)
    cell = 13.0
    width = max(LEFT_MM + cell * len(classes) + RIGHT_MM, 110.0)
    height = TOP_MM + 6 + 6.4 * len(concepts) + 12
    with ecglens_style():
        figure = new_figure(width, height)
        place = (LEFT_MM / width, 12 / height, cell * len(classes) / width, 6.4 * len(concepts) / height)
        axes = figure.add_axes(place, label="association")
        axes.imshow(table.to_numpy(), cmap=SIGNED, vmin=-1, vmax=1, aspect="auto")
        for r, row in enumerate(table.to_numpy()):
            for k, value in enumerate(row):
                text = f"{value:.2f}".replace("-", "\u2212") if np.isfinite(value) else "n/a"
                axes.text(k, r, text, ha="center", va="center", size=7.5, color="#fff" if abs(value) > 0.8 else INK)
        axes.set_xticks(range(len(classes)), [printable(name, 12) for name in classes], size=8.5)
        axes.set_yticks(range(len(concepts)), [printable(name, 22) for name in concepts], size=8.5)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.text(
            4 / width, 1 - 5 / height, "How concepts go along with diagnoses", size=11, weight="bold", va="center"
        )
        note = "Matthews' correlation: 1 always together, 0 as by chance, \u22121 never together."
        figure.text(4 / width, 5 / height, note, size=7.5, color=QUIET, va="center")
    return figure
