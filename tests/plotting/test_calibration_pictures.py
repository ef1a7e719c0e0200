# SPDX-License-Identifier: Apache-2.0
"""Pictures of calibration and decisions show the numbers they were given."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.plotting.calibration import (
    plot_cooccurrence,
    plot_decision_curves,
    plot_learning_curve,
    plot_reliability,
)
from ecglens.plotting.style import figure_bytes

SAID, SO = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.4, 1.0])
T = np.linspace(0.02, 0.8, 20)


def line(axes, label):
    return next(drawn for drawn in axes.lines if drawn.get_label() == label)


def test_reliability_draws_points_intervals_and_the_diagonal():
    figure = plot_reliability(dict.fromkeys(("MI", "<b>", "HYP", "CD"), (SAID, SO, SO - 0.1, SO, "slope 1.1")))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["MI", "<b>", "HYP", "CD"]
    for axes in figure.axes:
        np.testing.assert_array_equal(line(axes, "observed").get_xydata(), np.column_stack([SAID, SO]))
        assert line(axes, "as said").get_xydata().tolist() == [[0, 0], [1, 1]]
        segments = axes.collections[0].get_segments()
        np.testing.assert_allclose([s[:, 1] for s in segments], np.column_stack([SO - 0.1, SO]))
    assert figure_bytes(figure) == figure_bytes(figure)


def test_decision_curves_draw_both_defaults_and_the_band():
    everyone = 0.3 - 0.7 * T / (1 - T)
    figure = plot_decision_curves({"MI": (T, 0.3 - 0.3 * T, 0.25 - 0.3 * T, 0.35 - 0.3 * T, everyone)})
    (axes,) = figure.axes
    np.testing.assert_array_equal(line(axes, "by the network").get_ydata(), 0.3 - 0.3 * T)
    np.testing.assert_array_equal(line(axes, "treat all").get_ydata(), everyone)
    assert set(line(axes, "treat none").get_ydata()) == {0}
    low, high = axes.get_ylim()
    assert low < 0 < 0.35 < high
    assert len(axes.collections) == 1


def test_cooccurrence_writes_counts_and_shares_of_rows():
    counts = np.array([[20, 5], [5, 10]])
    figure = plot_cooccurrence(["MI", "CD"], counts, np.array([20, 10]), "was called")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["20", "100%", "5", "25%", "5", "50%", "10", "100%"]
    empty = plot_cooccurrence(["MI", "CD"], np.zeros((2, 2)), np.zeros(2), "was called")
    assert "nan%" not in [text.get_text() for text in empty.axes[0].texts]
    many = plot_cooccurrence([f"class {k}" for k in range(23)], np.ones((23, 23)), np.ones(23), "was called")
    assert not many.axes[0].texts
    assert len(many.axes[0].patches) == 23 * 23


def test_learning_curve_is_on_a_scale_of_sizes():
    figure = plot_learning_curve([100, 200, 400], [0.7, 0.8, 0.85], [0.6, 0.7, 0.8], [0.8, 0.9, 0.9], "AUROC")
    (axes,) = figure.axes
    np.testing.assert_array_equal(line(axes, "value").get_xydata(), [[100, 0.7], [200, 0.8], [400, 0.85]])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["100", "200", "400"]
    assert axes.get_xscale() == "log"


def test_nothing_to_draw_is_refused():
    for draw in (plot_reliability, plot_decision_curves):
        with pytest.raises(UsageError):
            draw({})
    for names, counts in (([], np.zeros((0, 0))), (["A"], np.zeros((2, 2)))):
        with pytest.raises(UsageError):
            plot_cooccurrence(names, counts, np.zeros(len(names)), "x")
