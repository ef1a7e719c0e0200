# SPDX-License-Identifier: Apache-2.0
"""What readable attackers go by is what was planted, sums to the whole, and stands in JSON, table and page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecglens.privacy.feature_shares import AT_MOST, EXACT, FeatureShares, feature_shares, of_either_kind, summed_up
from ecglens.privacy.identify import identify
from ecglens.privacy.unveiled import FEATURES, fit_readable
from ecglens.reporting.identification import identification_report
from ecglens.runs.draws import evenly
from ecglens.statistics.verification import pairs

from .conftest import people_cohort


@pytest.mark.parametrize("model", ["unveiled-lr", "unveiled-tree"])
def test_the_feature_that_was_planted_has_the_largest_share(model: str):
    random = np.random.default_rng(0)
    features = 5 * random.normal(size=(300, len(FEATURES))) + 3
    classes = (features[:, 7] > 3).astype(np.int64)
    fitted = fit_readable(model, (features, classes), (features[:50], classes[:50]))
    told = feature_shares(model, fitted, features[:100], features)
    assert told.mean.argmax() == 7
    assert told.mean[7] > 0.4 * told.mean.sum()
    assert told.gap < EXACT
    assert told.n == 100
    if model == "unveiled-lr":  # weight x (value - mean), in deviations
        own = (features[:100] - features.mean(axis=0)) / features.std(axis=0) * fitted.estimator.coef_
        np.testing.assert_allclose(told.mean, np.abs(own).mean(axis=0))
    assert feature_shares("unveiled-forest", fitted, features[:100], features) is None


def test_folds_count_by_their_items_and_shares_are_of_the_whole():
    one, other = np.zeros(len(FEATURES)), np.zeros(len(FEATURES))
    one[0], other[1] = 2.0, 2.0
    told = summed_up({"unveiled-lr": [FeatureShares(one, 30, 1e-12), FeatureShares(other, 10, 1e-3)], "cnn": []})
    assert list(told) == ["unveiled-lr"]
    share = told["unveiled-lr"]["share"]
    assert (share[FEATURES[0]], share[FEATURES[1]], sum(share.values())) == (0.75, 0.25, 1.0)
    assert (told["unveiled-lr"]["n"], told["unveiled-lr"]["gap"], told["unveiled-lr"]["exact"]) == (40, 1e-3, False)
    assert summed_up({"cnn": []}) is None


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
        assert sum(each["share"].values()) == pytest.approx(1)
        assert each["exact"]
        assert each["gap"] < 1e-9
        assert 0 < each["n"] <= 300
        own = table[table["model"] == model]
        assert own["share"].is_monotonic_decreasing
        assert own.set_index("feature")["share"].to_dict() == pytest.approx(each["share"])
    section = next(s for s in identification_report(found.run).sections if s.title == "What readable attackers go by")
    for model, shown in zip(models[:2], section.tables, strict=True):
        assert len(shown.rows) == 10
        assert shown.rows[0][0] == table[table["model"] == model]["feature"].iloc[0]
        assert "sum to: below 1e-9." in shown.caption
