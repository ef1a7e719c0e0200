# SPDX-License-Identifier: Apache-2.0
"""What the page of an evaluation says in words."""

from __future__ import annotations

from ecglens.reporting.evaluation import _worth


def test_a_gain_that_comes_and_goes_is_told_as_it_is() -> None:
    curve = {"threshold": [0.02, 0.2, 0.4, 0.6, 0.8], "gain_low": [0.1, -0.1, 0.2, 0.1, None]}
    assert _worth(curve) == "2%, 40% to 60%"
    assert _worth(curve | {"gain_low": [-0.1] * 5}) == "nowhere for sure"
    assert _worth(curve | {"gain_low": [None] * 5}) == "too few patients to say"
