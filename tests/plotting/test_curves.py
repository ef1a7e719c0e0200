# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.plotting.curves import (
    plot_confusion,
    plot_history,
    plot_intervals,
    plot_precision_recall,
    plot_roc,
)
from ecglens.plotting.style import figure_bytes
from ecglens.statistics.metrics import average_precision, pr_points

GRID = np.linspace(0, 1, 50)


def by_label(figure, label, axes=0):
    return [line for line in figure.axes[axes].lines if line.get_label() == label]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_roc_has_its_curves_their_texts_and_the_chance_line():
    figure = plot_roc({"MI": (GRID, np.sqrt(GRID), "0.67 [0.60, 0.72]"), "HYP": (GRID, GRID**0.2, "0.83 [0.8, 0.9]")})
    np.testing.assert_array_equal(by_label(figure, "MI")[0].get_ydata(), np.sqrt(GRID))
    assert by_label(figure, "chance")[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert {"MI", "HYP", "0.67 [0.60, 0.72]", "chance"} <= set(texts(figure))
    keys = {line.get_label(): line.get_ydata()[0] for line in figure.axes[0].lines if "key" in line.get_label()}
    assert keys["key HYP"] > keys["key MI"]  # the better curve is named first
    assert by_label(figure, "key MI")[0].get_color() == by_label(figure, "MI")[0].get_color()


def test_precision_recall_has_a_chance_line_per_class_at_its_prevalence():
    figure = plot_precision_recall({"MI": (GRID, 1 - GRID / 2, 0.25, "0.75"), "CD": (GRID, 1 - GRID, 0.1, "0.5")})
    assert set(by_label(figure, "chance MI")[0].get_ydata()) == {0.25}
    assert set(by_label(figure, "chance CD")[0].get_ydata()) == {0.1}


def test_the_area_under_the_drawn_precision_recall_steps_is_the_average_precision():
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.3).astype(float)
    scores = labels + rng.normal(0, 1, 60)
    points = pr_points(labels, scores)
    figure = plot_precision_recall({"MI": (points.recall, points.precision, 0.3, "0.5")})
    (line,) = by_label(figure, "MI")
    assert line.get_drawstyle() == "steps-pre"
    recall, precision = line.get_data()
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average_precision(labels, scores))


def test_twenty_curves_are_told_apart():
    figure = plot_roc({f"class {i}": (GRID, GRID ** (1 / (i + 1)), "0.5") for i in range(20)})
    looks = {
        (line.get_color(), line.get_linestyle())
        for line in figure.axes[0].lines
        if line.get_label().startswith("class")
    }
    assert len(looks) == 20
    assert figure_bytes(figure)


def test_confusion_writes_counts_and_row_percentages():
    figure = plot_confusion({"MI": np.array([[90, 10], [5, 15]]), "none": np.array([[7, 0], [0, 0]])})
    written = texts(figure)
    assert {"90", "90% of row", "75% of row", "25% of row"} <= set(written)
    assert written.count("none") == 2  # a row without records has no percentages
    with pytest.raises(UsageError, match="shape"):
        plot_confusion({"MI": np.zeros((3, 3))})
    with pytest.raises(UsageError, match="at least one"):
        plot_confusion({})


def test_intervals_show_dot_interval_text_and_chance():
    figure = plot_intervals(["MI", "CD"], [0.9, np.nan], [0.88, np.nan], [0.92, np.nan], 0.5, "AUROC")
    assert by_label(figure, "interval")[0].get_xdata().tolist() == [0.88, 0.92]
    assert {x for line in by_label(figure, "chance") for x in line.get_xdata()} == {0.5}
    assert {"0.900 [0.880, 0.920]", "not defined"} <= set(texts(figure))
    each = plot_intervals(["MI", "CD"], [0.9, 0.8], [0.8, 0.7], [1, 0.9], [0.2, 0.1], "Average precision")
    assert [line.get_xdata()[0] for line in by_label(each, "chance")] == [0.2, 0.1]
    for wrong in ([0.1], [0.1, 0.2, 0.3]):
        with pytest.raises(UsageError, match="chance"):
            plot_intervals(["MI", "CD"], [0.9, 0.8], [0.8, 0.7], [1, 0.9], wrong, "AUROC")
    with pytest.raises(UsageError, match="lengths"):
        plot_intervals(["MI"], [0.9, 0.8], [0.8, 0.7], [1, 0.9], None, "AUROC")


def test_history_marks_the_epoch_that_was_kept_and_chance():
    figure = plot_history([1, 2, 3], [0.6, 0.4, 0.3], [0.7, 0.9, 0.85], 2)
    assert by_label(figure, "best epoch")[0].get_xdata() == [2, 2]
    assert set(by_label(figure, "chance", axes=1)[0].get_ydata()) == {0.5}
    assert plot_history([1], [0.6], [0.7], 1)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_same_bytes_twice(kind):
    curves = {"$MI_<b>": (GRID, np.sqrt(GRID), "0.67")}
    assert figure_bytes(plot_roc(curves), kind) == figure_bytes(plot_roc(curves), kind)
