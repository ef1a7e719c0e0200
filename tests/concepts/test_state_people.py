# SPDX-License-Identifier: Apache-2.0
"""In whom states are: differences and slopes by hand, planted ones found, the unknown left out."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.concepts.state_people import whom_of


def planted(n=400):
    generator = np.random.default_rng(3)
    female, age = (generator.random(n) < 0.5).astype(float), generator.uniform(20, 90, n)
    one = 0.3 + 0.05 * female + 0.002 * age + generator.normal(0, 0.02, n)
    return np.column_stack([one, 1 - one]), female, age, [str(k // 2) for k in range(n)]


def test_what_was_planted_is_found_and_mirrored_in_the_other_state():
    shares, female, age, people = planted()
    one, other = whom_of(shares, female, age, people)
    assert one["women_less_men"]["low"] < 0.05 < one["women_less_men"]["high"]
    assert one["women_less_men"]["low"] > 0.03
    assert one["per_decade"]["low"] < 0.02 < one["per_decade"]["high"]
    for key in ("women_less_men", "per_decade"):
        assert other[key]["value"] == pytest.approx(-one[key]["value"])
        assert other[key]["low"] == pytest.approx(-one[key]["high"], abs=2e-3)


def test_values_are_those_of_numpy_and_the_unknown_are_left_out():
    shares, female, age, people = planted(60)
    female[:10], age[50:] = np.nan, np.nan
    (one, _) = whom_of(shares, female, age, people)
    women, men = (shares[female == sex, 0].mean() for sex in (1, 0))
    assert one["women_less_men"]["value"] == pytest.approx(women - men)
    assert one["per_decade"]["value"] == pytest.approx(10 * np.polyfit(age[:50], shares[:50, 0], 1)[0])
    assert (one["women_less_men"]["n"], one["per_decade"]["n"]) == (50, 50)


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_one_sex_or_none_has_no_difference(value):
    shares, _, age, people = planted(20)
    (one, _) = whom_of(shares, np.full(20, value), age, people)
    assert one["women_less_men"]["value"] is None
