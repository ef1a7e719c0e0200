# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from ecglens.errors import UsageError
from ecglens.plotting.cohort import (
    MOST_CLASSES,
    plot_ages,
    plot_class_frequencies,
    plot_co_occurrence,
    plot_counts,
    plot_durations,
    plot_labels_per_record,
    plot_missing,
)
from ecglens.plotting.style import UNSIGNED, figure_bytes


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def boxes(figure, artists):
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # as `figure_bytes` does
        canvas.draw()
    return [text.get_window_extent(canvas.get_renderer()) for text in artists if text.get_text()]


def test_class_frequencies_are_ranked_and_drawn_to_scale():
    figure = plot_class_frequencies(["HYP", "NORM", "X"], [0.1, 0.5, np.nan], [0.05, 0.4, np.nan],
                                    [0.2, 0.6, np.nan], [10, 50, 0])  # fmt: skip
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["NORM", "HYP", "X"]
    assert [patch.get_width() for patch in axes.patches] == [0.5, 0.1]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.4, 0.6], [0.05, 0.2]]
    assert {"50", "50.0% [40.0, 60.0]", "not known"} <= set(texts(figure))


def test_counts_beyond_the_most_are_one_bar():
    figure = plot_counts({str(k): 100 - k for k in range(50)}, "Records")
    (axes,) = figure.axes
    assert len(axes.patches) == 20
    assert axes.get_yticklabels()[-1].get_text() == "31 others"
    assert sum(patch.get_width() for patch in axes.patches) == sum(100 - k for k in range(50))
    assert axes.patches[-1].get_alpha() < 1


def test_missing_is_drawn_as_a_share_of_all():
    figure = plot_missing({"age": 5, "sex": 0}, 20)
    drawn = {bars.get_label(): bars[0].get_width() for bars in figure.axes[0].containers if bars.get_label() != "all"}
    assert drawn == {"age": 0.25, "sex": 0.0}
    assert figure.axes[0].get_xlim() == (0, 1)


def test_labels_per_record_and_ages_have_their_numbers():
    figure = plot_labels_per_record({"0": 3, "1": 1200})
    assert {"3", "1,200"} <= set(texts(figure))
    ages = plot_ages({"female": (1, 2), "male": (3, 40)}, (0, 10))
    assert [axes.get_title(loc="left") for axes in ages.axes] == ["female, 3", "male, 43"]
    assert len({axes.get_ylim() for axes in ages.axes}) == 1
    assert [label.get_text() for label in ages.axes[0].get_xticklabels()] == ["0–9", "10+"]


def test_the_shade_of_a_pair_is_the_share_of_its_row():
    counts = np.array([[100, 50, 0], [50, 200, 10], [0, 10, 20]])
    figure = plot_co_occurrence(["A", "B", "C"], counts)
    cells = {p.get_xy(): p for p in figure.axes[0].patches if p.get_width() == 1}
    assert len(cells) == 7  # pairs that never occur stay blank
    for (column, row), cell in cells.items():
        if column != row:
            expected = UNSIGNED(0.85 * counts[row, column] / counts[row, row])
            assert cell.get_facecolor() == pytest.approx(expected)
    assert to_rgb(cells[(0, 0)].get_facecolor()) == to_rgb("#ece7e1")
    assert {"50%", "25%", "5%"} <= set(texts(figure))


def test_forty_five_classes_do_not_run_into_each_other():
    n = MOST_CLASSES
    counts = np.zeros((n, n), int)
    counts[0] = 1234
    np.fill_diagonal(counts, 21_799)
    figure = plot_co_occurrence([f"CLASS{k}" for k in range(n)], counts)
    (axes, _) = figure.axes
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        found = boxes(figure, labels)
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(found))
        assert all(box.x0 >= 0 and box.y1 <= figure.bbox.y1 for box in found)
    row = [text for text in axes.texts if text.get_position()[1] == 0.5]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes(figure, row)))


@pytest.mark.parametrize("name", ["X", "a class whose name is far too long to be written beside a bar", "心電図" * 5])
def test_names_and_numbers_stay_inside_the_picture(name):
    figure = plot_class_frequencies([name, "NORM"], [0.5, 0.4], [0.4, 0.3], [0.6, 0.5], [123_456, 1])
    (axes,) = figure.axes
    names = boxes(figure, axes.get_yticklabels())
    assert min(box.x0 for box in names) >= 0
    assert max(box.x1 for box in boxes(figure, axes.texts)) <= figure.bbox.x1
    counts = [text for text in axes.texts if text.get_ha() == "right"]
    assert min(box.x0 for box in boxes(figure, counts)) > axes.get_window_extent().x1


@pytest.mark.parametrize(("longest", "unit"), [(10.0, "seconds"), (1806.0, "minutes"), (86400.0, "hours")])
def test_lengths_come_in_a_unit_that_suits_them(longest, unit):
    figure = plot_durations([longest / 2, longest])
    assert figure.axes[0].get_xlabel() == f"Length in {unit}"
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 2


def test_a_hostile_name_is_text_and_no_formula():
    for name in ("$\\frac{1}{0}$", "=cmd|' /C calc'!A0", "<script>", "a\x1b[31m\nb"):
        figures = (plot_counts({name: 3}, "Records"), plot_co_occurrence([name, "B"], np.array([[2, 1], [1, 2]])))
        for figure in figures:
            assert b"<script>" not in figure_bytes(figure)


def test_nothing_to_draw_is_refused():
    with pytest.raises(UsageError):
        plot_counts({}, "Records")
    with pytest.raises(UsageError):
        plot_class_frequencies([], [], [], [], [])
    with pytest.raises(UsageError):
        plot_co_occurrence(["A"], np.ones((1, 1)))
    with pytest.raises(UsageError):
        plot_co_occurrence(["A", "B"], np.ones((3, 3)))
    with pytest.raises(UsageError):
        plot_missing({"age": 1}, 0)
    with pytest.raises(UsageError):
        plot_ages({}, (0, 10))
    with pytest.raises(UsageError):
        plot_durations([])
    with pytest.raises(UsageError):
        plot_labels_per_record({})
