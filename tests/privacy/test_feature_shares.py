# SPDX-License-Identifier: Apache-2.0
"""What readable attackers go by is what was planted, sums to the whole, and stands in JSON, table and page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecglens.privacy.feature_shares import (
    AT_MOST,
    EXACT,
    FeatureShares,
    feature_shares,
    largest_first,
    of_either_kind,
    summed_up,
)
from ecglens.privacy.identify import identify
from ecglens.privacy.unveiled import FEATURES, fit_readable
from ecglens.reporting.identification import identification_report
from ecglens.runs.draws import evenly
from ecglens.statistics.figures import interval
from ecglens.statistics.verification import pairs

from .conftest import people_cohort


@pytest.mark.parametrize("model", ["unveiled-lr", "unveiled-tree"])
def test_the_feature_that_was_planted_has_the_largest_share(model: str):
    random = np.random.default_rng(0)
    features = 5 * random.normal(size=(300, len(FEATURES))) + 3
    classes = (features[:, 7] > 3).astype(np.int64)
    fitted = fit_readable(model, (features, classes), (features[:50], classes[:50]))
    people = np.arange(100) // 4
    told = feature_shares(model, fitted, features[:100], features, people)
    mean = told.each.mean(axis=0)
    assert mean.argmax() == 7
    assert mean[7] > 0.4 * mean.sum()
    assert told.gap < EXACT
    assert (told.people == people[:, None]).all()
    if model == "unveiled-lr":  # weight x (value - mean), in deviations
        own = (features[:100] - features.mean(axis=0)) / features.std(axis=0) * fitted.estimator.coef_
        np.testing.assert_allclose(told.each, np.abs(own))
    assert feature_shares("unveiled-forest", fitted, features[:100], features, people) is None


def planted(which: int, n: int, gap: float) -> FeatureShares:
    """Items to which one feature adds 2, of one person each, named by the feature."""
    each = np.zeros((n, len(FEATURES)))
    each[:, which] = 2.0
    return FeatureShares(each, np.array([[f"{which}:{i}"] * 2 for i in range(n)]), gap)


def test_folds_count_by_their_items_and_shares_are_of_the_whole():
    told = summed_up({"unveiled-lr": [planted(0, 30, 1e-12), planted(1, 10, 1e-3)], "cnn": []})
    assert list(told) == ["unveiled-lr"]
    share = told["unveiled-lr"]["share"]
    values = [each["value"] for each in share.values()]
    assert (share[FEATURES[0]]["value"], share[FEATURES[1]]["value"], sum(values)) == (0.75, 0.25, 1.0)
    counts = [told["unveiled-lr"][key] for key in ("n", "n_people", "gap", "exact")]
    assert counts == [40, 40, 1e-3, False]
    assert summed_up({"cnn": []}) is None


def test_the_interval_of_a_share_is_over_people():
    # Three quarters of 40 people go by the first feature: binomial, whatever the number of items of each person.
    once = summed_up({"unveiled-lr": [planted(0, 30, 0.0), planted(1, 10, 0.0)]})["unveiled-lr"]
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 40)
    for model in (once, _repeated_items(7)):
        assert model["share"][FEATURES[0]]["low"] == pytest.approx(0.75 - spread, abs=0.03)
        assert model["share"][FEATURES[0]]["high"] == pytest.approx(0.75 + spread, abs=0.03)
    same = summed_up({"unveiled-lr": [FeatureShares(np.ones((4, len(FEATURES))), np.full((4, 2), "one"), 0.0)]})
    assert np.isnan(same["unveiled-lr"]["share"][FEATURES[0]]["low"])  # one person


def _repeated_items(times: int) -> dict:
    parts = [planted(0, 30, 0.0), planted(1, 10, 0.0)]
    parts = [FeatureShares(np.repeat(p.each, times, axis=0), np.repeat(p.people, times, axis=0), 0.0) for p in parts]
    return summed_up({"unveiled-lr": parts})["unveiled-lr"]


def test_resamples_without_any_item_are_left_out():
    each = np.zeros((3, len(FEATURES)))
    each[:, 0] = 1.0  # whoever is drawn, the first feature adds everything, or there is no answer to tell of
    people = np.array([["a", "a"], ["a", "b"], ["a", "c"]])
    told = summed_up({"unveiled-lr": [FeatureShares(each, people, 0.0)]})["unveiled-lr"]["share"]
    assert told[FEATURES[0]] == {"value": 1.0, "low": 1.0, "high": 1.0}
    nothing = summed_up({"unveiled-lr": [FeatureShares(np.zeros_like(each), people, 0.0)]})["unveiled-lr"]["share"]
    assert nothing[FEATURES[0]]["value"] == 0
    assert np.isnan(nothing[FEATURES[0]]["low"])


def test_shares_of_runs_before_they_had_intervals_are_still_told():
    told = largest_first({"a": 0.25, "b": 0.75})
    assert [(name, interval(share)) for name, share in told] == [("b", "0.750"), ("a", "0.250")]


def test_an_item_of_two_people_counts_as_often_as_both_were_drawn():
    each = np.zeros((3, len(FEATURES)))
    each[[0, 1, 2], [0, 1, 2]] = 1.0
    people = np.array([["a", "a"], ["a", "b"], ["b", "b"]])
    told = summed_up({"unveiled-lr": [FeatureShares(each, people, 0.0)]}, n_resamples=4000)["unveiled-lr"]["share"]
    # Drawn are (2, 0), (1, 1), (0, 2): of the pair's feature 0, a third, 0.
    assert (told[FEATURES[1]]["low"], told[FEATURES[1]]["high"]) == (0.0, pytest.approx(1 / 3))
    assert (told[FEATURES[0]]["low"], told[FEATURES[0]]["high"]) == (0.0, 1.0)


def test_as_many_comparisons_of_one_person_are_asked_as_of_two():
    trials = pairs(np.zeros((90, 90)), np.repeat(np.arange(30), 3))
    chosen = of_either_kind(trials)
    assert len(set(chosen.tolist())) == 100
    assert trials.genuine[chosen].sum() == 50
    assert len(evenly(70, AT_MOST)) == 70


@pytest.mark.parametrize("protocol", ["verification", "cross-session", "closed-set"])
def test_a_run_tells_them_in_its_json_table_and_page(tmp_path: Path, protocol: str):
    models = ["unveiled-lr", "unveiled-tree", "unveiled-forest"]
    how = {"protocol": protocol, "models": models, "n_folds": 3, "n_resamples": 40}
    found = identify([people_cohort(9, 2)], tmp_path / "run", **how)
    told = found.data["feature_shares"]
    assert list(told) == models[:2]
    table = found.run.read_table("shares")
    for model, each in told.items():
        assert set(each["share"]) == set(FEATURES)
        values = {name: share["value"] for name, share in each["share"].items()}
        assert sum(values.values()) == pytest.approx(1)
        assert each["exact"]
        assert each["gap"] < 1e-9
        assert 0 < each["n"] <= 300
        assert each["n_people"] == 9
        assert all(share["low"] <= share["value"] <= share["high"] for share in each["share"].values())
        own = table[table["model"] == model]
        assert own["share"].is_monotonic_decreasing
        assert own.set_index("feature")["share"].to_dict() == pytest.approx(values)
    section = next(s for s in identification_report(found.run).sections if s.title == "What readable attackers go by")
    for model, shown in zip(models[:2], section.tables, strict=True):
        assert len(shown.rows) == 10
        assert shown.rows[0][0] == table[table["model"] == model]["feature"].iloc[0]
        assert "sum to: below 1e-9." in shown.caption
