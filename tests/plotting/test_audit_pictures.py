# SPDX-License-Identifier: Apache-2.0
"""Pictures of an audit say what they were given."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens import STANDARD_LEADS
from ecglens.errors import UsageError
from ecglens.plotting.audit import (
    plot_cross_correlation,
    plot_deletion,
    plot_heat,
    plot_rules,
    plot_specificity,
)
from ecglens.plotting.style import figure_bytes

RNG = np.random.default_rng(0)
METHODS = ("saliency", "lrp", "energy")


def texts(figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def rules():
    points = [(0.2, 0.1, 0.3, True), (-0.1, -0.2, 0.05, False), None]
    return plot_rules(METHODS, {"Planted": (points, 0.0, -0.2), "Deletion": (points, 0.0, None)})


def deletion():
    own = {m: RNG.random((3, 4)) for m in METHODS}
    return plot_deletion([0.02, 0.1, 0.2, 0.4], ["zero", "line", "mean"], own, own)


def specificity():
    spatial = {m: np.sort(RNG.random((5, 12)), axis=0) for m in METHODS}
    temporal = {m: np.sort(RNG.random((3, 80)), axis=0) for m in METHODS}
    return plot_specificity(
        "P", STANDARD_LEADS, spatial, temporal, chance=0.289, ceiling=[0.6] * 6 + [1.0] * 6, window_ms=(-200, -100),
        times_ms=np.linspace(-300, 500, 80, endpoint=False), beat=RNG.random(80),
    )  # fmt: skip


def heat():
    return plot_heat(METHODS, STANDARD_LEADS, RNG.random((3, 12)), title="MI planted in V3", outlined=[(0, 8)])


def crossed():
    return plot_cross_correlation(STANDARD_LEADS, RNG.random(12), {m: RNG.random(12) for m in METHODS})


@pytest.mark.parametrize("draw", [rules, deletion, specificity, heat, crossed], ids=lambda f: f.__name__)
def test_each_names_its_methods_or_leads_and_is_the_same_twice(draw):
    figure = draw()
    said = texts(figure)
    assert all(any(m in text for text in said) for m in METHODS)
    assert figure_bytes(figure) == figure_bytes(figure)


def test_what_was_not_tested_is_a_dash_and_every_line_is_drawn():
    figure = rules()
    assert texts(figure).count("\u2013") == 2
    labels = [line.get_label() for axes in figure.axes for line in axes.get_lines()]
    assert (labels.count("threshold"), labels.count("chance")) == (2, 1)


def test_a_heat_table_prints_its_numbers_and_leaves_unknown_cells_blank():
    figure = plot_heat(["a"], ["x", "y"], np.array([[0.25, np.nan]]))
    assert "0.25" in texts(figure)
    assert not any("nan" in text for text in texts(figure))
    with pytest.raises(UsageError):
        plot_heat(["a"], ["x"], np.zeros((2, 1)))


def test_a_map_of_a_method_that_failed_is_stamped():
    from ecglens.plotting.attribution import STAMP, plot_explanation
    from ecglens.simulation import simulate_ecg

    ecg = simulate_ecg("r1", fs=250.0).ecg
    from ecglens import Explanation

    def drawn(verdict: str) -> list[str]:
        row, values = np.array([1.0]), np.zeros((12, ecg.n_samples), np.float32)
        return texts(plot_explanation(ecg, Explanation(values, 250.0, ecg.leads, "r1", "MI", row, ("MI",), "saliency",
                                                       verdict=verdict)))  # fmt: skip

    assert STAMP in drawn("fails")
    assert STAMP not in drawn("passes") + drawn("not tested")
